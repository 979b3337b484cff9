"""The embedded stack: which programs it has, and what they are told."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from core.settings import Settings
from stack.program import Program

THREADS = 16
"""Jobs that the worker has in flight; SQLite has one writer, so more would only wait for each other."""

MAINTENANCE_THREADS = 4
"""Sweeps, ticks and canaries at the same time; none of them takes long, or waits for anybody but the database."""

RECONCILE_THREADS = 2
"""Its two kinds of jobs side by side; a process of their own, since a suspect payment waits for all of its process."""

WEB_THREADS = 32
"""Requests at once; a few of them may be waiting for a job or streaming its events."""

STRIPE_VARIABLES = ("STRIPE_ENABLED", "STRIPE_SECRET_KEY", "STRIPE_API_BASE")


def simulated(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with Stripe on against the simulator, unless it says anything about Stripe itself."""
    if any(environment.get(name) for name in STRIPE_VARIABLES):
        return dict(environment)
    port = environment.get("SIMULATOR_PORT") or Settings.model_fields["simulator_port"].default
    return {
        **environment,
        "STRIPE_ENABLED": "true",
        "STRIPE_API_BASE": f"http://127.0.0.1:{port}",
        "STRIPE_SECRET_KEY": "sk_test_simulator",
        "STRIPE_PUBLISHABLE_KEY": "pk_test_simulator",
    }


def told(environment: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The environment with what the settings add to it spelled out: the simulator does not share them."""
    made = {
        "STATE_DIR": str(settings.state_dir),
        "STRIPE_WEBHOOK_SECRET": ",".join(secret.get_secret_value() for secret in settings.stripe_webhook_secrets),
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "PYTHONUNBUFFERED": "1",  # a line shows when it is written, not when the buffer is full
    }
    if settings.bootstrap_api_key:
        made["BOOTSTRAP_API_KEY"] = settings.bootstrap_api_key.get_secret_value()
    return {"SIMULATOR_WEBHOOK_URL": f"{web_url(settings)}/webhooks/stripe", **environment, **made}


def web_url(settings: Settings) -> str:
    """Where this machine reaches the web program."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - the other way round
    host = everywhere.get(settings.host, f"[{settings.host}]" if ":" in settings.host else settings.host)
    return f"http://{host}:{settings.port}"


def uses_simulator(settings: Settings) -> bool:
    """Whether Stripe's API is the simulator of this stack."""
    return settings.stripe_api_base == f"http://127.0.0.1:{settings.simulator_port}"


def listeners(settings: Settings) -> list[tuple[str, str, int]]:
    """Variable, host and port of everything that listens."""
    web = [("PORT", settings.host, settings.port), ("FLOWER_PORT", "127.0.0.1", settings.flower_port)]
    simulator = [("SIMULATOR_PORT", "127.0.0.1", settings.simulator_port)]
    return web + simulator if uses_simulator(settings) else web


def migrations() -> tuple[str, ...]:
    """The command that brings the database's schema up to date."""
    return (sys.executable, "-m", "core.migrations")


def stages(settings: Settings, environment: Mapping[str, str]) -> list[list[Program]]:
    """All programs in the order to stop them: what brings work, what does it, what that needs."""

    def program(name: str, patience: float, *arguments: str, **more: str) -> Program:
        return Program(name, (sys.executable, "-m", *arguments), {**more, **environment}, patience)

    bring = [
        program("beat", 5, "celery", "--quiet", "-A", "worker", "beat"),
        program("flower", 5, "celery", "-A", "worker", "flower", *_flower(settings), **_flower_api(settings)),
        program("web", 10, "granian", *_granian(settings), "web:create_app"),
    ]
    work = [
        program("worker", 40, *_worker("payments,webhooks,statistics", THREADS, "worker")),
        replace(program("reconcile", 40, *_worker("reconcile", RECONCILE_THREADS, "reconcile")), later=True),
        program("maintenance", 20, *_worker("maintenance", MAINTENANCE_THREADS, "maintenance")),
    ]
    needed = [program("simulator", 5, "simulator")] if uses_simulator(settings) else []
    return [stage for stage in (bring, work, needed) if stage]


def broker_folder(settings: Settings) -> Path | None:
    """Where the embedded broker keeps its messages, None with a real broker."""
    return settings.state_dir / "broker" if settings.broker_url.startswith("filesystem://") else None


def _granian(settings: Settings) -> list[str]:
    where = ["--host", settings.host, "--port", str(settings.port)]
    # quiet, as it warns of more threads than cores; ours mostly wait
    how = [
        "--interface",
        "wsgi",
        "--factory",
        "--no-ws",
        "--blocking-threads",
        str(WEB_THREADS),
        "--log-level",
        "error",
    ]
    return [*how, *where]


def _worker(queues: str, threads: int, name: str) -> list[str]:
    # threads: SQLite under gevent stalls; gossip and mingle: see celeryconfig
    celery = ["celery", "--quiet", "-A", "worker", "worker", "-n", f"{name}@%h", "-Q", queues]
    return [*celery, "-P", "threads", "-c", str(threads), "--without-gossip", "--without-mingle"]


def _flower(settings: Settings) -> list[str]:
    return ["--address=127.0.0.1", f"--port={settings.flower_port}", "--logging=warning"]


def _flower_api(settings: Settings) -> dict[str, str]:
    # The API can stop workers, so outside dev it answers 401 until FLOWER_BASIC_AUTH is set; in dev it is as open to
    # this machine as the pages, and a worker that it stops is started again.
    return {"FLOWER_UNAUTHENTICATED_API": "true"} if settings.app_env == "dev" else {}
