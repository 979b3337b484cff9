"""Real workers on each broker, database and pool: they take hints, die, are recovered, and stop when asked."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest
from celery import Celery

from core.database import transaction
from core.domain import jobs, leases, payments
from core.domain.jobs import Accepted
from tests.e2e import brokers
from tests.worker.broker import celery_app
from tests.worker.celery_worker import CeleryWorker
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe, fault
from tests.worker.waiting import eventually
from worker import sweep as sweep_module
from worker.sweep import send, sweep

INTENTS = "/v1/payment_intents"
LEASE_SECONDS = "4"
"""Short, so that it runs out soon; Stripe's time to answer shrinks with it, to 1.3 s."""
SLOW_SECONDS = 2.0
"""Stripe's answers while a worker is stopped: well within its usual time, on a busy machine too."""


@contextmanager
def embedded(_: Path) -> Iterator[str]:
    """The broker of `make run`."""
    yield "filesystem://"


BROKERS: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "filesystem": embedded,
    "redis": brokers.redis,
    "rabbitmq": brokers.rabbitmq,
}


@pytest.fixture
def broker_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """`BROKER_URL` of a broker to oneself, to which this process's hints go, too."""
    with BROKERS[request.param](tmp_path) as url:
        app = celery_app(monkeypatch, url)
        monkeypatch.setattr(sweep_module, "app", app)
        yield url
        app.close()


def hint(*accepted: Accepted) -> None:
    """What the web does after its commit."""
    for one in accepted:
        send(one.kind.name, one.kind.queue, [one.job_id])


def succeeded(shop: Shop, *accepted: Accepted) -> bool:
    return all(shop.job(one.job_id).status == jobs.SUCCEEDED for one in accepted)


def swept(shop: Shop, accepted: Accepted) -> bool:
    sweep()
    return succeeded(shop, accepted)


@pytest.mark.usefixtures("broker_url")
@pytest.mark.parametrize(
    ("broker_url", "database_url", "pool"),
    [
        ("filesystem", "sqlite", "threads"),
        ("filesystem", "postgresql", "prefork"),
        ("redis", "sqlite", "threads"),
        ("redis", "postgresql", "gevent"),
        ("redis", "postgresql", "prefork"),
        ("rabbitmq", "postgresql", "gevent"),
        ("rabbitmq", "postgresql", "threads"),
    ],
    indirect=["broker_url", "database_url"],
)
def test_a_worker_does_the_work_and_is_recovered_when_it_is_killed(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pool: str
) -> None:
    monkeypatch.setenv("LEASE_SECONDS", LEASE_SECONDS)
    log, crashes = tmp_path / "worker.log", tmp_path / "crashes"
    crashes.mkdir()

    with CeleryWorker(pool, log, CRASH_POINT="charge.posted", CRASH_STATE=str(crashes)) as first:
        easy = [shop.enqueue(jobs.CANARY) for _ in range(5)]
        hint(*easy)
        eventually(lambda: succeeded(shop, *easy), f"hints are taken: {log.read_text()}")

        paid = shop.checkout(shop.order(1050))
        hint(paid)  # kill -9, once Stripe has answered and nothing of it is written down
        eventually(lambda: list(crashes.iterdir()), "it dies")
        if pool != "prefork":  # there a child dies, and the parent makes another
            assert first.died() == -signal.SIGKILL
        assert len(stripe.intents()) == 1
        with CeleryWorker(pool, log) if pool != "prefork" else first as second:
            eventually(lambda: swept(shop, paid), f"its lease runs out and another takes over: {log.read_text()}")
            assert len(stripe.intents()) == 1
            assert shop.row(paid.job_id).attempts >= 2
            assert second.stop() == 0


@pytest.mark.usefixtures("broker_url")
@pytest.mark.parametrize(
    ("broker_url", "pool"),
    [("filesystem", "threads"), ("redis", "gevent"), ("rabbitmq", "threads"), ("redis", "prefork")],
    indirect=["broker_url"],
)
def test_flower_hears_of_every_task_in_few_messages(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pool: str
) -> None:
    log = tmp_path / "worker.log"
    with listening(celery_app(monkeypatch, os.environ["BROKER_URL"])) as heard, CeleryWorker(pool, log) as worker:
        eventually(lambda: "worker-online" in heard, f"it starts: {log.read_text()}")
        easy = [shop.enqueue(jobs.CANARY) for _ in range(20)]
        for one in easy:
            hint(one)
        told = ("task-received", "task-started", "task-succeeded")
        eventually(lambda: min(heard[what] for what in told) >= len(easy), f"{heard}")
        assert heard["messages of several"]
        assert worker.stop() == 0


@contextmanager
def listening(app: Celery) -> Iterator[Counter[str]]:
    """Count the workers' events by type, and the messages that carry more than one."""
    heard, done = Counter[str](), Event()

    def listen() -> None:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": lambda event: heard.update([event["type"]])})
            one_by_one = receiver._receive

            def noted(body: object, message: object) -> None:
                heard.update(["messages of several"] if isinstance(body, list) and len(body) > 1 else [])
                one_by_one(body, message)

            receiver._receive = noted
            while not done.is_set():
                with suppress(TimeoutError):
                    receiver.capture(limit=None, timeout=1, wakeup=False)

    listener = Thread(target=listen)
    listener.start()
    try:
        yield heard
    finally:
        done.set()
        listener.join()


@pytest.mark.usefixtures("broker_url")
@pytest.mark.parametrize(
    ("broker_url", "pool"),
    [("filesystem", "threads"), ("redis", "gevent"), ("rabbitmq", "prefork")],
    indirect=["broker_url"],
)
def test_a_worker_that_takes_sweeps_starts_with_one_and_waits_for_no_beat(
    shop: Shop, tmp_path: Path, pool: str
) -> None:
    accepted = shop.enqueue(jobs.CANARY)
    with transaction() as conn:
        leases.claim(conn, jobs.CANARY.name, [accepted.job_id], seconds=-1)
    log = tmp_path / "worker.log"
    with CeleryWorker(pool, log, "maintenance"):
        eventually(lambda: succeeded(shop, accepted), f"the lost job is done: {log.read_text()}")


@pytest.mark.usefixtures("broker_url")
@pytest.mark.parametrize(
    ("broker_url", "database_url", "pool"),
    [("filesystem", "sqlite", "threads"), ("redis", "postgresql", "gevent"), ("rabbitmq", "postgresql", "prefork")],
    indirect=["broker_url", "database_url"],
)
def test_a_worker_that_is_stopped_finishes_what_it_began_and_leaves_the_rest_untouched(
    shop: Shop, stripe: Stripe, tmp_path: Path, pool: str
) -> None:
    """It has four slots and twelve jobs, in a message each, and is stopped while Stripe takes its time."""
    log = tmp_path / "worker.log"
    # A customer each: two that are made at once with one key would be a 409, and tried again.
    accepted = [shop.checkout(shop.order(1050, email=f"{number}@example.com")) for number in range(12)]
    stripe.faults(fault("latency", "after", INTENTS, seconds=SLOW_SECONDS, next=len(accepted)))
    with CeleryWorker(pool, log) as worker:
        hint(*accepted)
        eventually(lambda: len(stripe.intents()) >= 2, f"Stripe has two and did not answer yet: {log.read_text()}")
        begun = {one["metadata"]["job_id"] for one in stripe.intents()}
        assert worker.stop() == 0, log.read_text()
        hint(*(shop.enqueue(jobs.CANARY) for _ in range(4)))

    rows = {one.job_id: shop.row(one.job_id) for one in accepted}
    done = {job_id for job_id, row in rows.items() if row.status == jobs.SUCCEEDED}
    told = {job_id: shop.told(job_id) for job_id in rows}
    assert done >= begun, (told, log.read_text())
    assert done == {one["metadata"]["job_id"] for one in stripe.intents()}, told
    # The others were never taken: nothing to give back, no attempt spent, and no lease that must run out first.
    assert {(row.status, row.attempts, row.lease_token) for job_id, row in rows.items() if job_id not in done} == {
        (jobs.QUEUED, 0, None)
    }, (told, log.read_text())
    assert all(row.attempts == 1 and row.expiries == 0 for job_id, row in rows.items() if job_id in done), told
    assert {job.status for job in shop.jobs_of(jobs.CANARY)} == {jobs.QUEUED}


@pytest.mark.usefixtures("broker_url")
@pytest.mark.parametrize(
    ("broker_url", "database_url"), [("filesystem", "postgresql")], indirect=["broker_url", "database_url"]
)
def test_the_children_of_a_worker_that_stops_claim_nothing_more(shop: Shop, stripe: Stripe, tmp_path: Path) -> None:
    """One message has more jobs than a child can do: it finishes the one that runs, and leaves the rest queued."""
    accepted = [shop.checkout(shop.order(1050 + number)) for number in range(8)]
    stripe.faults(fault("latency", "after", INTENTS, seconds=SLOW_SECONDS, next=8))
    with CeleryWorker("prefork", tmp_path / "worker.log") as worker:
        send(jobs.PAYMENT_CREATE.name, "payments", [one.job_id for one in accepted])
        eventually(lambda: stripe.fired() == 1, "the first one runs")
        assert worker.stop() == 0
    statuses = [shop.job(one.job_id).status for one in accepted]
    assert set(statuses) == {jobs.SUCCEEDED, jobs.QUEUED}
    assert statuses.count(jobs.QUEUED) >= 5
    with_intent = [shop.payment_of(one).status == payments.REQUIRES_PAYMENT for one in accepted]
    assert with_intent == [status == jobs.SUCCEEDED for status in statuses]
