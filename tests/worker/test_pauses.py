"""Stripe says slow down, or no: all that needs it stops asking at once, and comes back when it may."""

from __future__ import annotations

from hashlib import sha256

import pytest
from sqlalchemy import update

from core.database import now_plus, reading, transaction
from core.domain import jobs, pauses
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe, fault

JOBS = 30


@pytest.mark.parametrize(("kind", "seconds"), [("rate_limit_429", 20), ("unauthorized_401", 30)])
def test_no_more_calls_are_refused_than_were_under_way_and_all_of_the_work_is_done_in_the_end(
    shop: Shop, stripe: Stripe, kind: str, seconds: int
) -> None:
    accepted = [shop.checkout(shop.order(1050, email=f"{number}@example.com")) for number in range(JOBS)]
    ids = [one.job_id for one in accepted]
    stripe.faults(fault(kind, retry_after=seconds, next=1_000))
    for start in range(0, JOBS, 10):
        shop.hint(jobs.PAYMENT_CREATE.name, *ids[start : start + 10])
    assert 1 <= len(stripe.requests()) <= shop.runner.slots.cap
    assert {(shop.job(job_id).status, shop.job(job_id).attempts) for job_id in ids} == {(jobs.QUEUED, 0)}

    stripe.faults()
    shop.hint(jobs.PAYMENT_CREATE.name, *ids)  # whatever hints them, it is not over
    assert stripe.intents() == []
    with transaction() as conn:
        over = pauses.FIRST_SPREAD + 1
        conn.execute(update(pauses.pauses).values(until=now_plus(-over)))
        conn.execute(update(jobs.jobs).values(run_at=now_plus(-over)))
    shop.hint(jobs.PAYMENT_CREATE.name, *ids)
    assert {shop.job(job_id).status for job_id in ids} == {jobs.SUCCEEDED}
    assert len(stripe.intents()) == JOBS


def test_a_worker_with_a_wrong_key_holds_back_none_that_has_the_right_one(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [shop.checkout(shop.order(1050, email=f"{number}@example.com")).job_id for number in range(JOBS)]
    wrong = "sk_test_of_yesterday"
    with monkeypatch.context() as patch:
        patch.setenv("STRIPE_SECRET_KEY", wrong)
        for start in range(0, JOBS, 10):
            shop.hint(jobs.PAYMENT_CREATE.name, *ids[start : start + 10])
    refused = [job_id for job_id in ids if shop.told(job_id)[-1] == "retry"]
    assert 1 <= len(refused) <= shop.runner.slots.cap
    with reading() as conn:
        [pause] = pauses.in_force(conn)
    assert pause.name == pauses.of_key(sha256(wrong.encode()).hexdigest()[:8])
    assert wrong not in pause.reason

    shop.hint(jobs.PAYMENT_CREATE.name, *ids)
    done = {job_id for job_id in ids if shop.job(job_id).status == jobs.SUCCEEDED}
    assert done == set(ids) - set(refused)
