"""Refunds, from every state that a crash or a lost answer can leave; the simulator's ledger is the witness."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from core.database import transaction
from core.domain import jobs, orders, payments, refunds
from core.domain.jobs import Job
from core.domain.orders import Order
from core.errors import Conflict
from tests.worker.crashes import KillAt
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe, fault

REFUNDS = "/v1/refunds"

CRASH_POINTS = ["runner.claimed", "refund.frozen", "refund.posted", "refund.settled", "runner.ended"]
LOST_ANSWERS = [
    ("reset", "before"),
    ("reset", "after"),
    ("reset_mid_body", "after"),
    ("timeout", "before"),
    ("timeout", "after"),
    ("error_500", "before"),
    ("error_500", "after"),
]


def assert_refunded_once(shop: Shop, stripe: Stripe, order: Order, job: Job, amount: int = 250) -> None:
    """The witness saw the money leave once, and both our ledger and the customer's answer say the same."""
    assert job.status == jobs.SUCCEEDED, job.error
    assert [-movement["amount"] for movement in stripe.moved("refund")] == [amount]
    assert shop.ledger(order) == [("payment", order.total), ("refund", amount)]
    [row] = shop.refunds(order)
    assert (row.status, row.amount, row.stripe_refund_id) == (refunds.SUCCEEDED, amount, stripe.refunds()[0]["id"])
    assert job.result is not None
    assert (job.result["stripe_refund_id"], job.result["status"]) == (row.stripe_refund_id, "succeeded")
    assert shop.look(order).status == (orders.REFUNDED if amount == order.total else orders.PARTIALLY_REFUNDED)


def in_dashboard(shop: Shop, stripe: Stripe, order: Order, amount: int) -> dict[str, Any]:
    """A refund that somebody makes without us."""
    return stripe.post(REFUNDS, payment_intent=shop.payment(order).payment_intent_id, amount=amount)


# -- the usual


def test_a_refund_moves_the_money_back_once(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    shop.work(accepted)
    [job] = shop.work(accepted)
    assert_refunded_once(shop, stripe, order, job)
    [seen] = stripe.refunds()
    assert seen["metadata"]["order_id"] == order.id


def test_a_refund_without_an_amount_is_of_all_that_is_left(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, 1050)
    [job] = shop.work(shop.refund(order))
    assert_refunded_once(shop, stripe, order, job, 1050)


def test_its_amount_is_reserved_before_stripe_hears_of_it(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, 1000)
    shop.refund(order, 700)
    second = shop.refund(order)
    [job] = shop.work(second)
    assert job.result is not None
    assert job.result["amount"] == 300
    with pytest.raises(Conflict):
        shop.refund(order)


def test_news_about_our_own_refund_makes_no_second_one(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    [job] = shop.work(shop.refund(order, 250))
    shop.hear(stripe.events())
    shop.work_off()
    assert_refunded_once(shop, stripe, order, job)


# -- crashes


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_worker_that_dies_anywhere_refunds_once(shop: Shop, stripe: Stripe, kill_at: KillAt, point: str) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    killed = kill_at(point)
    shop.work(accepted)
    assert killed == [point]
    shop.work_off()
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id))
    assert stripe.keys(REFUNDS) == [shop.refunds(order)[0].idempotency_key]


def test_dying_three_times_in_a_row_refunds_once(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    killed = kill_at("refund.posted", times=3)
    shop.work_off()
    assert len(killed) == 3
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id))


def test_dying_while_the_loss_of_an_answer_is_noted_refunds_once(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    stripe.faults(fault("reset", "after", REFUNDS))
    killed = kill_at("refund.unknown")
    shop.work(accepted)
    assert killed
    shop.work_off()
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id))


def test_a_worker_that_dies_after_its_key_is_a_day_old_still_refunds_once(
    shop: Shop, stripe: Stripe, kill_at: KillAt
) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    kill_at("refund.posted")
    shop.work(accepted)
    shop.age(30)
    stripe.later(30)  # Stripe has forgotten the key, too: posting it again would pay again
    shop.work_off()
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id))


# -- lost answers


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("kind", "when"), LOST_ANSWERS)
def test_a_lost_answer_is_unknown_and_keeps_its_amount_reserved(
    shop: Shop, stripe: Stripe, kind: str, when: str
) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    stripe.faults(fault(kind, when, REFUNDS, seconds=20.0))
    [job] = shop.work(accepted)
    assert stripe.fired() == 1
    assert (job.status, shop.refunds(order)[0].status) == (jobs.QUEUED, refunds.UNKNOWN)
    assert len(stripe.moved("refund")) == (1 if when == "after" else 0)
    with pytest.raises(Exception, match="at most 800"):
        shop.refund(order, 900)
    shop.work_off()
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id))


@pytest.mark.parametrize("kind", ["reset", "error_500"])
def test_answers_that_are_lost_again_and_again_still_refund_once(shop: Shop, stripe: Stripe, kind: str) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    stripe.faults(
        fault(kind, "before", REFUNDS, next=2),
        fault("reset", "before", REFUNDS, method="GET", next=2),
        fault(kind, "after", REFUNDS, next=2),
    )
    shop.work_off()
    assert stripe.fired() >= 5
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id))


def test_an_unknown_refund_is_looked_for_before_it_is_asked_for_again(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    stripe.faults(fault("reset", "after", REFUNDS))
    shop.work(accepted)
    posts = len(stripe.requests("POST", REFUNDS))
    shop.work_off()
    assert len(stripe.requests("POST", REFUNDS)) == posts
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id))


def test_a_stripe_that_will_not_list_them_lets_us_conclude_nothing(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    shop.change(shop.refunds(order)[0], status=refunds.UNKNOWN, params={
        "payment_intent_id": "", "amount": 250, "reason": None,
        "metadata": {"refund_id": shop.refunds(order)[0].id},
    })  # fmt: skip
    [job] = shop.work(accepted)
    assert (job.status, shop.refunds(order)[0].status) == (jobs.QUEUED, refunds.UNKNOWN)
    assert stripe.moved("refund") == []


def test_an_error_that_stripe_replays_advances_the_epoch_when_nothing_was_made(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, 1050)
    accepted = shop.refund(order, 250)
    all_of_it = in_dashboard(shop, stripe, order, 1050)
    stripe.faults(fault("error_500", "after", REFUNDS))  # it refuses, but what it keeps for the key is the 500
    shop.work(accepted)
    stripe.control(f"/refunds/{all_of_it['id']}/fail")  # now there would be something to refund
    shop.make_due()
    [job] = shop.work(accepted)  # looks, finds nothing, posts, and is replayed the 500
    [row] = shop.refunds(order)
    assert (job.status, row.status, row.epoch) == (jobs.QUEUED, refunds.UNKNOWN, 0)  # Stripe may still finish it
    shop.age(hours=2)
    shop.make_due()
    [job] = shop.work(accepted)
    [row] = shop.refunds(order)
    assert (job.status, row.status, row.epoch, row.params) == (jobs.QUEUED, refunds.UNKNOWN, 1, None)
    shop.work_off()
    assert shop.job(accepted.job_id).status == jobs.SUCCEEDED
    assert stripe.keys(REFUNDS) == [f"refund:{row.id}:0", f"refund:{row.id}:1"]
    assert [line["metadata"].get("refund_id") for line in stripe.moved("refund")] == [None, row.id]


def test_an_error_that_stripe_replays_keeps_the_epoch_when_something_was_made(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    stripe.faults(fault("error_500", "after", REFUNDS))
    shop.work(accepted)
    with transaction() as conn:  # an attempt that left no trace, so that the next one does not look first
        conn.execute(update(jobs.jobs).where(jobs.jobs.c.id == accepted.job_id).values(attempts=0))
    shop.change(shop.refunds(order)[0], status=refunds.CREATING)
    shop.age(2)
    shop.make_due()
    [job] = shop.work(accepted)
    assert_refunded_once(shop, stripe, order, job)
    assert shop.refunds(order)[0].epoch == 0


# -- old keys


def test_a_key_of_yesterday_is_looked_for_and_not_posted(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    stripe.faults(fault("reset", "after", REFUNDS))
    shop.work(accepted)
    shop.age(23.5)
    stripe.later(25)
    shop.work_off()
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id))
    assert shop.refunds(order)[0].epoch == 0


def test_a_key_of_yesterday_that_made_nothing_is_replaced_by_a_new_one(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    stripe.faults(fault("reset", "before", REFUNDS))
    shop.work(accepted)
    shop.age(25)
    shop.work_off()
    assert shop.refunds(order)[0].epoch == 1
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id))


# -- told to wait


@pytest.mark.parametrize(("kind", "attempts"), [("in_use_409", 1), ("rate_limit_429", 0), ("unauthorized_401", 0)])
def test_who_is_told_to_wait_waits(shop: Shop, stripe: Stripe, kind: str, attempts: int) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    stripe.faults(fault(kind, "before", REFUNDS))
    [job] = shop.work(accepted)
    assert (job.status, job.attempts, shop.refunds(order)[0].status) == (jobs.QUEUED, attempts, refunds.CREATING)
    shop.work_off()
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id))


# -- no


def test_a_refused_refund_fails_and_frees_its_amount(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, 1050)
    accepted = shop.refund(order, 600)
    in_dashboard(shop, stripe, order, 500)
    [job] = shop.work(accepted)
    assert (job.status, shop.refunds(order)[0].status) == (jobs.FAILED, refunds.FAILED)
    assert job.error is not None
    assert (job.error["type"], job.error["status"]) == ("stripe-refused", 502)
    assert shop.ledger(order) == [("payment", 1050)]
    shop.hear(stripe.events())
    shop.work_off()
    [rest] = shop.work(shop.refund(order))
    assert rest.result is not None
    assert rest.result["amount"] == 550
    assert sum(line["amount"] for line in stripe.moved("refund")) == -1050


def test_a_refused_refund_that_is_found_in_the_list_is_ours_after_all(
    shop: Shop, stripe: Stripe, kill_at: KillAt
) -> None:
    order = shop.paid_order(stripe, 1050)
    accepted = shop.refund(order)
    kill_at("refund.posted")
    shop.work(accepted)
    stripe.later(30)  # the key is forgotten: asked again, Stripe says "already refunded"
    shop.recover()
    [job] = shop.work(accepted)
    assert_refunded_once(shop, stripe, order, job, 1050)


def test_a_refund_that_is_already_refunded_by_its_own_lost_post_is_found_at_the_first_attempt(
    shop: Shop, stripe: Stripe
) -> None:
    """The post arrived from an attempt that left no trace, so that this one counts as the first."""
    order = shop.paid_order(stripe, 1050)
    accepted = shop.refund(order)
    [row] = shop.refunds(order)
    stripe.post_keyed(
        REFUNDS, "of an older version", payment_intent=shop.payment(order).payment_intent_id,
        **{"metadata[refund_id]": row.id},
    )  # fmt: skip
    [job] = shop.work(accepted)
    assert_refunded_once(shop, stripe, order, job, 1050)


def test_a_refund_of_a_payment_that_stripe_does_not_know_fails_and_frees_its_amount(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, 1050)
    accepted = shop.refund(order)
    shop.change(shop.payment(order), payment_intent_id="pi_of_another_account")
    [job] = shop.work(accepted)
    assert (job.status, shop.refunds(order)[0].status) == (jobs.FAILED, refunds.FAILED)


def test_a_key_that_was_used_with_other_parameters_is_for_a_person_and_keeps_its_amount(
    shop: Shop, stripe: Stripe
) -> None:
    order = shop.paid_order(stripe, 1050)
    accepted = shop.refund(order, 1000)
    key = shop.refunds(order)[0].idempotency_key
    stripe.post_keyed(REFUNDS, key, payment_intent=shop.payment(order).payment_intent_id, amount=1)
    [job] = shop.work(accepted)
    assert (job.status, shop.refunds(order)[0].status) == (jobs.NEEDS_REVIEW, refunds.NEEDS_REVIEW)
    with pytest.raises(Exception, match="at most 50"):
        shop.refund(order, 51)


def test_a_dispute_is_refused_by_stripe_and_frees_the_amount(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    stripe.control(f"/charges/{shop.payment(order).charge_id}/dispute")
    [job] = shop.work(shop.refund(order, 250))
    assert (job.status, shop.refunds(order)[0].status) == (jobs.FAILED, refunds.FAILED)
    assert stripe.moved("refund") == []


# -- slow refunds, and refunds that fail


def test_a_pending_refund_counts_as_refunded_only_when_the_bank_took_it(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, 1050, card="pm_card_pendingRefund")
    [job] = shop.work(shop.refund(order))
    assert job.result is not None
    assert job.result["status"] == "pending"
    assert shop.look(order).status == orders.PAID
    assert shop.ledger(order) == [("payment", 1050)]
    with pytest.raises(Conflict):
        shop.refund(order)
    stripe.control(f"/refunds/{job.result['stripe_refund_id']}/settle")
    shop.hear(stripe.events())
    shop.work_off()
    assert shop.look(order).status == orders.REFUNDED
    assert shop.ledger(order) == [("payment", 1050), ("refund", 1050)]


def test_a_refund_that_fails_after_it_succeeded_is_reversed_and_its_amount_is_free(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, 1050, card="pm_card_refundFail")
    [job] = shop.work(shop.refund(order))
    assert job.result is not None
    stripe.control(f"/refunds/{job.result['stripe_refund_id']}/fail")
    shop.hear(stripe.events())
    shop.work_off()
    assert shop.look(order).status == orders.PAID
    assert shop.ledger(order) == [("payment", 1050), ("refund", 1050), ("refund_reversal", 1050)]
    assert sum(line["amount"] for kind in ("refund", "refund_reversal") for line in stripe.moved(kind)) == 0
    assert shop.refund(order).fresh


@pytest.mark.parametrize("how", ["webhook", "list"])
def test_a_refund_that_failed_before_its_answer_arrived_ends_its_job_as_failed(
    shop: Shop, stripe: Stripe, kill_at: KillAt, how: str
) -> None:
    order = shop.paid_order(stripe, 1050)
    accepted = shop.refund(order)
    kill_at("refund.posted")
    shop.work(accepted)
    stripe.control(f"/refunds/{stripe.refunds()[0]['id']}/fail")
    if how == "webhook":
        shop.hear(stripe.events())
        for event in shop.jobs_of(jobs.WEBHOOK_PROCESS):
            shop.hint(event.kind, event.id)
    shop.work_off()
    job = shop.job(accepted.job_id)
    assert (job.status, job.error and job.error["type"]) == (jobs.FAILED, "refund-failed")
    assert shop.refunds(order)[0].status == refunds.FAILED
    assert shop.look(order).status == orders.PAID
    assert shop.refund(order).fresh


def test_a_job_answers_with_what_a_webhook_told_since_its_call(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.payments import Payment

    order = shop.paid_order(stripe, 1050, card="pm_card_pendingRefund")
    accepted = shop.refund(order)
    asked = Payment.create_refund

    def overtaken(self: Payment, *args: Any, **kwargs: Any) -> dict[str, Any]:
        answer = asked(self, *args, **kwargs)
        stripe.control(f"/refunds/{answer['id']}/settle")
        other = Shop()
        other.hear(stripe.events())
        for event in other.jobs_of(jobs.WEBHOOK_PROCESS):
            other.hint(event.kind, event.id)
        return answer

    monkeypatch.setattr(Payment, "create_refund", overtaken)
    [job] = shop.work(accepted)
    assert job.status == jobs.QUEUED  # the answer said pending, the row says more
    shop.work_off()
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id), 1050)


def test_a_refund_in_review_waits_for_a_person(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order)
    shop.change(shop.refunds(order)[0], status=refunds.NEEDS_REVIEW)
    [job] = shop.work(accepted)
    assert job.status == jobs.NEEDS_REVIEW
    assert stripe.moved("refund") == []


def test_a_refund_of_another_amount_than_ours_is_for_a_person(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.paid_order(stripe, 1050)
    accepted = shop.refund(order, 250)
    kill_at("refund.posted")
    shop.work(accepted)
    shop.change(shop.refunds(order)[0], amount=200)
    shop.recover()
    [job] = shop.work(accepted)
    assert (job.status, shop.refunds(order)[0].status) == (jobs.NEEDS_REVIEW, refunds.NEEDS_REVIEW)


# -- without Stripe


def test_a_refund_of_real_money_waits_while_stripe_is_off(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    monkeypatch.setenv("STRIPE_ENABLED", "false")
    [job] = shop.work(accepted)
    assert (job.status, job.attempts, shop.refunds(order)[0].status) == (jobs.QUEUED, 0, refunds.CREATING)
    monkeypatch.setenv("STRIPE_ENABLED", "true")
    shop.work_off()
    assert_refunded_once(shop, stripe, order, shop.job(accepted.job_id))


def test_a_refund_of_test_data_is_test_data(shop: Shop) -> None:
    order = shop.order(1050)
    shop.work(shop.checkout(order))
    row = shop.payment(order)
    shop.change(row, status=payments.SUCCEEDED, amount_received=1050)
    [job] = shop.work(shop.refund(order))
    assert job.result is not None, job.error
    assert job.result["status"] == "succeeded"
    assert job.result["stripe_refund_id"].startswith("re_test_")


def test_a_captured_payment_without_a_payment_intent_is_a_bug_and_not_a_loop(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order)
    shop.change(shop.payment(order), payment_intent_id=None)
    shop.work_off()
    assert shop.job(accepted.job_id).status == jobs.QUARANTINED
    assert stripe.moved("refund") == []
