"""What happens when a worker starts and stops."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from celery.concurrency import get_implementation
from celery.signals import setup_logging, worker_init, worker_process_init, worker_shutdown, worker_shutting_down

from core import database, monitor
from worker import runner
from worker.app import POOL_CONNECTIONS, app


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(database, "_pool_size", database._pool_size)
    yield
    runner.configure(1)


class Starting:
    """What Celery's worker knows of itself when it announces its start."""

    def __init__(self, pool: str, concurrency: int) -> None:
        self.pool_cls = get_implementation(pool)
        self.concurrency = concurrency


def started(pool: str, concurrency: int) -> Any:
    worker_init.send(sender=Starting(pool, concurrency))
    return runner.runner()


@pytest.mark.parametrize(
    ("pool", "concurrency", "cap", "connections"),
    [("threads", 8, 8, 10), ("threads", 200, 200, POOL_CONNECTIONS + 2), ("prefork", 4, 1, 3), ("solo", 1, 1, 3)],
)
def test_the_pool_sizes_the_cap_and_the_cap_the_connections(
    pool: str, concurrency: int, cap: int, connections: int
) -> None:
    assert started(pool, concurrency).slots.cap == cap
    assert database._pool_size == connections


@pytest.mark.parametrize(("queues", "loaded"), [("payments,maintenance", True), ("maintenance,statistics", False)])
def test_a_worker_loads_the_sdk_before_it_takes_jobs_that_need_it(queues: str, loaded: bool) -> None:
    script = f"""
import sys
from celery.signals import worker_init
from tests.worker.test_app import Starting
from worker.app import app
app.amqp.queues.select({queues.split(",")})
worker_init.send(sender=Starting("threads", 2))
print("stripe" in sys.modules)
"""
    environment = {**os.environ, "STRIPE_ENABLED": "true", "STRIPE_SECRET_KEY": "sk_test_1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(loaded)


def test_leases_are_a_minute_long_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started("threads", 2).lease_seconds == 60.0
    monkeypatch.setenv("LEASE_SECONDS", "3.5")
    assert started("threads", 2).lease_seconds == 3.5


def test_a_worker_that_is_told_to_stop_claims_nothing_more() -> None:
    running = started("threads", 2)
    assert not running.stopping.is_set()
    worker_shutting_down.send(sender="worker@here")
    assert running.stopping.is_set()


def test_log_lines_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    setup_logging.send(sender=None)
    assert logging.root.handlers
    assert app.main == "counterfoil"


def test_a_forked_child_starts_monitoring_of_its_own_and_what_waits_is_sent_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(monitor, "start", lambda: said.append("start"))
    monkeypatch.setattr(monitor, "flush", lambda: said.append("flush"))
    worker_process_init.send(sender=None)
    worker_shutdown.send(sender=None)
    assert said == ["start", "flush"]
