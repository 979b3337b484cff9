"""Checkout, from every state that a crash or a lost answer can leave."""

from __future__ import annotations

from core.domain import jobs, orders, payments
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe


def test_a_checkout_makes_one_payment_intent_and_hands_out_its_client_secret(shop: Shop, stripe: Stripe) -> None:
    order = shop.order(1050)
    [job] = shop.work(shop.checkout(order))
    assert job.status == jobs.SUCCEEDED, job.error
    assert job.result is not None
    assert job.result["client_secret"].startswith(job.result["payment_intent_id"])
    assert (job.result["total"], job.result["currency"]) == (1050, "usd")
    [intent] = stripe.get("/v1/payment_intents")["data"]
    assert (intent["id"], intent["amount"]) == (job.result["payment_intent_id"], 1050)
    assert intent["metadata"]["order_id"] == order.id
    assert shop.look(order).status == orders.AWAITING_PAYMENT
    assert shop.payment(order).status == payments.REQUIRES_PAYMENT


def test_a_paid_order_is_paid_refunded_in_part_and_then_in_full(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, 1050)
    [part] = shop.work(shop.refund(order, 250))
    assert part.status == jobs.SUCCEEDED, part.error
    assert shop.look(order).status == orders.PARTIALLY_REFUNDED
    [rest] = shop.work(shop.refund(order))
    assert rest.result is not None
    assert rest.result["amount"] == 800
    assert shop.look(order).status == orders.REFUNDED
    assert sum(movement["amount"] for movement in stripe.moved("refund")) == -1050
    shop.hear(stripe.events())
    shop.work_off()
    assert shop.look(order).status == orders.REFUNDED
    assert len(shop.refunds(order)) == 2
