"""An attempt's time and its fenced writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import Connection, update

from core.database import reading, transaction
from core.domain import jobs, leases, orders, timeline
from core.domain.leases import Claim, Fenced
from core.errors import Permanent, Retryable
from tests.worker.shop import Shop
from worker.stopping import Stopping
from worker.work import NETWORK_CALL_SECONDS, SPARE_SECONDS, STOPPING_SECONDS, Work


def claimed(shop: Shop, seconds: float = 60.0) -> Claim:
    """A fresh job under a lease."""
    accepted = shop.enqueue(jobs.CANARY)
    with transaction() as conn:
        [claim] = leases.claim(conn, jobs.CANARY.name, [accepted.job_id], seconds=seconds)
    return claim


def replaced(shop: Shop) -> Claim:
    """The claim of an attempt whose lease ran out."""
    claim = claimed(shop)
    shop.recover()
    return claim


def time_is_left(work: Work) -> bool:
    try:
        work.check_time()
    except Retryable:
        return False
    return True


def test_a_call_starts_only_while_it_can_end_within_the_lease(shop: Shop) -> None:
    claim, now = claimed(shop), time.monotonic()
    last = 60.0 - NETWORK_CALL_SECONDS - SPARE_SECONDS
    assert time_is_left(Work(claim, lease_seconds=60.0))
    assert time_is_left(Work(claim, lease_seconds=60.0, began=now - last + 5))
    assert not time_is_left(Work(claim, lease_seconds=60.0, began=now - last - 0.1))


def test_a_short_lease_still_allows_a_call_in_its_first_half(shop: Shop) -> None:
    claim, now = claimed(shop), time.monotonic()
    assert time_is_left(Work(claim, lease_seconds=20.0, began=now))
    assert not time_is_left(Work(claim, lease_seconds=20.0, began=now - 10.1))


def test_a_step_renews_the_lease_and_the_time(shop: Shop) -> None:
    claim = claimed(shop, seconds=60.0)
    work = Work(claim, lease_seconds=60.0, began=time.monotonic() - 40)
    assert not time_is_left(work)
    with transaction() as conn:
        conn.execute(update(jobs.jobs).values(lease_expires_at=claim.claimed_at))
    with work.step():
        pass
    assert time_is_left(work)
    row = shop.row(claim.job_id)
    assert 55 < (row.lease_expires_at - row.clock).total_seconds() <= 60


def test_renewing_gives_time_for_the_next_call_until_the_worker_was_told_to_stop_a_while_ago(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = Stopping()
    work = Work(claimed(shop), lease_seconds=60.0, began=time.monotonic() - 40, stopping=stopping)
    assert not time_is_left(work)
    work.renew()
    assert time_is_left(work)
    monkeypatch.setattr(stopping, "seconds", lambda: STOPPING_SECONDS + 0.1)
    with pytest.raises(Retryable, match="stops"):
        work.renew()


def test_a_step_that_fails_renews_nothing(shop: Shop) -> None:
    work = Work(claimed(shop), lease_seconds=60.0, began=time.monotonic() - 40)
    with pytest.raises(RuntimeError), work.step():
        raise RuntimeError
    assert not time_is_left(work)


@pytest.mark.parametrize("ending", ["step", "succeed", "fail", "review", "again", "quarantine"])
def test_a_replaced_attempt_writes_nothing_in_any_of_its_endings(shop: Shop, ending: str) -> None:
    order = shop.order()
    work = Work(replaced(shop))
    problem = Permanent("no")
    write: Callable[[], AbstractContextManager[Connection]] = {
        "step": work.step,
        "succeed": lambda: work.succeed({"no": 1}),
        "fail": lambda: work.fail(problem),
        "review": lambda: work.review("no"),
        "again": lambda: work.again(1.0, "no"),
        "quarantine": lambda: work.quarantine(problem),
    }[ending]
    with pytest.raises(Fenced), write() as conn:
        orders.move(conn, order, orders.PAID)
    assert not work.ended
    assert shop.look(order).status == orders.PENDING
    assert shop.job(work.claim.job_id).status == jobs.QUEUED
    assert shop.told(work.claim.job_id) == ["accepted", "lease expired"]


def test_what_the_caller_writes_happens_with_the_ending_or_not_at_all(shop: Shop) -> None:
    order, work = shop.order(), Work(claimed(shop))
    with pytest.raises(ZeroDivisionError), work.succeed(None) as conn:
        orders.move(conn, order, 1 // 0 * orders.PAID)
    assert not work.ended
    assert (shop.look(order).status, shop.job(work.claim.job_id).status) == (orders.PENDING, jobs.RUNNING)
    with work.succeed(None) as conn:
        orders.move(conn, order, orders.PAID)
    assert work.ended
    assert (shop.look(order).status, shop.job(work.claim.job_id).status) == (orders.PAID, jobs.SUCCEEDED)


def test_a_doubt_keeps_what_was_written_and_waits_for_a_person(shop: Shop) -> None:
    order, work = shop.order(), Work(claimed(shop))
    with work.succeed({"kept": True}) as conn:
        orders.move(conn, order, orders.PAID)
        work.doubt(conn, "two of them")
    job = shop.job(work.claim.job_id)
    assert (job.status, job.error and job.error["detail"]) == (jobs.NEEDS_REVIEW, "two of them")
    assert shop.look(order).status == orders.PAID


def test_breadcrumbs_are_written_with_the_ending(shop: Shop) -> None:
    claim = claimed(shop)
    crumbs = [{"message": "Stripe answered", "data": {"status": 200}, "at": claim.claimed_at}]
    with Work(claim, crumbs).succeed(None):
        pass
    with reading() as conn:
        told = [(event.what, event.data) for event in timeline.read(conn, claim.job_id)]
    assert ("Stripe answered", {"status": 200}) in told
    assert [what for what, _ in told] == ["accepted", "claimed", "Stripe answered", "succeeded"]
