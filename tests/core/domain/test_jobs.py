"""Accepting work: one row per request, whatever is repeated and however many ask at once."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from core.database import now_plus, reading, transaction
from core.domain import jobs, leases, timeline
from core.domain.jobs import CANARY, Accepted, KeyTaken, Request
from core.errors import Unprocessable
from core.ids import new_id
from tests.core.domain import shop
from tests.core.domain.clocks import DatabaseClock
from tests.core.domain.racing import race

pytestmark = pytest.mark.usefixtures("database_url")

NOBODYS = "0190a0a0-0000-7000-8000-000000000000"
ASKED = Request(id="req-1", traceparent="00-aa-bb-01", scope="POST /x", key="k", fingerprint="f")


def ask(request: Request = ASKED, account_id: str = "acme") -> Accepted:
    """What a route does: look for the key, else insert."""
    with transaction() as conn:
        return jobs.repeated(conn, account_id, request) or jobs.enqueue(
            conn, CANARY, {"n": 1}, account_id, request=request
        )


def test_an_accepted_job_is_queued_and_keeps_what_it_was_asked_with() -> None:
    accepted = ask()
    with reading() as conn:
        job = jobs.find(conn, accepted.job_id)
        [claim] = leases.claim(conn, CANARY.name, [accepted.job_id])
        told = timeline.read(conn, accepted.job_id)
    assert job is not None
    assert (accepted.status, accepted.fresh, accepted.kind) == (jobs.QUEUED, True, CANARY)
    assert (job.account_id, job.kind, job.queue, job.args) == ("acme", CANARY.name, CANARY.queue, {"n": 1})
    assert (job.status, job.attempts, job.result, job.error, job.finished_at) == (jobs.QUEUED, 0, None, None, None)
    assert (claim.request_id, claim.traceparent) == ("req-1", "00-aa-bb-01")
    assert [(event.what, event.data) for event in told] == [("accepted", {"kind": CANARY.name})]


def test_a_job_whose_transaction_rolled_back_was_never_accepted() -> None:
    with shop.dying() as conn:
        accepted = jobs.enqueue(conn, CANARY, {})
    with reading() as conn:
        assert jobs.find(conn, accepted.job_id) is None
        assert timeline.read(conn, accepted.job_id) == []


def test_a_repeated_key_with_the_same_body_finds_the_same_job_in_any_state() -> None:
    first = ask()
    assert ask() == Accepted(first.job_id, CANARY, None, jobs.QUEUED, fresh=False)
    with transaction() as conn:
        [claim] = leases.claim(conn, CANARY.name, [first.job_id])
    assert ask().status == jobs.RUNNING
    with transaction() as conn:
        leases.finish(conn, claim, jobs.SUCCEEDED, result={"ok": 1})
    assert ask() == Accepted(first.job_id, CANARY, None, jobs.SUCCEEDED, fresh=False)


def test_a_repeated_key_with_another_body_is_refused() -> None:
    ask()
    with pytest.raises(Unprocessable) as refused:
        ask(Request(scope="POST /x", key="k", fingerprint="other"))
    assert refused.value.type == "idempotency-key-reused"


@pytest.mark.parametrize(
    ("scope", "key", "account_id"), [("POST /y", "k", "acme"), ("POST /x", "l", "acme"), ("POST /x", "k", "other")]
)
def test_a_key_counts_within_its_account_and_route(scope: str, key: str, account_id: str) -> None:
    first = ask()
    second = ask(Request(scope=scope, key=key, fingerprint="f"), account_id)
    assert second.fresh
    assert second.job_id != first.job_id


def test_requests_without_a_key_are_never_the_same() -> None:
    request = Request(scope="POST /x", fingerprint="f")
    assert ask(request).job_id != ask(request).job_id


def test_twenty_threads_with_one_key_make_one_job() -> None:
    def attempt(_: int) -> Accepted:
        while True:
            try:
                return ask()
            except KeyTaken:
                continue  # the winner has committed: the next look finds it

    answers = race(20, attempt)
    assert len({answer.job_id for answer in answers}) == 1
    assert [answer.fresh for answer in answers].count(True) == 1


def test_a_key_that_was_taken_since_one_looked_is_told_apart_from_a_failure() -> None:
    with transaction() as conn:
        jobs.enqueue(conn, CANARY, {}, "acme", request=ASKED)
    with pytest.raises(KeyTaken), transaction() as conn:
        jobs.enqueue(conn, CANARY, {}, "acme", request=ASKED)


def test_a_key_without_a_scope_is_refused_since_no_index_would_hold_it_unique() -> None:
    with pytest.raises(IntegrityError), transaction() as conn:
        jobs.enqueue(conn, CANARY, {}, "acme", request=Request(key="k"))


def test_a_lease_and_the_status_running_go_together_in_the_database() -> None:
    with transaction() as conn:
        shop.enqueued(conn)
    for wrong in ("status = 'running'", "lease_token = id"):
        with pytest.raises(IntegrityError), transaction() as conn:
            conn.exec_driver_sql(f"UPDATE jobs SET {wrong}")


@pytest.mark.parametrize("job_id", ["nonsense", "", "0190a0a0-0000-7000-8000-00000000000g", NOBODYS])
def test_an_unknown_id_finds_nothing(job_id: str) -> None:
    with reading() as conn:
        assert jobs.find(conn, job_id) is None


def test_the_ended_ones_are_told_apart() -> None:
    with transaction() as conn:
        queued, running, *rest = shop.enqueued(conn, 6)
        claims = leases.claim(conn, CANARY.name, [running, *rest])
        by_id = {claim.job_id: claim for claim in claims}
        for job_id, status in zip(rest, sorted(jobs.ENDED), strict=True):
            leases.finish(conn, by_id[job_id], status)
        assert jobs.ended(conn, [queued, running, *rest]) == set(rest)
        assert jobs.ended(conn, [queued, new_id()]) == set()
        assert jobs.ended(conn, []) == set()


def test_an_orders_jobs_are_listed_oldest_first() -> None:
    order_id = new_id()
    with transaction() as conn:
        made = [jobs.enqueue(conn, CANARY, {}, order_id=order_id).job_id for _ in range(3)]
        shop.enqueued(conn)
        assert [job.id for job in jobs.of_order(conn, order_id)] == made


def test_the_backlog_counts_what_has_not_come_to_an_end(clock: DatabaseClock) -> None:
    with reading() as conn:
        assert jobs.backlog(conn) == jobs.Backlog(0, 0, 0, 0, 0.0)
    with transaction() as conn:
        shop.enqueued(conn, 2)
        shop.claimed(conn)
        for status in jobs.ENDED:
            leases.finish(conn, shop.claimed(conn), status)
        leases.finish(conn, shop.claimed(conn), jobs.NEEDS_REVIEW)
    clock.forward(90)
    with transaction() as conn:
        shop.enqueued(conn)
        found = jobs.backlog(conn)
    assert (found.queued, found.running, found.quarantined, found.needs_review) == (3, 1, 1, 2)
    assert 90 <= found.oldest_due_seconds < 120


def test_a_job_that_is_due_later_is_not_late(clock: DatabaseClock) -> None:
    with transaction() as conn:
        leases.retry(conn, shop.claimed(conn), 60.0, "later")
        assert jobs.backlog(conn).oldest_due_seconds == 0.0


def test_the_last_canary_is_the_newest_that_came_through(clock: DatabaseClock) -> None:
    with transaction() as conn:
        assert jobs.last_canary(conn) is None
        leases.finish(conn, shop.claimed(conn), jobs.FAILED)
        leases.finish(conn, shop.claimed(conn, jobs.STATISTICS_RECOMPUTE), jobs.SUCCEEDED)
        assert jobs.last_canary(conn) is None
        leases.finish(conn, shop.claimed(conn), jobs.SUCCEEDED)
    clock.forward(60)
    with transaction() as conn:
        newest = shop.claimed(conn)
        leases.finish(conn, newest, jobs.SUCCEEDED)
        assert jobs.last_canary(conn) == shop.row(conn, newest.job_id).finished_at
        assert abs((clock.now() - shop.row(conn, newest.job_id).finished_at).total_seconds()) < 30


def test_the_jobs_that_wait_for_a_person_are_listed_oldest_first() -> None:
    with transaction() as conn:
        for status in (jobs.NEEDS_REVIEW, jobs.FAILED, jobs.QUARANTINED, jobs.SUCCEEDED, jobs.NEEDS_REVIEW):
            leases.finish(conn, shop.claimed(conn), status)
        shop.enqueued(conn)
        shop.claimed(conn)
        found = jobs.set_aside(conn)
    assert [job.status for job in found] == [jobs.NEEDS_REVIEW, jobs.QUARANTINED, jobs.NEEDS_REVIEW]
    with reading() as conn:
        assert [job.id for job in jobs.set_aside(conn, limit=1)] == [found[0].id, found[1].id]


def test_only_old_and_done_jobs_of_the_schedule_are_pruned_with_their_timelines(clock: DatabaseClock) -> None:
    def make(end: str | None = jobs.SUCCEEDED, scope: str | None = jobs.SCHEDULE, account_id: str = jobs.SYSTEM) -> str:
        with transaction() as conn:
            request = Request(scope=scope, key=new_id() if scope else None)
            job_id = jobs.enqueue(conn, CANARY, {}, account_id, request=request).job_id
            if end:
                [claim] = leases.claim(conn, CANARY.name, [job_id])
                leases.finish(conn, claim, end)
        return job_id

    old = [make() for _ in range(3)]
    kept = [make(None), make(jobs.FAILED), make(jobs.NEEDS_REVIEW), make(scope=None), make(scope="POST /x")]
    kept.append(make(account_id="acme"))
    clock.forward(3600)
    kept.append(make())
    with transaction() as conn:
        assert jobs.prune(conn, older_than=3000, limit=2) == 2
        assert jobs.prune(conn, older_than=3000, limit=2) == 1
        assert jobs.prune(conn, older_than=3000, limit=2) == 0
    with reading() as conn:
        assert [jobs.find(conn, job_id) for job_id in old] == [None] * 3
        assert [timeline.read(conn, job_id) for job_id in old] == [[]] * 3
        assert all(jobs.find(conn, job_id) and timeline.read(conn, job_id) for job_id in kept)


def test_every_kind_is_named_once_and_has_a_queue() -> None:
    assert all(name == kind.name and kind.queue for name, kind in jobs.KINDS.items())
    assert {"payments.create", "refunds.create", "webhooks.process", "statistics.recompute"} <= set(jobs.KINDS)


def test_the_age_of_the_oldest_open_job_is_told_by_kind() -> None:
    with transaction() as conn:
        first, second, third = (jobs.enqueue(conn, kind, {}).job_id for kind in (CANARY, CANARY, jobs.WEBHOOK_PROCESS))
        for job_id, seconds in ((first, 100), (second, 200), (third, 50)):
            aged = update(jobs.jobs).where(jobs.jobs.c.id == job_id)
            conn.execute(aged.values(created_at=now_plus(-seconds)))
        running = {"status": jobs.RUNNING, "lease_token": new_id()}
        conn.execute(update(jobs.jobs).where(jobs.jobs.c.id == second).values(**running))
        ages = jobs.backlog(conn).oldest_open_seconds
    assert {kind: round(seconds, -1) for kind, seconds in ages.items()} == {
        "maintenance.canary": 200, "webhooks.process": 50,
    }  # fmt: skip
