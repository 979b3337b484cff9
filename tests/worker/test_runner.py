"""The runner: many jobs side by side, each to an end of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import update

from core.database import DatabaseUnavailable, transaction
from core.domain import jobs, leases
from core.errors import Conflict, Retryable, Uncertain
from core.payments import PaymentMisconfigured
from tests.worker.shop import Shop
from worker import runner
from worker.backoff import backoff
from worker.runner import Runner
from worker.slots import Slots
from worker.work import Work

KIND = jobs.CANARY.name


def succeed(work: Work) -> None:
    with work.succeed({"done": True}):
        pass


def raising(error: BaseException) -> Callable[[Work], None]:
    def flow(work: Work) -> None:
        raise error

    return flow


def canary(shop: Shop) -> str:
    return shop.enqueue(jobs.CANARY).job_id


def test_more_jobs_than_slots_all_get_done_and_never_more_at_once(shop: Shop) -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def flow(work: Work) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.005)
        with lock:
            busy -= 1
        succeed(work)

    ids = [canary(shop) for _ in range(12)]
    Runner(3).run(KIND, ids, flow)
    assert {shop.job(one).status for one in ids} == {jobs.SUCCEEDED}
    assert 1 <= most <= 3


def test_a_hint_that_is_doubled_runs_its_job_once(shop: Shop) -> None:
    ran: list[str] = []

    def flow(work: Work) -> None:
        ran.append(work.claim.job_id)
        succeed(work)

    job_id = canary(shop)
    shop.runner.run(KIND, [job_id, job_id], flow)
    shop.runner.run(KIND, [job_id], flow)
    assert ran == [job_id]


def test_what_is_no_id_is_passed_over(shop: Shop) -> None:
    job_id = canary(shop)
    shop.runner.run(KIND, ["nonsense", job_id], succeed)
    assert shop.job(job_id).status == jobs.SUCCEEDED


def test_one_job_that_fails_leaves_the_others_alone(shop: Shop) -> None:
    bad = canary(shop)
    good = [canary(shop) for _ in range(4)]

    def flow(work: Work) -> None:
        if work.claim.job_id == bad:
            raise Conflict("not possible")
        succeed(work)

    shop.runner.run(KIND, [bad, *good], flow)
    failed = shop.job(bad)
    assert failed.status == jobs.FAILED
    assert failed.error == Conflict("not possible").as_problem()
    assert {shop.job(one).status for one in good} == {jobs.SUCCEEDED}


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (Retryable("later"), 1),
        (Retryable("asked to wait", delay=3.0, spends_attempt=False), 0),
        (Uncertain("who knows"), 1),
        (PaymentMisconfigured("no key", 30.0), 0),
    ],
)
def test_what_can_be_tried_again_goes_back_to_the_queue(shop: Shop, error: Exception, attempts: int) -> None:
    job_id = canary(shop)
    shop.runner.run(KIND, [job_id], raising(error))
    job = shop.job(job_id)
    assert (job.status, job.attempts) == (jobs.QUEUED, attempts)
    assert "retry" in shop.told(job_id)
    shop.runner.run(KIND, [job_id], succeed)
    assert shop.job(job_id).status == jobs.QUEUED  # its time has not come


def test_a_bug_is_tried_three_times_and_then_set_aside(shop: Shop) -> None:
    job_id = canary(shop)
    for expected in (jobs.QUEUED, jobs.QUEUED, jobs.QUARANTINED):
        shop.make_due()
        shop.runner.run(KIND, [job_id], raising(ZeroDivisionError("bug")))
        assert shop.job(job_id).status == expected
    error = shop.job(job_id).error
    assert error is not None
    assert (error["status"], "ZeroDivisionError" in error["detail"]) == (500, True)


def test_a_flow_that_leaves_its_job_open_is_a_bug(shop: Shop) -> None:
    job_id = canary(shop)
    shop.runner.run(KIND, [job_id], lambda work: None)
    assert shop.job(job_id).status == jobs.QUEUED
    assert shop.job(job_id).attempts == 1


def test_an_attempt_that_was_replaced_writes_nothing(shop: Shop) -> None:
    job_id = canary(shop)

    def flow(work: Work) -> None:
        with transaction() as conn:
            conn.execute(update(jobs.jobs).values(lease_token="6f0c5d3e-2b4a-4c6d-8e9f-0a1b2c3d4e5f"))
        succeed(work)

    shop.runner.run(KIND, [job_id], flow)
    assert shop.job(job_id).status == jobs.RUNNING
    assert "succeeded" not in shop.told(job_id)


def test_an_outcome_that_cannot_be_written_is_left_to_the_lease(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("away")

    job_id = canary(shop)
    monkeypatch.setattr(leases, "finish", away)
    monkeypatch.setattr(leases, "retry", away)
    shop.runner.run(KIND, [job_id], succeed)
    assert shop.job(job_id).status == jobs.RUNNING
    assert "lease will run out" in caplog.text


def test_a_bug_while_writing_the_outcome_does_not_stop_the_runner(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    job_id = canary(shop)
    monkeypatch.setattr(leases, "retry", broken)
    shop.runner.run(KIND, [job_id], raising(Retryable("later")))
    assert shop.job(job_id).status == jobs.RUNNING
    assert "lease will run out" in caplog.text


def test_a_database_that_is_away_drops_the_hint(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = canary(shop)
    with monkeypatch.context() as patch:
        patch.setenv("DATABASE_URL", "sqlite:////nowhere/at/all.db")
        shop.runner.run(KIND, [job_id], succeed)
    assert "could not claim" in caplog.text
    shop.runner.run(KIND, [job_id], succeed)  # its slots are free again
    assert shop.job(job_id).status == jobs.SUCCEEDED


def test_a_job_that_lost_two_workers_runs_alone(shop: Shop) -> None:
    job_id = canary(shop)
    with transaction() as conn:
        conn.execute(update(jobs.jobs).values(expiries=leases.EXPIRIES_BEFORE_ALONE))
    seen: list[int] = []

    def flow(work: Work) -> None:
        with transaction() as conn:
            seen.append(conn.execute(jobs.jobs.select()).one().alone)
        succeed(work)

    shop.runner.run(KIND, [job_id], flow)
    assert seen == [True]
    assert shop.job(job_id).status == jobs.SUCCEEDED


def test_a_worker_that_stops_claims_nothing_more(shop: Shop) -> None:
    job_id = canary(shop)
    shop.runner.stopping.set()
    shop.runner.run(KIND, [job_id], succeed)
    assert shop.job(job_id).status == jobs.QUEUED


def test_who_waits_for_a_slot_when_the_worker_stops_claims_nothing(shop: Shop) -> None:
    only = Runner(1)
    first, second = canary(shop), canary(shop)

    def flow(work: Work) -> None:
        only.stopping.set()
        succeed(work)

    only.run(KIND, [first, second], flow)
    assert (shop.job(first).status, shop.job(second).status) == (jobs.SUCCEEDED, jobs.QUEUED)


def test_too_little_of_a_lease_makes_no_call(shop: Shop) -> None:
    job_id = canary(shop)
    calls: list[str] = []

    def flow(work: Work) -> None:
        work._last_call_at = time.monotonic() - 1
        work.check_time()
        calls.append("made")

    shop.runner.run(KIND, [job_id], flow)
    assert calls == []
    assert (shop.job(job_id).status, shop.job(job_id).attempts) == (jobs.QUEUED, 0)


def test_a_step_renews_the_lease(shop: Shop) -> None:
    job_id = canary(shop)

    def flow(work: Work) -> None:
        before = work._last_call_at
        with work.step():
            pass
        assert work._last_call_at >= before
        succeed(work)

    shop.runner.run(KIND, [job_id], flow)
    assert shop.job(job_id).status == jobs.SUCCEEDED


def test_whoever_runs_alone_has_the_process_to_itself() -> None:
    slots, order = Slots(2), list[str]()
    assert slots.take(1) == 1
    waiting = threading.Event()

    def alone() -> None:
        waiting.set()
        with slots.alone():
            order.append("alone")

    thread = threading.Thread(target=alone)
    thread.start()
    waiting.wait()
    order.append("company")
    slots.give()
    thread.join(10)
    assert order == ["company", "alone"]
    assert slots.take(5) == 2


def test_the_distance_grows_to_five_minutes() -> None:
    assert 0.8 <= backoff(1) <= 1.2
    assert 3.2 <= backoff(3) <= 4.8
    assert 240 <= backoff(50) <= 360


def test_a_process_has_one_runner_until_it_is_configured_anew() -> None:
    runner.configure(3)
    first = runner.runner()
    assert first is runner.runner()
    assert first.slots.cap == 3
    runner.configure(4)
    assert runner.runner() is not first
