"""The peers, each in the configuration that was fastest here without giving up what its users rely on.

None stores results or logs each job. Early acknowledgement stays where it is the default. Two processes fill two
cores; 200 threads or greenlets and 300 coroutines a process hide the gateway's 300 ms.
"""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks.peers.side import Peer, WebApp

CELERY = ("celery", "-A", "benchmarks.peers.celery_app", "worker", "--without-gossip", "--without-mingle",
          "--without-heartbeat", "--loglevel", "WARNING", "-n", "peer{number}@bench")  # fmt: skip

STARLETTE = WebApp("Starlette", "web_starlette", "asgi")
FASTAPI = WebApp("FastAPI", "web_fastapi", "asgi")
FLASK = WebApp("Flask", "web_flask", "wsgi")

PEERS = (
    Peer(
        "Celery prefork", "50 children: the default pool, limited by memory", "celery_app", ("celery",),
        (*CELERY, "-P", "prefork", "-c", "50"), connections=1,
    ),
    Peer(
        "Celery threads", "2 x 200 threads, prefetch 4, no gossip, mingle, heartbeat, events", "celery_app",
        ("celery",), (*CELERY, "-P", "threads", "-c", "200"), commands=2,
    ),
    Peer(
        "Celery gevent", "2 x 200 greenlets, prefetch 4, no gossip, mingle, heartbeat, events", "celery_app",
        ("celery", "gevent"), (*CELERY, "-P", "gevent", "-c", "200"), commands=2, webs=(FLASK,),
    ),
    Peer(
        "taskiq", "2 x 500 coroutines on uvloop, ListQueueBroker (the fastest of its Redis brokers)", "taskiq_app",
        ("taskiq", "taskiq_redis", "aiohttp", "asyncpg"),
        ("taskiq", "worker", "benchmarks.peers.taskiq_app:broker", "--workers", "2", "--max-async-tasks", "500",
         "--max-prefetch", "100", "--log-level", "WARNING"),
        webs=(STARLETTE, FASTAPI),
    ),
    Peer(
        "dramatiq gevent", "2 x 300 greenlets, default middleware", "dramatiq_app", ("dramatiq", "gevent"),
        ("dramatiq-gevent", "benchmarks.peers.dramatiq_app", "--processes", "2", "--threads", "300"),
    ),
    Peer(
        "dramatiq threads", "2 x 200 threads, default middleware", "dramatiq_app", ("dramatiq",),
        ("dramatiq", "benchmarks.peers.dramatiq_app", "--processes", "2", "--threads", "200"),
    ),
    Peer(
        "huey threads", "2 consumers x 200 threads on blocking pops, no periodic tasks", "huey_app", ("huey",),
        ("huey_consumer", "benchmarks.peers.huey_app.huey", "--worker-type", "thread", "--workers", "200",
         "--no-periodic", "--quiet"),
        commands=2,
    ),
    Peer(
        "arq", "2 x 300 jobs on uvloop, results not kept, polling every 50 ms", "arq_app",
        ("arq", "uvloop", "aiohttp", "asyncpg"), ("arq", "benchmarks.peers.arq_app.WorkerSettings",
        "--custom-log-dict", "benchmarks.peers.arq_app.QUIET"), commands=2,
        webs=(STARLETTE,),
    ),
    Peer(
        "rq", "50 simple workers (one job at a time each, no fork per job)", "rq_app", ("rq",),
        ("rq", "worker-pool", "--num-workers", "50", "--worker-class", "rq.worker.SimpleWorker", "--quiet",
         "--url", "{redis}", "peer"),
        connections=1,
    ),
    Peer(
        "procrastinate", "2 x 200 coroutines; its broker is PostgreSQL", "procrastinate_app",
        ("procrastinate", "aiohttp", "asyncpg"),
        ("procrastinate", "--app", "benchmarks.peers.procrastinate_app.app", "worker", "--concurrency", "200"),
        commands=2,
    ),
)  # fmt: skip


def missing(peer: Peer) -> list[str]:
    """Packages of the peer that are not installed here."""
    return [package for package in peer.packages if find_spec(package) is None]
