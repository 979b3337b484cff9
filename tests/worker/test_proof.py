"""The proof after real payments, refunds and disputes, on both databases, against the stand-in over HTTP."""

from __future__ import annotations

from core.proof import DISPUTED, PAID, REFUNDED, prove
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe


def test_what_was_paid_refunded_and_disputed_is_proved_to_the_cent(shop: Shop, stripe: Stripe) -> None:
    refunded, disputed = shop.paid_order(stripe, 1050), shop.paid_order(stripe, 3000)
    shop.work(shop.refund(refunded, 250))
    charge = shop.payment(disputed).charge_id
    stripe.control(f"/charges/{charge}/dispute")
    shop.hear(stripe.events())
    shop.work_off()
    found = prove()
    assert found.holds, found.differences
    assert [(total.what, total.ledger, total.stripe) for total in found.totals] == [
        (DISPUTED, 3000, 3000),
        (PAID, 4050, 4050),
        (REFUNDED, 250, 250),
    ]


def test_a_dispute_that_was_won_leaves_nothing_withdrawn(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    dispute = stripe.control(f"/charges/{shop.payment(order).charge_id}/dispute")
    stripe.control(f"/disputes/{dispute['id']}/close?outcome=won")
    shop.hear(stripe.events())
    shop.work_off()
    assert prove().holds


def test_money_that_moved_without_our_knowing_is_named(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    made = stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    [difference] = prove().differences
    assert (difference.what, difference.object_id) == (REFUNDED, made["id"])
    assert (difference.ledger, difference.rows, difference.stripe) == (0, 0, 100)


def test_payments_of_somebody_elses_shop_are_none_of_ours(shop: Shop, stripe: Stripe) -> None:
    stripe.post("/v1/payment_intents", amount=900, currency="usd", confirm="true", payment_method="pm_card_visa")
    assert prove().totals == ()
