"""From a hint to work: side by side under one cap, each to its own end, whatever dies."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread, Timer

import pytest
from sqlalchemy import update

from core import logs, monitor
from core.database import DatabaseUnavailable, now_plus, reading, transaction
from core.domain import jobs, leases, orders, pauses
from core.domain.jobs import JobKind
from core.domain.leases import CRASHES_BEFORE_QUARANTINE, EXPIRIES_BEFORE_ALONE
from core.errors import Conflict, Permanent, Retryable, Uncertain
from core.ids import new_id
from core.payments import PaymentMisconfigured, PaymentThrottled
from tests.worker.crashes import Killed
from tests.worker.shop import Shop
from tests.worker.waiting import eventually
from worker import runner as runner_module
from worker.runner import Flow, Runner, attempt
from worker.work import STOPPING_SECONDS, Work

KIND = jobs.CANARY.name
AWAY = "sqlite:////no/such/folder.db"


class Crowd:
    """A flow whose jobs wait for each other, and which counts how many run at the same time.

    Args:
        together: how many must be inside before the first may go on.
    """

    def __init__(self, together: int = 1) -> None:
        self._lock, self._together, self._full = Lock(), together, Event()
        self._inside = 0
        self.most = 0
        self.company: dict[str, int] = {}

    def __call__(self, work: Work) -> None:
        """Run one job."""
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
            if self._inside >= self._together:
                self._full.set()
        self._full.wait(30)
        with self._lock:
            self.company[work.claim.job_id] = self._inside
            self._inside -= 1
        succeed(work)


def succeed(work: Work) -> None:
    with work.succeed({"done": True}):
        pass


def raising(error: Exception) -> Flow:
    def flow(work: Work) -> None:
        raise error

    return flow


def holding(go_on: Event, held: str | None = None) -> Flow:
    """A flow that succeeds, the job `held` (or each) only once it may go on."""

    def flow(work: Work) -> None:
        if held in (None, work.claim.job_id):
            go_on.wait(30)
        succeed(work)

    return flow


def some(shop: Shop, count: int) -> list[str]:
    """Ids of fresh jobs."""
    return [shop.enqueue(jobs.CANARY).job_id for _ in range(count)]


def statuses(shop: Shop, ids: list[str]) -> set[str]:
    return {shop.job(job_id).status for job_id in ids}


def one(shop: Shop, flow: Flow) -> str:
    """Run one job through the flow; returns its id."""
    [job_id] = some(shop, 1)
    shop.runner.run(KIND, [job_id], flow)
    return job_id


def suspect(*ids: str) -> None:
    """Two workers were lost with these jobs."""
    with transaction() as conn:
        conn.execute(update(jobs.jobs).where(jobs.jobs.c.id.in_(ids)).values(expiries=EXPIRIES_BEFORE_ALONE))


@contextmanager
def no_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The database cannot be reached."""
    with monkeypatch.context() as patch:
        patch.setenv("DATABASE_URL", AWAY)
        yield


# -- side by side


def test_the_jobs_of_a_message_run_side_by_side(shop: Shop) -> None:
    crowd, ids = Crowd(together=4), some(shop, 4)
    shop.runner.run(KIND, ids, crowd)
    assert crowd.most == 4
    assert statuses(shop, ids) == {jobs.SUCCEEDED}


def test_several_messages_together_never_exceed_the_cap(shop: Shop) -> None:
    crowd, runner = Crowd(together=3), Runner(cap=3)
    messages = [some(shop, 7) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda ids: runner.run(KIND, ids, crowd), messages))
    assert crowd.most == 3
    assert statuses(shop, [job_id for ids in messages for job_id in ids]) == {jobs.SUCCEEDED}
    assert runner.slots.take(3) == 3


def test_each_job_ends_by_itself(shop: Shop) -> None:
    slow, *quick = some(shop, 4)
    go_on = Event()
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(shop.runner.run, KIND, [slow, *quick], holding(go_on, slow))
        eventually(lambda: statuses(shop, quick) == {jobs.SUCCEEDED}, "the quick ones end")
        assert shop.job(slow).status == jobs.RUNNING
        assert not running.done()
        go_on.set()
        running.result(30)
    assert shop.job(slow).status == jobs.SUCCEEDED


def test_a_failing_job_does_not_touch_the_others(shop: Shop) -> None:
    bad, worse, *good = some(shop, 6)

    def flow(work: Work) -> None:
        if work.claim.job_id == bad:
            raise Permanent("no")
        if work.claim.job_id == worse:
            raise ZeroDivisionError
        succeed(work)

    shop.runner.run(KIND, [good[0], bad, good[1], worse, *good[2:]], flow)
    assert (shop.job(bad).status, shop.job(worse).status) == (jobs.FAILED, jobs.QUEUED)
    assert statuses(shop, good) == {jobs.SUCCEEDED}


# -- hints that mean nothing


def test_a_hint_may_name_what_is_no_job_no_id_or_done(shop: Shop) -> None:
    [job_id] = some(shop, 1)
    done = one(shop, succeed)
    shop.runner.run(KIND, ["nonsense", 5, None, new_id(), done, job_id, job_id], succeed)
    assert (shop.job(job_id).attempts, shop.job(done).attempts) == (1, 1)
    assert shop.runner.slots.take(4) == 4


def test_a_message_of_another_kind_leaves_the_job_alone(shop: Shop) -> None:
    others = [shop.enqueue(jobs.STATISTICS_RECOMPUTE).job_id for _ in range(2)]
    suspect(others[0])
    shop.runner.run(KIND, others, succeed)
    assert statuses(shop, others) == {jobs.QUEUED}


def test_a_job_that_is_not_due_waits(shop: Shop) -> None:
    job_id = one(shop, raising(Retryable("later", delay=60.0)))
    shop.runner.run(KIND, [job_id], succeed)
    assert (shop.job(job_id).status, shop.job(job_id).attempts) == (jobs.QUEUED, 1)


# -- outcomes


@pytest.mark.parametrize(
    ("error", "attempts", "least", "most"),
    [
        (Retryable("later"), 1, 0.8, 1.2),
        (Retryable("later", delay=20.0), 1, 20.0, 24.0),
        (Retryable("they asked us to", delay=7.0, spends_attempt=False), 0, 7.0, 8.4),
        (Retryable("until a moment of its own", delay=20.0, exact=True), 1, 20.0, 20.0),
        (Uncertain("who knows"), 1, 0.8, 1.2),
        (RuntimeError("a bug"), 1, 0.8, 1.2),
        (PaymentMisconfigured("a wrong key"), 0, 30.0, 36.0),
        (PaymentThrottled("slow down", 7.0), 0, 7.0, 8.4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_what_may_pass_is_put_back(shop: Shop, error: Exception, attempts: int, least: float, most: float) -> None:
    before = shop.clock()
    row = shop.row(one(shop, raising(error)))
    assert (row.status, row.attempts, row.lease_token) == (jobs.QUEUED, attempts, None)
    assert (row.run_at - before).total_seconds() >= least
    assert (row.run_at - row.clock).total_seconds() <= most
    assert row.hint_at == row.run_at
    assert shop.told(row.id)[-1] == "retry"


def paused() -> list[str]:
    with reading() as conn:
        return [pause.name for pause in pauses.in_force(conn)]


def attempts(shop: Shop, kind: JobKind, errors: Sequence[Exception]) -> list[str]:
    """One job of the kind per error, all under way before the first is refused; returns their ids."""
    ids = [shop.enqueue(kind).job_id for _ in errors]
    with transaction() as conn:
        claims = leases.claim(conn, kind.name, ids)
    for claim, error in zip(claims, errors, strict=True):
        attempt(claim, raising(error))
    return ids


def count_captures(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    captured = list[BaseException]()
    monkeypatch.setattr(monitor, "capture_exception", lambda error, context=None: captured.append(error))
    return captured


def said(caplog: pytest.LogCaptureFixture, level: int) -> int:
    return len([record for record in caplog.records if record.levelno == level and "Stripe" in record.message])


def test_a_refused_configuration_pauses_what_needs_stripe_here_and_is_an_error_once(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured = count_captures(monkeypatch)
    waiting = shop.enqueue(jobs.REFUND_CREATE).job_id
    monkeypatch.setenv("STRIPE_ENABLED", "true")  # without a key
    refused = attempts(shop, jobs.PAYMENT_CREATE, [PaymentMisconfigured("a wrong key")] * 5)
    shop.runner.run(jobs.REFUND_CREATE.name, [waiting], raising(AssertionError("it was claimed")))
    assert {(shop.job(job_id).status, shop.job(job_id).attempts) for job_id in [*refused, waiting]} == {
        (jobs.QUEUED, 0)
    }
    assert paused() == ["stripe:none"]
    assert (said(caplog, logging.ERROR), len(captured)) == (1, 1)


def test_a_worker_without_a_key_holds_back_none_that_has_one(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = [shop.enqueue(jobs.REFUND_CREATE).job_id for _ in range(3)]
    suspect(waiting[2])
    monkeypatch.setenv("STRIPE_ENABLED", "true")
    attempts(shop, jobs.PAYMENT_CREATE, [PaymentMisconfigured("no key")])
    shop.runner.run(jobs.REFUND_CREATE.name, waiting, raising(AssertionError("it was claimed")))
    assert statuses(shop, waiting) == {jobs.QUEUED}
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_good")
    for ids in (waiting, waiting[2:]):
        shop.runner.run(jobs.REFUND_CREATE.name, ids, succeed)
    assert statuses(shop, waiting) == {jobs.SUCCEEDED}


def test_a_suspect_that_the_pause_of_the_own_key_holds_back_waits_for_no_other_job(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, busy, go_on = shop.enqueue(jobs.REFUND_CREATE).job_id, some(shop, 1), Event()
    suspect(waiting)
    monkeypatch.setenv("STRIPE_ENABLED", "true")
    attempts(shop, jobs.PAYMENT_CREATE, [PaymentMisconfigured("no key")])
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(shop.runner.run, KIND, busy, holding(go_on))
        eventually(lambda: statuses(shop, busy) == {jobs.RUNNING}, "the other one runs")
        shop.runner.run(jobs.REFUND_CREATE.name, [waiting], succeed)
        assert statuses(shop, [waiting, *busy]) == {jobs.QUEUED, jobs.RUNNING}
        go_on.set()
        running.result(30)


def test_a_request_to_slow_down_pauses_what_needs_stripe_and_is_no_error(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured = count_captures(monkeypatch)
    attempts(shop, jobs.REFUND_CREATE, [PaymentThrottled("slow down", 5.0)] * 5)
    assert paused() == [pauses.STRIPE]
    assert (said(caplog, logging.WARNING), said(caplog, logging.ERROR), captured) == (1, 0, [])


def test_a_right_that_the_key_lacks_pauses_only_the_kind_that_needs_it(shop: Shop) -> None:
    attempts(shop, jobs.REFUND_CREATE, [PaymentMisconfigured("not for this", everywhere=False)])
    assert paused() == [jobs.REFUND_CREATE.name]


def test_a_right_that_webhooks_lack_is_said_once_a_pause_however_often_they_are_refused(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured = count_captures(monkeypatch)
    for _ in range(3):
        ids = attempts(shop, jobs.WEBHOOK_PROCESS, [PaymentMisconfigured("not for this", everywhere=False)] * 3)
        assert (paused(), statuses(shop, ids)) == ([jobs.WEBHOOK_PROCESS.name], {jobs.QUEUED})
        with transaction() as conn:  # the first that come back find out
            conn.execute(update(pauses.pauses).values(until=now_plus(-1)))
    assert (said(caplog, logging.ERROR), len(captured)) == (1, 1)


def test_of_many_that_are_refused_at_the_same_time_one_says_so(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured = count_captures(monkeypatch)
    kind, ids = jobs.WEBHOOK_PROCESS.name, [shop.enqueue(jobs.WEBHOOK_PROCESS).job_id for _ in range(4)]
    shop.runner.run(kind, ids, raising(PaymentMisconfigured("not for this", everywhere=False)))
    assert statuses(shop, ids) == {jobs.QUEUED}
    assert (said(caplog, logging.ERROR), len(captured)) == (1, 1)


def test_an_attempt_that_was_replaced_pauses_nothing(shop: Shop) -> None:
    def flow(work: Work) -> None:
        Shop().recover()
        raise PaymentThrottled("slow down", 5.0)

    one(shop, flow)
    assert paused() == []


def test_a_final_answer_fails_the_job_with_its_problem(shop: Shop) -> None:
    refusal = Conflict("already refunded", type="order-refunded")
    job = shop.job(one(shop, raising(refusal)))
    assert (job.status, job.error) == (jobs.FAILED, refusal.as_problem())
    assert job.finished_at is not None


@pytest.mark.parametrize("flow", [raising(ZeroDivisionError()), lambda work: None], ids=["raises", "leaves it open"])
def test_a_bug_is_tried_three_times_and_then_set_aside(shop: Shop, flow: Flow) -> None:
    job_id = one(shop, flow)
    for crashes in range(1, CRASHES_BEFORE_QUARANTINE):
        assert (shop.job(job_id).status, shop.row(job_id).crashes) == (jobs.QUEUED, crashes)
        shop.make_due()
        shop.runner.run(KIND, [job_id], flow)
    job = shop.job(job_id)
    assert (job.status, job.attempts) == (jobs.QUARANTINED, CRASHES_BEFORE_QUARANTINE)
    assert job.error is not None
    assert (job.error["type"], job.error["status"]) == ("quarantined", 500)
    assert "Error" in job.error["detail"]


def test_other_troubles_do_not_count_as_crashes(shop: Shop) -> None:
    flow = raising(Retryable("again", delay=0.0))
    job_id = one(shop, flow)
    for _ in range(5):
        shop.make_due()
        shop.runner.run(KIND, [job_id], flow)
    assert (shop.job(job_id).status, shop.row(job_id).crashes, shop.job(job_id).attempts) == (jobs.QUEUED, 0, 6)


def test_a_bug_after_the_end_changes_nothing(shop: Shop) -> None:
    def flow(work: Work) -> None:
        succeed(work)
        raise ZeroDivisionError

    assert shop.job(one(shop, flow)).status == jobs.SUCCEEDED


def test_log_lines_and_breadcrumbs_of_an_attempt_carry_its_ids(shop: Shop) -> None:
    trace, order_id = "0af7651916cd43dd8448eb211c80319c", new_id()
    request = jobs.Request(id="req_7", traceparent=f"00-{trace}-b7ad6b7169203331-01")
    with transaction() as conn:
        job_id = jobs.enqueue(conn, jobs.CANARY, {}, request=request, order_id=order_id).job_id
    seen: list[dict[str, str]] = []

    def flow(work: Work) -> None:
        seen.append(logs.bound())
        monitor.add_breadcrumb("half way", data={"cents": 1})
        succeed(work)

    shop.runner.run(KIND, [job_id], flow)
    assert seen == [{"job_id": job_id, "request_id": "req_7", "order_id": order_id, "trace_id": trace}]
    assert logs.bound() == {}
    assert shop.told(job_id) == ["accepted", "claimed", "half way", "succeeded"]


# -- leases


def test_an_attempt_that_was_replaced_writes_nothing(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    order = shop.order()

    def flow(work: Work) -> None:
        other = Shop()
        other.recover()
        other.runner.run(KIND, [work.claim.job_id], succeed)
        with work.succeed({"mine": True}) as conn:
            orders.move(conn, order, orders.PAID)

    job = shop.job(one(shop, flow))
    assert (job.status, job.result, job.attempts) == (jobs.SUCCEEDED, {"done": True}, 2)
    assert shop.look(order).status == orders.PENDING
    assert "replaced" in caplog.text


def test_an_attempt_without_time_for_a_call_gives_the_job_back_and_spends_nothing(shop: Shop) -> None:
    [job_id] = some(shop, 1)
    with transaction() as conn:
        [claim] = leases.claim(conn, KIND, [job_id])

    def flow(work: Work) -> None:
        work.check_time()
        raise AssertionError("it called")

    attempt(claim, flow, 60.0, time.monotonic() - 31)
    assert (shop.job(job_id).status, shop.job(job_id).attempts) == (jobs.QUEUED, 0)


@pytest.mark.usefixtures("database_url")
def test_the_lease_is_as_long_as_the_runner_was_told() -> None:
    shop, seen = Shop(lease_seconds=7.0), list[float]()

    def flow(work: Work) -> None:
        row = shop.row(work.claim.job_id)
        seen.append((row.lease_expires_at - row.clock).total_seconds())
        succeed(work)

    one(shop, flow)
    assert 0 < seen[0] <= 7


# -- poison


def test_a_job_that_kills_its_worker_is_set_aside_and_its_company_is_not(shop: Shop) -> None:
    poison, *good = some(shop, 4)
    deaths: list[bool] = []

    def flow(work: Work) -> None:
        if work.claim.job_id == poison:
            deaths.append(bool(shop.row(poison).alone))
            raise Killed
        if len(deaths) < EXPIRIES_BEFORE_ALONE:
            raise Killed  # the process that they share is gone
        succeed(work)

    for _ in range(EXPIRIES_BEFORE_ALONE + CRASHES_BEFORE_QUARANTINE):
        for ids in ([poison, *good], [poison]):  # a suspect is hinted apart from the others
            with suppress(Killed):
                shop.runner.run(KIND, ids, flow)
        shop.recover()
    assert deaths == [False] * EXPIRIES_BEFORE_ALONE + [True] * CRASHES_BEFORE_QUARANTINE
    assert shop.job(poison).status == jobs.QUARANTINED
    shop.runner.run(KIND, good, succeed)
    assert statuses(shop, good) == {jobs.SUCCEEDED}
    assert {shop.row(job_id).crashes for job_id in good} == {0}


def test_suspects_run_one_after_the_other_and_only_when_hinted_apart(shop: Shop) -> None:
    ids = some(shop, 6)
    suspect(ids[0], ids[3])
    crowd = Crowd()
    shop.runner.run(KIND, ids, crowd)
    assert statuses(shop, [ids[0], ids[3]]) == {jobs.QUEUED}
    shop.runner.run(KIND, [ids[0], ids[3]], crowd)
    assert (crowd.company[ids[0]], crowd.company[ids[3]]) == (1, 1)
    assert statuses(shop, ids) == {jobs.SUCCEEDED}
    assert shop.runner.slots.take(4) == 4


def test_nothing_starts_beside_a_suspect(shop: Shop) -> None:
    doubtful, other = some(shop, 2)
    suspect(doubtful)
    go_on = Event()
    with ThreadPoolExecutor(2) as threads:
        alone = threads.submit(shop.runner.run, KIND, [doubtful], holding(go_on))
        eventually(lambda: shop.job(doubtful).status == jobs.RUNNING, "the suspect runs")
        beside = threads.submit(shop.runner.run, KIND, [other], succeed)
        assert shop.job(other).status == jobs.QUEUED
        go_on.set()
        alone.result(30)
        beside.result(30)
    assert statuses(shop, [doubtful, other]) == {jobs.SUCCEEDED}


def test_a_suspect_that_waits_to_be_alone_is_not_waited_for_twice(shop: Shop) -> None:
    slow, doubtful = some(shop, 2)
    suspect(doubtful)
    go_on = Event()
    with ThreadPoolExecutor(2) as threads:
        company = threads.submit(shop.runner.run, KIND, [slow], holding(go_on))
        eventually(lambda: shop.job(slow).status == jobs.RUNNING, "another job runs")
        waits = threads.submit(shop.runner.run, KIND, [doubtful], succeed)
        eventually(lambda: shop.runner.slots._alone, "it waits to be alone")
        shop.runner.run(KIND, [doubtful], succeed)  # the sweep hints again: that message is over at once
        assert not waits.done()
        go_on.set()
        company.result(30)
        waits.result(30)
    assert statuses(shop, [slow, doubtful]) == {jobs.SUCCEEDED}
    suspect(*(again := some(shop, 1)))
    shop.runner.run(KIND, again, succeed)
    assert statuses(shop, again) == {jobs.SUCCEEDED}


def test_no_process_is_emptied_for_a_suspect_that_somebody_else_has(shop: Shop) -> None:
    slow, doubtful = some(shop, 2)
    suspect(doubtful)
    assert leases.take(KIND, [doubtful], alone=True)
    go_on = Event()
    with ThreadPoolExecutor(1) as threads:
        company = threads.submit(shop.runner.run, KIND, [slow], holding(go_on))
        eventually(lambda: shop.job(slow).status == jobs.RUNNING, "another job runs")
        shop.runner.run(KIND, [doubtful], succeed)  # or it would wait for ever
        go_on.set()
        company.result(30)
    assert shop.job(doubtful).status == jobs.RUNNING


def test_a_job_for_which_no_thread_can_be_started_leaves_its_slot_and_is_left_to_its_lease(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = some(shop, 3)

    def no_more(self: Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", no_more)
        with pytest.raises(RuntimeError):
            shop.runner.run(KIND, ids, succeed)
    assert statuses(shop, ids) == {jobs.RUNNING}
    assert sorted(shop.recover()) == sorted(ids)
    shop.runner.run(KIND, ids, succeed)
    assert statuses(shop, ids) == {jobs.SUCCEEDED}


# -- stopping


def test_a_worker_that_stops_claims_nothing_more_and_finishes_what_runs(shop: Shop) -> None:
    runner, ids, both = Runner(cap=2), some(shop, 6), Crowd(together=2)

    def flow(work: Work) -> None:
        runner.stopping.set()
        both(work)

    runner.run(KIND, ids, flow)
    assert [shop.job(job_id).status for job_id in ids] == [jobs.SUCCEEDED] * 2 + [jobs.QUEUED] * 4
    runner.run(KIND, ids, succeed)
    assert statuses(shop, ids[2:]) == {jobs.QUEUED}


def test_an_attempt_of_many_calls_ends_between_two_of_them_when_the_worker_stops(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, calls = Runner(cap=1), list[int]()
    [job_id] = some(shop, 1)

    def flow(work: Work) -> None:
        for number in range(3):
            work.check_time()
            calls.append(number)
            if number == 1:
                runner.stopping.set()
                monkeypatch.setattr(runner.stopping, "seconds", lambda: STOPPING_SECONDS + 0.1)

    runner.run(KIND, [job_id], flow)
    assert calls == [0, 1]
    assert (shop.job(job_id).status, shop.job(job_id).attempts, shop.row(job_id).expiries) == (jobs.QUEUED, 0, 0)


def test_an_attempt_of_two_calls_still_comes_to_its_end_when_the_worker_stops(shop: Shop) -> None:
    runner, [job_id] = Runner(cap=1), some(shop, 1)

    def flow(work: Work) -> None:
        work.check_time()
        runner.stopping.set()
        work.check_time()
        succeed(work)

    runner.run(KIND, [job_id], flow)
    assert shop.job(job_id).status == jobs.SUCCEEDED


def stopped_while_waiting(shop: Shop, cap: int, second: str, waits: Callable[[Runner], object]) -> str:
    """One job runs and another's message waits when the worker is told to stop; returns what became of the first."""
    runner, [first], go_on = Runner(cap), some(shop, 1), Event()
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(runner.run, KIND, [first], holding(go_on))
        eventually(lambda: shop.job(first).status == jobs.RUNNING, "the first runs")
        waiting = threads.submit(runner.run, KIND, [second], succeed)
        eventually(lambda: waits(runner), "the second waits")
        runner.stopping.set()
        go_on.set()
        running.result(30)
        waiting.result(30)
    return shop.job(first).status


def test_a_message_that_waits_for_a_slot_while_the_worker_stops_is_left(shop: Shop) -> None:
    [job_id] = some(shop, 1)
    assert stopped_while_waiting(shop, 1, job_id, waiters) == jobs.SUCCEEDED
    assert shop.job(job_id).status == jobs.QUEUED


def test_a_suspect_that_waits_to_be_alone_while_the_worker_stops_is_left(shop: Shop) -> None:
    [job_id] = some(shop, 1)
    suspect(job_id)
    assert stopped_while_waiting(shop, 2, job_id, lambda runner: runner.slots._alone) == jobs.SUCCEEDED
    assert shop.job(job_id).status == jobs.QUEUED


def waiters(runner: Runner) -> int:
    """How many wait for a slot."""
    return len(vars(runner.slots._changed)["_waiters"])


# -- without a database


def test_a_database_that_is_away_loses_a_hint_and_no_job(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    [job_id] = some(shop, 1)
    with no_database(monkeypatch):
        shop.runner.run(KIND, [job_id], succeed)
    assert shop.runner.slots.take(4) == 4
    assert (shop.job(job_id).status, shop.job(job_id).attempts) == (jobs.QUEUED, 0)


def test_a_database_that_is_away_for_a_moment_puts_the_job_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def flow(work: Work) -> None:
        with no_database(monkeypatch):
            succeed(work)

    job = shop.job(one(shop, flow))
    assert (job.status, job.attempts) == (jobs.QUEUED, 1)


def without_database(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Take the database away, and bring it back later."""
    url = os.environ["DATABASE_URL"]
    monkeypatch.setenv("DATABASE_URL", AWAY)
    Timer(seconds, monkeypatch.setenv, ("DATABASE_URL", url)).start()


def test_an_outcome_that_cannot_be_written_puts_the_job_back_when_the_database_is_there_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flow(work: Work) -> None:
        without_database(monkeypatch, 0.5)
        succeed(work)

    job = shop.job(one(shop, flow))
    assert (job.status, job.attempts) == (jobs.QUEUED, 1)
    assert shop.row(job.id).expiries == 0, "its worker was there all the time"
    assert "waits for the database" in caplog.text


def test_an_outcome_that_was_written_although_it_seemed_lost_stays(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def flow(work: Work) -> None:
        succeed(work)
        without_database(monkeypatch, 0.5)
        raise DatabaseUnavailable("the answer to the commit was lost")

    assert shop.job(one(shop, flow)).status == jobs.SUCCEEDED


def test_what_stripe_refused_still_pauses_the_others_when_the_database_is_there_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flow(_: Work) -> None:
        without_database(monkeypatch, 0.5)
        raise PaymentThrottled("slow down", 30.0)

    job = shop.job(one(shop, flow))
    assert (job.status, job.attempts, paused()) == (jobs.QUEUED, 0, [pauses.STRIPE])


def test_a_suspect_whose_attempt_the_database_interrupted_stays_one(shop: Shop) -> None:
    [job_id] = some(shop, 1)
    suspect(job_id)
    shop.runner.run(KIND, [job_id], raising(DatabaseUnavailable("away for a moment")))
    assert (shop.job(job_id).status, shop.row(job_id).expiries) == (jobs.QUEUED, EXPIRIES_BEFORE_ALONE)


@pytest.mark.parametrize("stopping", [False, True])
def test_a_database_that_stays_away_leaves_the_job_to_its_lease(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stopping: bool
) -> None:
    url = os.environ["DATABASE_URL"]
    shop.runner.lease_seconds = 60.0 if stopping else 1.0
    monkeypatch.setattr("worker.work.STOPPING_SECONDS", 0.3)

    def flow(work: Work) -> None:
        monkeypatch.setenv("DATABASE_URL", AWAY)
        if stopping:
            shop.runner.stopping.set()  # who stops it will not wait for long
        succeed(work)

    job_id = one(shop, flow)
    monkeypatch.setenv("DATABASE_URL", url)
    assert shop.job(job_id).status == jobs.RUNNING
    assert "the lease will run out" in caplog.text
    assert shop.recover() == [job_id]
    Runner(4).run(KIND, [job_id], succeed)
    assert shop.job(job_id).status == jobs.SUCCEEDED


def test_a_bug_in_the_bookkeeping_leaves_the_job_to_its_lease(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    def flow(work: Work) -> None:
        work._crumbs = [{"no": "message"}]
        succeed(work)

    job_id = one(shop, flow)
    assert shop.job(job_id).status == jobs.RUNNING
    assert [record.levelno for record in caplog.records if "could not be written" in record.message] == [logging.ERROR]


def test_suspects_are_left_while_the_database_is_away(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    [doubtful] = some(shop, 1)
    suspect(doubtful)
    with no_database(monkeypatch):
        shop.runner.run(KIND, [doubtful], succeed)
    assert shop.job(doubtful).status == jobs.QUEUED


# -- one per process


def test_a_process_has_one_runner_and_a_forked_child_its_own() -> None:
    runner_module.configure(3, 9.0)
    mine = runner_module.runner()
    assert runner_module.runner() is mine
    assert (mine.slots.cap, mine.lease_seconds) == (3, 9.0)
    child = os.fork()
    if child == 0:
        theirs = runner_module.runner()
        same_word = theirs.stopping is mine.stopping
        os._exit(0 if theirs is not mine and theirs.slots.cap == 3 and same_word else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert runner_module.runner() is mine


def test_configuring_again_makes_a_fresh_runner_that_does_not_stop() -> None:
    runner_module.configure(1)
    runner_module.stopping.set()
    assert runner_module.runner().stopping.is_set()
    runner_module.configure(2)
    assert not runner_module.runner().stopping.is_set()
    assert runner_module.runner().slots.cap == 2
