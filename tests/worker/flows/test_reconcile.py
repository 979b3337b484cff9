"""What Stripe shows against what we hold: findings of each kind, repaired where that is safe, else left open."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from core.database import reading, transaction
from core.domain import cursors, findings, jobs, orders, payments, refunds
from core.domain.jobs import Job
from core.domain.orders import Order
from core.payments import Payment
from tests.worker.crashes import KillAt
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe, fault

LOST = "019b7a5e-0d3c-7a10-8a4e-5f1c2b3d4e5f"


def compare(shop: Shop) -> Job:
    """One run of the job."""
    [job] = shop.work(shop.enqueue(jobs.RECONCILE_OBJECTS))
    return job


def found(shop: Shop) -> list[tuple[str, str, str]]:
    """Kind, object and status of all findings."""
    return [(one.kind, one.object_id, one.status) for one in shop.findings()]


def look_at_nothing_new(*names: str) -> None:
    """Let the walks start in the future, so that only the checks of single objects are left."""
    with transaction() as conn:
        for name in names or ("intents", "refunds"):
            cursors.move(conn, name, {"since": 4_000_000_000})


def checked_out(shop: Shop) -> Order:
    order = shop.order()
    shop.work(shop.checkout(order))
    return order


def unheard_payment(shop: Shop, stripe: Stripe) -> Order:
    """An order that was paid, and no event told us."""
    order = checked_out(shop)
    stripe.pay(shop.payment(order).payment_intent_id or "")
    return order


# -- nothing to say


def test_what_agrees_is_no_finding(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    shop.work(shop.refund(order, 250))
    checked_out(shop)
    shop.age(24)
    job = compare(shop)
    assert job.result == {"checked": 1, "compared": 3}
    assert found(shop) == []


def test_somebody_elses_objects_are_no_findings(shop: Shop, stripe: Stripe) -> None:
    theirs = stripe.post(
        "/v1/payment_intents", amount=500, currency="usd", confirm="true", payment_method="pm_card_visa"
    )  # fmt: skip
    stripe.post("/v1/refunds", payment_intent=theirs["id"])
    compare(shop)
    assert found(shop) == []


def test_a_payment_that_a_job_is_at_work_on_is_no_finding(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    kill_at("charge.posted")
    shop.work(accepted)
    compare(shop)
    assert found(shop) == []
    assert shop.payment(order).status == payments.CREATING


def test_a_refund_that_a_job_is_at_work_on_is_no_finding(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    kill_at("refund.posted")
    shop.work(accepted)
    compare(shop)
    assert found(shop) == []
    assert shop.refunds(order)[0].status == refunds.CREATING


def test_a_list_older_than_our_news_is_no_finding(shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch) -> None:
    order = checked_out(shop)
    asked = Payment.list_payment_intents

    def stale(self: Payment, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        listed = asked(self, *args, **kwargs)
        stripe.pay(listed[0]["id"])
        other = Shop()
        other.hear(stripe.events())
        for event in other.jobs_of(jobs.WEBHOOK_PROCESS):
            other.hint(event.kind, event.id)
        assert shop.look(order).status == orders.PAID
        return listed

    monkeypatch.setattr(Payment, "list_payment_intents", stale)
    compare(shop)
    assert found(shop) == []
    assert shop.look(order).status == orders.PAID


def test_an_object_that_was_read_before_our_news_is_no_finding(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = shop.paid_order(stripe)
    asked = Payment.retrieve_payment_intent

    def stale(self: Payment, *args: Any) -> dict[str, Any]:
        return {**asked(self, *args), "status": "processing", "amount_received": 0}

    monkeypatch.setattr(Payment, "retrieve_payment_intent", stale)
    listed = Payment.list_payment_intents
    monkeypatch.setattr(
        Payment, "list_payment_intents",
        lambda self, *args, **kwargs: [{**one, "status": "processing"} for one in listed(self, *args, **kwargs)],
    )  # fmt: skip
    compare(shop)
    assert found(shop) == []
    assert shop.look(order).status == orders.PAID


def test_a_refund_that_was_read_before_our_news_is_no_finding(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = shop.paid_order(stripe)
    shop.work(shop.refund(order, 250))
    read, listed = Payment.retrieve_refund, Payment.list_refunds
    monkeypatch.setattr(Payment, "retrieve_refund", lambda self, *args: {**read(self, *args), "status": "pending"})
    monkeypatch.setattr(
        Payment, "list_refunds",
        lambda self, *args, **kwargs: [{**one, "status": "pending"} for one in listed(self, *args, **kwargs)],
    )  # fmt: skip
    compare(shop)
    assert found(shop) == []
    assert shop.refunds(order)[0].status == refunds.SUCCEEDED


# -- repaired


def test_a_payment_whose_news_never_came_is_repaired(shop: Shop, stripe: Stripe) -> None:
    order = unheard_payment(shop, stripe)
    compare(shop)
    assert shop.look(order).status == orders.PAID
    assert shop.ledger(order) == [("payment", 1050)]
    intent = shop.payment(order).payment_intent_id
    assert found(shop) == [(findings.STATE_DIFFERS, intent, findings.REPAIRED)]
    [finding] = shop.findings()
    assert finding.detail["local"]["status"] == payments.REQUIRES_PAYMENT
    assert finding.detail["stripe"]["status"] == "succeeded"
    assert finding.order_id == order.id


def test_a_payment_older_than_the_walk_is_asked_about_by_itself(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop)
    stripe.pay(shop.payment(order).payment_intent_id or "")
    look_at_nothing_new()
    assert compare(shop).result == {"checked": 0, "compared": 0}
    shop.age(24)
    look_at_nothing_new()
    assert compare(shop).result == {"checked": 1, "compared": 0}
    assert shop.look(order).status == orders.PAID


def test_an_open_payment_is_asked_about_less_and_less_often(shop: Shop, stripe: Stripe) -> None:
    checked_out(shop)
    shop.age(24)
    results = [compare(shop).result, compare(shop).result]
    assert [result and result["checked"] for result in results] == [1, 0]


def test_a_payment_whose_job_gave_up_is_found_by_its_metadata(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    kill_at("charge.posted")
    shop.work(accepted)
    with transaction() as conn:
        conn.execute(
            update(jobs.jobs).where(jobs.jobs.c.id == accepted.job_id)
            .values(status=jobs.QUARANTINED, lease_token=None, lease_expires_at=None)
        )  # fmt: skip
    compare(shop)
    assert shop.payment(order).status == payments.REQUIRES_PAYMENT
    assert found(shop) == [(findings.STATE_DIFFERS, stripe.intents()[0]["id"], findings.REPAIRED)]


@pytest.mark.parametrize(("verb", "status"), [("settle", refunds.SUCCEEDED), ("fail", refunds.FAILED)])
def test_a_pending_refund_whose_news_never_came_is_repaired(shop: Shop, stripe: Stripe, verb: str, status: str) -> None:
    order = shop.paid_order(stripe, card="pm_card_pendingRefund")
    shop.work(shop.refund(order, 250))
    refund_id = shop.refunds(order)[0].stripe_refund_id
    compare(shop)
    stripe.control(f"/refunds/{refund_id}/{verb}")
    look_at_nothing_new("refunds")
    shop.age(24)
    compare(shop)
    assert shop.refunds(order)[0].status == status
    assert found(shop) == [(findings.STATE_DIFFERS, refund_id, findings.REPAIRED)]


def test_a_refund_made_without_us_is_imported(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    made = stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    compare(shop)
    compare(shop)
    assert found(shop) == [(findings.REFUND_UNKNOWN, made["id"], findings.REPAIRED)]
    assert shop.ledger(order) == [("payment", 1050), ("refund", 100)]
    assert shop.look(order).status == orders.PARTIALLY_REFUNDED


def test_a_refund_that_failed_without_news_is_reversed(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    [job] = shop.work(shop.refund(order, 250))
    assert job.result is not None
    stripe.control(f"/refunds/{job.result['stripe_refund_id']}/fail")
    compare(shop)
    assert shop.ledger(order) == [("payment", 1050), ("refund", 250), ("refund_reversal", 250)]
    assert found(shop) == [(findings.STATE_DIFFERS, job.result["stripe_refund_id"], findings.REPAIRED)]


# -- left for a person


def test_a_payment_of_another_amount_is_left_open(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop)
    intent = shop.payment(order).payment_intent_id
    stripe.post(f"/v1/payment_intents/{intent}", amount=999)
    compare(shop)
    compare(shop)
    assert found(shop) == [(findings.AMOUNT_DIFFERS, intent, findings.OPEN)]
    assert shop.payment(order).status == payments.NEEDS_REVIEW
    assert shop.ledger(order) == []


def test_a_refund_of_another_amount_is_left_open_although_its_state_agrees(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    shop.work(shop.refund(order, 250))
    [row] = shop.refunds(order)
    shop.change(row, amount=200)
    compare(shop)
    assert found(shop) == [(findings.AMOUNT_DIFFERS, row.stripe_refund_id, findings.OPEN)]


def test_a_payment_that_stripe_does_not_know_is_left_open(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop)
    shop.change(shop.payment(order), payment_intent_id="pi_gone")
    look_at_nothing_new("intents")
    shop.age(24)
    compare(shop)
    assert found(shop) == [(findings.MISSING_AT_STRIPE, "pi_gone", findings.OPEN)]
    assert shop.payment(order).status == payments.REQUIRES_PAYMENT


def test_a_refund_that_stripe_does_not_know_is_left_open(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, card="pm_card_pendingRefund")
    shop.work(shop.refund(order, 250))
    shop.change(shop.refunds(order)[0], stripe_refund_id="re_gone")
    look_at_nothing_new("refunds")
    shop.age(24)
    compare(shop)
    assert found(shop) == [(findings.MISSING_AT_STRIPE, "re_gone", findings.OPEN)]


def test_an_order_id_alone_makes_an_object_nobody_elses_business(shop: Shop, stripe: Stripe) -> None:
    stripe.post("/v1/payment_intents", amount=500, currency="usd", **{"metadata[order_id]": "WC-1001"})
    compare(shop)
    assert found(shop) == []


def test_objects_with_our_ids_that_we_do_not_know_are_left_open(shop: Shop, stripe: Stripe) -> None:
    lost = stripe.post(
        "/v1/payment_intents", amount=500, currency="usd", confirm="true", payment_method="pm_card_visa",
        **{"metadata[payment_id]": LOST},
    )  # fmt: skip
    refund = stripe.post("/v1/refunds", payment_intent=lost["id"], **{"metadata[refund_id]": LOST})
    compare(shop)
    assert found(shop) == [
        (findings.MISSING_LOCALLY, lost["id"], findings.OPEN),
        (findings.MISSING_LOCALLY, refund["id"], findings.OPEN),
    ]


def test_an_open_payment_that_never_got_its_id_is_only_checked(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    shop.checkout(order)
    shop.change(shop.payment(order), status=payments.REQUIRES_PAYMENT)
    shop.age(24)
    assert compare(shop).result == {"checked": 1, "compared": 0}
    assert found(shop) == []


def test_an_open_refund_that_never_got_its_id_is_only_checked(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    shop.refund(order, 250)
    shop.change(shop.refunds(order)[0], status=refunds.PENDING)
    shop.age(24)
    assert compare(shop).result == {"checked": 1, "compared": 1}
    assert found(shop) == []


# -- crashes and trouble


@pytest.mark.parametrize(
    "point",
    [
        "reconcile.payment_checked", "reconcile.refund_checked",
        "reconcile.intent_compared", "reconcile.refund_compared",
    ],
)  # fmt: skip
def test_a_worker_that_dies_anywhere_repairs_once(shop: Shop, stripe: Stripe, kill_at: KillAt, point: str) -> None:
    pending = shop.paid_order(stripe, card="pm_card_pendingRefund")
    shop.work(shop.refund(pending, 250))
    order = unheard_payment(shop, stripe)
    if "checked" in point:
        shop.age(24)
    stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    accepted = shop.enqueue(jobs.RECONCILE_OBJECTS)
    killed = kill_at(point)
    shop.work(accepted)
    assert killed == [point]
    shop.work_off()
    assert shop.job(accepted.job_id).status == jobs.SUCCEEDED
    assert shop.ledger(order) == [("payment", 1050), ("refund", 100)]


@pytest.mark.parametrize("path", ["/v1/payment_intents", "/v1/payment_intents/*", "/v1/refunds", "/v1/refunds/*"])
@pytest.mark.parametrize("kind", ["reset", "rate_limit_429"])
def test_a_stripe_in_trouble_is_asked_again(shop: Shop, stripe: Stripe, path: str, kind: str) -> None:
    order = unheard_payment(shop, stripe)
    stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    stripe.faults(fault(kind, "before", path, method="GET"))
    job = compare(shop)
    assert job.status == jobs.QUEUED
    shop.work_off()
    assert shop.ledger(order) == [("payment", 1050), ("refund", 100)]


def test_with_stripe_off_nothing_is_compared_and_no_payment_is_doubted(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = checked_out(shop)
    shop.age(24)
    monkeypatch.setenv("STRIPE_ENABLED", "false")
    assert compare(shop).status == jobs.SUCCEEDED
    assert (shop.payment(order).status, found(shop)) == (payments.REQUIRES_PAYMENT, [])
    with reading() as conn:
        assert cursors.place(conn, "intents") == {}
