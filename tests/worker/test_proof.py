"""The proof after real payments, refunds and disputes, on both databases, against the stand-in over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from core import proof
from core.domain import jobs
from core.payments import Payment
from core.proof import DISPUTED, FEES, PAID, REFUNDED, Pending, Total, prove
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


def fees_of_a_dispute(shop: Shop, stripe: Stripe) -> None:
    """A paid and disputed order; no fee is posted."""
    order = shop.paid_order(stripe)
    stripe.control(f"/charges/{shop.payment(order).charge_id}/dispute")
    shop.hear(stripe.events())
    shop.work_off()


def test_fees_are_not_posted_yet_until_reconciliation_has_run(shop: Shop, stripe: Stripe) -> None:
    fees_of_a_dispute(shop, stripe)
    before = prove()
    assert (before.holds, before.pending) == (True, (Pending("usd", 2, 1560),))
    shop.work(shop.enqueue(jobs.RECONCILE_OBJECTS))
    after = prove()
    assert (after.holds, after.pending) == (True, ())
    assert Total(FEES, "usd", 1560, None, 1560) in after.totals


def test_fees_older_than_a_reconciliation_that_are_not_posted_are_named(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    fees_of_a_dispute(shop, stripe)
    monkeypatch.setattr(proof, "RECONCILE_SECONDS", -60)
    found = prove()
    assert found.pending == ()
    assert sorted((one.what, one.ledger, one.rows, one.stripe) for one in found.differences) == [
        (FEES, 0, None, 60),
        (FEES, 0, None, 1500),
    ]


def test_a_dispute_that_took_another_sum_is_named(shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch) -> None:
    fees_of_a_dispute(shop, stripe)
    asked = Payment.list_page

    def lying(self: Payment, of: Any, **more: Any) -> dict[str, Any]:
        page = asked(self, of, **more)
        for one in page["data"] if of == "disputes" else ():
            one["balance_transactions"] = [{"amount": -1000, "currency": "usd"}]
        return page

    monkeypatch.setattr(Payment, "list_page", lying)
    [difference] = prove().differences
    assert (difference.what, difference.ledger, difference.stripe) == (DISPUTED, 1050, 1000)


def test_a_dispute_that_took_another_currency_counts_by_its_direction(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    fees_of_a_dispute(shop, stripe)
    asked = Payment.list_page

    def converted(self: Payment, of: Any, **more: Any) -> dict[str, Any]:
        page = asked(self, of, **more)
        for one in page["data"] if of == "disputes" else ():
            one["balance_transactions"] = [{"amount": -960, "currency": "eur"}]
        return page

    monkeypatch.setattr(Payment, "list_page", converted)
    assert prove().holds


def test_the_proof_walks_all_pages(shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        shop.paid_order(stripe)
    asked = Payment.list_page
    monkeypatch.setattr(Payment, "list_page", lambda self, *args, **more: asked(self, *args, **{**more, "limit": 1}))
    found = prove()
    assert found.holds
    assert [(total.what, total.stripe) for total in found.totals] == [(PAID, 3150)]
    assert found.pending == (Pending("usd", 3, 180),)
