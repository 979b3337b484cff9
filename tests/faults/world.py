"""All programs of one run, real processes under a supervisor: started, broken on request, and cleared away."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import LiteralString, Self

import psycopg

from core.domain.jobs import QUEUED, RUNNING, SCHEDULE
from stack import readiness
from stack.keeper import Backoff, Keeper
from stack.program import ROOT, Program
from tests.core.private_redis import PrivateRedis
from tests.faults import points
from tests.faults.presence import Presence
from tests.faults.proxy import Proxy
from tests.faults.servers import PostgreSQL, RabbitMQ, descendants, free_port

SECRET_KEY, PUBLISHABLE_KEY, API_KEY = "sk_test_faults", "pk_test_faults", "faults-operator-key"
START_SECONDS = 90.0
OPEN_JOBS: LiteralString = f"""
    SELECT count(*) FROM jobs
    WHERE status IN ('{QUEUED}', '{RUNNING}') AND coalesce(idempotency_scope, '') <> '{SCHEDULE}'
"""
READY, ENDED = ("faults: ready", "simulator: http"), "ended ("
"""What programs say when they work, and what is said of them when they are gone."""
SHARE = Path("/proc/self/autogroup")
LATER = ("sh", "-c", f'echo 10 > {SHARE}; exec "$0" "$@"') if os.access(SHARE, os.W_OK) else ()
"""Begins a command whose program has a ninth of the others' share of the CPU until it works. On machines of their own
programs do not slow each other when they start, and under kills two cores do little else."""
POOLS = {"sqlite": ("threads", 16), "postgresql": ("gevent", 50)}  # SQLite under gevent stalls


@dataclass(frozen=True)
class Plan:
    """What a run starts.

    Args:
        database: sqlite or postgresql.
        broker: filesystem, redis or rabbitmq.
        lease: seconds.
        period: seconds between reconciliations.
        latency_ms: of each request to the simulator.
        settle: seconds until a bank takes or returns a refund.
        extra: more environment for web, workers and beats.
        disk: megabytes of a disk of its own for the SQLite file, 0 for none.
    """

    database: str = "sqlite"
    broker: str = "filesystem"
    webs: int = 2
    workers: int = 2
    reconcilers: int = 1
    sweepers: int = 1
    beats: int = 1
    lease: float = 4.0
    period: int = 10
    latency_ms: int = 20
    settle: int = 1
    extra: Mapping[str, str] = field(default_factory=dict)
    disk: int = 0


class World:
    """A running installation.

    Args:
        plan: what to start.
        folder: where everything is written; it must not exist.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.crashes = folder / "crashes"
        self.claims = folder / "claims"
        self.presence = Presence()
        self.web_ports = [free_port() for _ in range(plan.webs)]
        self.stripe_port = free_port()
        self.postgresql: PostgreSQL | None = None
        self.redis: PrivateRedis | None = None
        self.rabbitmq: RabbitMQ | None = None
        self.proxy: Proxy | None = None
        self.disk: Path | None = None
        self._keepers: dict[str, Keeper] = {}
        self._lifeline, self._life = os.pipe()
        self._log_lock = threading.Lock()
        self._cleanup = ExitStack()
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        self.crashes.mkdir(parents=True)
        self.disarm(*points.names())
        self.folder.chmod(0o755)  # PostgreSQL's user passes through
        self.environment = self._environment(self._database(), self._broker())
        subprocess.run(
            [sys.executable, "-m", "core.migrations"], cwd=ROOT, env=self.environment, check=True, capture_output=True
        )
        self.start("simulator", *(f"web-{n}" for n in range(self.plan.webs)))
        plan = self.plan
        kinds = {
            "worker": plan.workers, "reconciler": plan.reconcilers, "sweeper": plan.sweepers, "beat": plan.beats,
        }  # fmt: skip
        for kind, count in kinds.items():
            self.start(*(f"{kind}-{n}" for n in range(count)))
        for port in self.web_ports:
            self._await(f"http://127.0.0.1:{port}/health/live")
        self._await(f"http://127.0.0.1:{self.stripe_port}/_sim/health")

    def start(self, *names: str, **more: str) -> None:
        """Start programs and keep them running.

        Args:
            names: simulator, web-N, worker-N, reconciler-N, sweeper-N, beat-N.
            more: environment of these programs only.
        """
        for name in names:
            environment = self.environment | {"FAULTS_NAME": name} | more
            self.presence.left(name)
            if name.startswith("web-"):
                environment = environment | {"PORT": str(self.web_ports[int(name[4:])])}
            program = Program(name, (*LATER, *self._command(name)), environment, patience=15.0)
            keeper = self._keepers[name] = Keeper(program, self._lifeline, self._say, Backoff(0.05, 1.0, 3.0))
            keeper.start()

    def names(self, *prefixes: str) -> list[str]:
        """Programs whose names begin so."""
        return [name for name in self._keepers if name.startswith(prefixes)]

    def signal(self, name: str, number: signal.Signals, dice: random.Random | None = None) -> bool:
        """Send a signal to a program, or with dice to any process of it; False if it is between two lives."""
        pid = self._keepers[name].pid
        if pid is None:
            return False
        chosen = dice.choice(descendants(pid)) if dice else pid
        with suppress(ProcessLookupError):
            os.kill(chosen, number)
            if number == signal.SIGCONT:
                self.presence.came(name)
            elif chosen == pid:
                self.presence.left(name)
            return True
        return False

    def end(self, *names: str, politely: bool = False) -> None:
        """Stop programs and leave them stopped; `politely` with SIGTERM first."""
        gone = [self._keepers.pop(name) for name in names]
        threads = [threading.Thread(target=one.stop if politely else one.kill) for one in gone]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def arm(self, point: str) -> None:
        """Have the next process that passes the crash point die there."""
        (self.crashes / f"{point}.0").unlink(missing_ok=True)

    def disarm(self, *names: str) -> None:
        """Have nobody die at these crash points: somebody did already."""
        for point in names:
            (self.crashes / f"{point}.0").touch()

    def crashed(self, point: str) -> float | None:
        """When somebody died at the point, None if nobody did yet."""
        with suppress(FileNotFoundError):
            return (self.crashes / f"{point}.0").stat().st_mtime
        return None

    def open_jobs(self) -> int | None:
        """Jobs that wait or run, without the scheduled ones; None while the database does not say."""
        url = self.environment["DATABASE_URL"]
        file = url.removeprefix("sqlite:///")
        try:
            if file != url:
                with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)) as lite:
                    return int(lite.execute(OPEN_JOBS).fetchone()[0])
            with psycopg.connect(url, connect_timeout=5) as connection:
                shown = connection.execute(OPEN_JOBS).fetchone()
                return int(shown[0]) if shown else None
        except (sqlite3.Error, psycopg.Error):
            return None

    def stop(self) -> None:
        """End everything that was started here."""
        self.end(*self._keepers)
        self._cleanup.close()
        for end in (self._lifeline, self._life):
            with suppress(OSError):
                os.close(end)

    def _database(self) -> str:
        if self.plan.database == "postgresql":
            self.postgresql = PostgreSQL(self.folder)
            self.postgresql.start()
            self._cleanup.callback(self.postgresql.stop)
            return self.postgresql.url
        if self.plan.disk:
            self.disk = self.folder / "disk"
            self.disk.mkdir()
            _mount(self.disk, self.plan.disk)
            self._cleanup.callback(_unmount, self.disk)
        return f"sqlite:///{self.disk or self.folder}/counterfoil.db"

    def _broker(self) -> str:
        if self.plan.broker == "redis":
            self.redis = PrivateRedis(self.folder)
            self._cleanup.callback(self.redis.stop)
            self.proxy = Proxy(self.redis.port)
            self._cleanup.callback(self.proxy.stop)
            return f"redis://127.0.0.1:{self.proxy.port}/0"
        if self.plan.broker == "rabbitmq":
            self.rabbitmq = RabbitMQ(self.folder.name)
            self.rabbitmq.start()
            self._cleanup.callback(self.rabbitmq.stop)
            return self.rabbitmq.url
        return "filesystem://"

    def _environment(self, database_url: str, broker_url: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "APP_ENV": "dev",
            "STATE_DIR": str(self.folder),
            "DATABASE_URL": database_url,
            "BROKER_URL": broker_url,
            "STRIPE_ENABLED": "true",
            "STRIPE_API_BASE": f"http://127.0.0.1:{self.stripe_port}",
            "STRIPE_SECRET_KEY": SECRET_KEY,
            "STRIPE_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
            "STRIPE_WEBHOOK_SECRET": "whsec_faults",
            "SECRET_KEY": "faults-secret-key",
            "BOOTSTRAP_API_KEY": API_KEY,
            "SIMULATOR_PORT": str(self.stripe_port),
            "SIMULATOR_WEBHOOK_URL": f"http://127.0.0.1:{self.web_ports[0]}/webhooks/stripe",
            "SIMULATOR_LATENCY_MS": str(self.plan.latency_ms),
            "SIMULATOR_SETTLE_SECONDS": str(self.plan.settle),
            "LEASE_SECONDS": str(self.plan.lease),
            "FAULTS_PERIOD": str(self.plan.period),
            "FAULTS_CLAIMS": str(self.claims),
            "LOG_LEVEL": "WARNING",
            "LOG_FORMAT": "text",
            "PYTHONUNBUFFERED": "1",
            **self.plan.extra,
        }

    def _command(self, name: str) -> tuple[str, ...]:
        python = (sys.executable, "-m")
        kind = name.partition("-")[0]
        if kind == "simulator":
            return (*python, "simulator")
        if kind == "web":
            how = ("--interface", "wsgi", "--factory", "--no-ws", "--blocking-threads", "32", "--log-level", "error")
            port = str(self.web_ports[int(name[4:])])
            return (*python, "granian", *how, "--host", "127.0.0.1", "--port", port, "tests.faults.programs:create_app")
        celery = (*python, "tests.faults.commands")
        if kind == "beat":
            return (*celery, "beat")
        pool, count, queues = (*POOLS[self.plan.database], "payments,webhooks,statistics")
        if kind == "reconciler":
            pool, count, queues = "threads", 2, "reconcile"
        elif kind == "sweeper":
            pool, count, queues = "threads", 4, "maintenance"
        how = ("-P", pool, "-c", str(count), "-Q", queues, "--without-gossip", "--without-mingle")
        return (*celery, "worker", "-n", f"{name}@faults", *how)

    def _await(self, url: str) -> None:
        problem = readiness.wait(url, START_SECONDS, threading.Event())
        if problem:
            raise TimeoutError(f"{url}: {problem}")

    def _say(self, name: str, line: str) -> None:
        if line.startswith(READY):
            self.presence.came(name)
            self._as_urgent_as_others(name)
        elif line.startswith(ENDED):
            self.presence.left(name)
        with self._log_lock, (self.folder / "programs.log").open("a", encoding="utf-8") as log:
            log.write(f"{time.time():.3f} {name}: {line}\n")

    def _as_urgent_as_others(self, name: str) -> None:
        keeper = self._keepers.get(name)
        while LATER and keeper and keeper.pid:
            with suppress(FileNotFoundError, ProcessLookupError):  # it died meanwhile
                try:
                    Path(f"/proc/{keeper.pid}/autogroup").write_text("0", encoding="utf-8")
                except BlockingIOError:  # an ordinary user may do this ten times a second
                    time.sleep(0.1)
                    continue
            return


def _mount(folder: Path, megabytes: int) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", folder], check=True)  # noqa: S607


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", folder], check=False)  # noqa: S607


def can_mount(folder: Path) -> bool:
    """Whether this user may make a small disk (root outside of a locked-down container)."""
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.which("mount") is None or os.geteuid() != 0:
        return False
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False, capture_output=True)  # noqa: S607
    if made.returncode == 0:
        _unmount(folder)
    return made.returncode == 0


Change = Callable[[Plan], Plan]


def with_plan(**changes: object) -> Change:
    """A change of some fields of a plan."""
    return lambda plan: replace(plan, **changes)  # type: ignore[arg-type]  # the fields' own types
