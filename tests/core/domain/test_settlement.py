"""What Stripe shows, applied: legal moves only, each posted once; what does not fit waits for a person."""

from __future__ import annotations

from typing import Any

import pytest

from core.database import reading, transaction
from core.domain import ledger, orders, payments, refunds
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.domain.settlement import (
    INTENT_STATUS,
    REFUND_STATUS,
    fee_seen,
    intent_seen,
    ours,
    refund_seen,
    settle_order,
)
from core.errors import Retryable
from tests.core.domain import shop

pytestmark = pytest.mark.usefixtures("database_url")

OUR_ID = "019b7a5e-0d3c-7a10-8a4e-5f1c2b3d4e5f"


def status(order: Order) -> str:
    with reading() as conn:
        return shop.look(conn, order).status


def get(payment: Payment) -> Payment:
    with reading() as conn:
        return payments.get(conn, payment.id)


def postings(order: Order) -> list[tuple[str, int]]:
    with reading() as conn:
        return shop.postings(conn, order)


def see(payment: Payment, status: str, livemode: bool | None = None, **fields: Any) -> str | None:
    """One reading of the PaymentIntent, in a transaction of its own."""
    with transaction() as conn:
        return shop.see(conn, payment, shop.intent(payments.get(conn, payment.id), status, **fields), livemode)


def see_refund(refund: Refund, status: str, **fields: Any) -> str | None:
    with transaction() as conn:
        return shop.see_refund(conn, refund, shop.refund_at_stripe(refunds.get(conn, refund.id), status, **fields))


@pytest.fixture
def open_one() -> tuple[Order, Payment]:
    """An order that was checked out; Stripe has not answered yet."""
    with transaction() as conn:
        return shop.checked_out(conn)


@pytest.fixture
def paid_one() -> tuple[Order, Payment]:
    """An order that is paid with 10.00 USD."""
    with transaction() as conn:
        return shop.paid(conn)


# -- payments


@pytest.mark.parametrize("before", [*payments.UNCREATED, payments.NEEDS_REVIEW, *payments.OPEN_AT_STRIPE])
@pytest.mark.parametrize(("shown", "after"), INTENT_STATUS.items())
def test_a_live_payment_becomes_what_stripe_shows_and_its_order_follows(
    before: str, shown: str, after: str, open_one: tuple[Order, Payment]
) -> None:
    order, payment = open_one
    with transaction() as conn:
        assert payments.change(conn, payment, status=before, detail="before")
    assert see(payment, shown) is None
    found = get(payment)
    assert (found.status, found.payment_intent_id) == (after, f"pi_{payment.id}")
    assert (found.client_secret, found.charge_id, found.detail) == (f"pi_{payment.id}_secret", f"ch_{payment.id}", None)
    assert found.amount_received == (1000 if shown == "succeeded" else 0)
    expected = {"succeeded": orders.PAID, "canceled": orders.PENDING}.get(shown, orders.AWAITING_PAYMENT)
    assert status(order) == expected
    assert postings(order) == ([(ledger.PAYMENT, 1000)] if shown == "succeeded" else [])


@pytest.mark.parametrize("shown", sorted(set(INTENT_STATUS) - {"canceled"}))
def test_a_payment_that_succeeded_stays_so_and_is_posted_once(shown: str, paid_one: tuple[Order, Payment]) -> None:
    order, payment = paid_one
    before = get(payment)
    for _ in range(3):
        assert see(payment, shown) is None
    assert get(payment) == before
    assert (status(order), postings(order)) == (orders.PAID, [(ledger.PAYMENT, 1000)])


def test_a_payment_that_succeeded_here_and_is_canceled_there_waits_for_a_person(
    paid_one: tuple[Order, Payment],
) -> None:
    order, payment = paid_one
    assert see(payment, "canceled") == "Stripe shows canceled for a payment that succeeded"
    assert (get(payment).status, status(order)) == (payments.SUCCEEDED, orders.PAID)


@pytest.mark.parametrize("shown", sorted(set(INTENT_STATUS) - {"succeeded"}))
def test_an_old_reading_does_not_revive_a_canceled_payment(shown: str, open_one: tuple[Order, Payment]) -> None:
    order, payment = open_one
    see(payment, "canceled")
    assert see(payment, shown) is None
    assert (get(payment).status, status(order)) == (payments.CANCELED, orders.PENDING)


@pytest.mark.parametrize("order_status", [orders.PENDING, orders.CANCELED])
def test_money_that_arrives_after_a_cancel_is_recorded(order_status: str, open_one: tuple[Order, Payment]) -> None:
    order, payment = open_one
    see(payment, "canceled")
    with transaction() as conn:
        orders.move(conn, order, order_status)
    assert see(payment, "succeeded") is None
    assert (get(payment).status, get(payment).amount_received) == (payments.SUCCEEDED, 1000)
    assert (status(order), postings(order)) == (orders.PAID, [(ledger.PAYMENT, 1000)])


def test_a_canceled_order_stays_canceled_while_no_money_came(open_one: tuple[Order, Payment]) -> None:
    order, payment = open_one
    with transaction() as conn:
        orders.move(conn, order, orders.CANCELED)
    see(payment, "processing")
    assert status(order) == orders.CANCELED


def test_money_that_came_twice_is_recorded_twice_and_waits_for_a_person(open_one: tuple[Order, Payment]) -> None:
    order, first = open_one
    see(first, "canceled")
    with transaction() as conn:
        shop.checkout(conn, order)
        second = payments.of_order(conn, order.id)[-1]
    assert see(second, "succeeded") is None
    assert see(first, "succeeded") == "the order is paid 2000 of 1000"
    assert postings(order) == [(ledger.PAYMENT, 1000), (ledger.PAYMENT, 1000)]
    with reading() as conn:
        assert payments.captured(conn, order.id) == 2000


def test_an_order_awaits_payment_only_once_there_is_something_to_pay(open_one: tuple[Order, Payment]) -> None:
    order, payment = open_one
    with transaction() as conn:
        assert settle_order(conn, orders.lock(conn, order.account_id, order.id)) == 0
    assert status(order) == orders.PENDING
    see(payment, "requires_payment_method")
    assert status(order) == orders.AWAITING_PAYMENT


def test_a_decline_is_kept_as_the_reason_and_the_payment_can_still_be_paid(open_one: tuple[Order, Payment]) -> None:
    order, payment = open_one
    see(payment, "requires_payment_method", last_payment_error={"message": "Your card was declined."})
    assert (get(payment).status, get(payment).detail) == (payments.REQUIRES_PAYMENT, "Your card was declined.")
    assert see(payment, "succeeded") is None
    assert (get(payment).detail, status(order)) == (None, orders.PAID)


def test_a_reading_without_the_secret_keeps_the_one_that_is_known(open_one: tuple[Order, Payment]) -> None:
    _, payment = open_one
    see(payment, "requires_payment_method")
    see(payment, "requires_action", client_secret=None)
    assert get(payment).client_secret == f"pi_{payment.id}_secret"


def test_test_data_is_marked_and_has_no_livemode_to_compare(open_one: tuple[Order, Payment]) -> None:
    order, payment = open_one
    assert see(payment, "requires_payment_method", livemode=True, test_mode=True) is None
    assert get(payment).test_mode
    assert status(order) == orders.AWAITING_PAYMENT
    see(payment, "requires_payment_method")
    assert get(payment).test_mode  # it was made as test data and stays so


MISMATCHES: list[dict[str, Any]] = [
    {"amount": 999},
    {"currency": "eur"},
    {"amount_received": 999},
    {"amount_received": 0},
    {"livemode": True},
]


@pytest.mark.parametrize("wrong", MISMATCHES, ids=str)
def test_money_that_does_not_match_is_not_posted_and_waits_for_a_person(
    wrong: dict[str, Any], open_one: tuple[Order, Payment]
) -> None:
    order, payment = open_one
    shown = shop.intent(payment, "succeeded", **wrong)
    with transaction() as conn:
        doubt = shop.see(conn, payment, shown, livemode=False)
    assert doubt is not None
    assert next(iter(wrong)) in doubt
    assert (get(payment).status, get(payment).detail) == (payments.NEEDS_REVIEW, doubt)
    assert (status(order), postings(order)) == (orders.PENDING, [])


def test_another_intent_than_the_payments_own_waits_for_a_person(open_one: tuple[Order, Payment]) -> None:
    _, payment = open_one
    see(payment, "requires_payment_method")
    doubt = see(payment, "succeeded", id="pi_other")
    assert doubt is not None
    assert "pi_other" in doubt
    assert (get(payment).status, get(payment).payment_intent_id) == (payments.NEEDS_REVIEW, f"pi_{payment.id}")


def test_a_payment_in_doubt_goes_on_with_the_next_reading_that_fits(open_one: tuple[Order, Payment]) -> None:
    order, payment = open_one
    see(payment, "processing", amount=999)
    assert see(payment, "succeeded") is None
    assert (get(payment).status, get(payment).detail) == (payments.SUCCEEDED, None)
    assert (status(order), postings(order)) == (orders.PAID, [(ledger.PAYMENT, 1000)])


@pytest.mark.parametrize("wrong", MISMATCHES, ids=str)
def test_money_that_was_recorded_stays_recorded_whatever_is_shown_later(
    wrong: dict[str, Any], paid_one: tuple[Order, Payment]
) -> None:
    order, payment = paid_one
    with transaction() as conn:
        assert shop.see(conn, payment, shop.intent(payment, "succeeded", **wrong), livemode=False) is not None
        settle_order(conn, orders.lock(conn, order.account_id, order.id))
    assert (get(payment).status, status(order)) == (payments.SUCCEEDED, orders.PAID)
    with reading() as conn:
        assert payments.captured(conn, order.id) == 1000


def test_doubt_about_a_canceled_payment_does_not_compete_with_the_orders_live_one(
    open_one: tuple[Order, Payment],
) -> None:
    order, first = open_one
    see(first, "canceled")
    with transaction() as conn:
        shop.checkout(conn, order)
    doubt = see(first, "succeeded", amount_received=999)
    assert doubt is not None
    assert (get(first).status, get(first).detail) == (payments.CANCELED, doubt)
    with reading() as conn:
        assert [one.status for one in payments.of_order(conn, order.id)] == [payments.CANCELED, payments.CREATING]


def test_a_payment_that_moved_since_it_was_read_is_not_written_over(open_one: tuple[Order, Payment]) -> None:
    order, stale = open_one
    with transaction() as conn:
        payments.change(conn, stale, status=payments.CANCELED)
    for shown in (shop.intent(stale, "succeeded"), shop.intent(stale, "succeeded", amount=1)):
        with pytest.raises(Retryable), transaction() as conn:
            intent_seen(conn, orders.lock(conn, order.account_id, order.id), stale, shown)
    assert (get(stale).status, postings(order)) == (payments.CANCELED, [])


# -- refunds


def ask(order: Order, amount: int | None = None) -> Refund:
    with transaction() as conn:
        return shop.ask_refund(conn, order, amount)


def look(refund: Refund) -> Refund:
    with reading() as conn:
        return refunds.get(conn, refund.id)


@pytest.mark.parametrize("before", [*refunds.UNCREATED, refunds.NEEDS_REVIEW, *refunds.OPEN_AT_STRIPE])
@pytest.mark.parametrize(("shown", "after"), REFUND_STATUS.items())
def test_an_open_refund_becomes_what_stripe_shows_and_its_order_follows(
    before: str, shown: str, after: str, paid_one: tuple[Order, Payment]
) -> None:
    order, _ = paid_one
    refund = ask(order, 400)
    with transaction() as conn:
        refunds.change(conn, refund, status=before)
    assert see_refund(refund, shown) is None
    assert (look(refund).status, look(refund).stripe_refund_id) == (after, f"re_{refund.id}")
    moved = shown == "succeeded"
    assert status(order) == (orders.PARTIALLY_REFUNDED if moved else orders.PAID)
    assert postings(order)[1:] == ([(ledger.REFUND, 400)] if moved else [])


def test_an_order_is_refunded_when_all_of_it_is(paid_one: tuple[Order, Payment]) -> None:
    order, _ = paid_one
    see_refund(ask(order, 400), "succeeded")
    assert status(order) == orders.PARTIALLY_REFUNDED
    see_refund(ask(order), "succeeded")
    assert status(order) == orders.REFUNDED


@pytest.mark.parametrize("shown", ["failed", "canceled"])
def test_a_refund_that_fails_after_it_succeeded_is_reversed_once(shown: str, paid_one: tuple[Order, Payment]) -> None:
    order, _ = paid_one
    refund = ask(order)
    see_refund(refund, "succeeded")
    assert status(order) == orders.REFUNDED
    for _ in range(3):
        assert see_refund(refund, shown, failure_reason="expired_or_canceled_card") is None
    assert (look(refund).status, look(refund).detail) == (shown, "expired_or_canceled_card")
    assert status(order) == orders.PAID
    assert postings(order) == [(ledger.PAYMENT, 1000), (ledger.REFUND, 1000), (ledger.REFUND_REVERSAL, 1000)]
    assert ask(order).amount == 1000


@pytest.mark.parametrize("shown", ["pending", "requires_action", "succeeded"])
def test_an_old_reading_does_not_revive_a_refund_that_failed_at_stripe(
    shown: str, paid_one: tuple[Order, Payment]
) -> None:
    order, _ = paid_one
    refund = ask(order)
    see_refund(refund, "failed")
    assert see_refund(refund, shown) is None
    assert (look(refund).status, postings(order)) == (refunds.FAILED, [(ledger.PAYMENT, 1000)])


@pytest.mark.parametrize("shown", ["pending", "requires_action", "succeeded"])
def test_a_refund_that_succeeded_is_posted_once_and_no_old_reading_takes_it_back(
    shown: str, paid_one: tuple[Order, Payment]
) -> None:
    order, _ = paid_one
    refund = ask(order)
    for _ in range(2):
        assert see_refund(refund, "succeeded") is None
    assert see_refund(refund, shown) is None
    assert look(refund).status == refunds.SUCCEEDED
    assert postings(order) == [(ledger.PAYMENT, 1000), (ledger.REFUND, 1000)]


@pytest.mark.parametrize("shown", ["pending", "succeeded"])
def test_a_refund_that_we_gave_up_but_stripe_made_after_all_counts_again(
    shown: str, paid_one: tuple[Order, Payment]
) -> None:
    order, _ = paid_one
    refund = ask(order, 600)
    with transaction() as conn:
        refunds.change(conn, refund, status=refunds.FAILED, detail="Stripe refused")
    assert see_refund(refund, shown) is None
    assert look(refund).status == REFUND_STATUS[shown]
    assert ask(order).amount == 400


def test_a_refund_that_came_back_after_its_amount_was_given_away_waits_for_a_person(
    paid_one: tuple[Order, Payment],
) -> None:
    order, _ = paid_one
    lost = ask(order)
    with transaction() as conn:
        refunds.change(conn, lost, status=refunds.FAILED)
    see_refund(ask(order), "succeeded")
    assert see_refund(lost, "succeeded") == "refunds of 2000 stand against 1000 captured"
    assert postings(order)[1:] == [(ledger.REFUND, 1000), (ledger.REFUND, 1000)]  # both happened, both are recorded


@pytest.mark.parametrize("wrong", [{"amount": 399}, {"currency": "eur"}], ids=str)
@pytest.mark.parametrize(
    ("before", "after"),
    [("pending", refunds.NEEDS_REVIEW), ("succeeded", refunds.SUCCEEDED), ("failed", refunds.FAILED)],
)
def test_a_refund_that_does_not_match_waits_for_a_person_and_a_final_one_stays_final(
    wrong: dict[str, Any], before: str, after: str, paid_one: tuple[Order, Payment]
) -> None:
    order, _ = paid_one
    refund = ask(order, 400)
    see_refund(refund, before)
    posted = postings(order)
    doubt = see_refund(refund, "succeeded", **wrong)
    assert doubt is not None
    assert (look(refund).status, look(refund).detail, postings(order)) == (after, doubt, posted)


def test_a_refund_in_doubt_goes_on_with_the_next_reading_that_fits(paid_one: tuple[Order, Payment]) -> None:
    order, _ = paid_one
    refund = ask(order, 400)
    see_refund(refund, "pending", amount=1)
    assert see_refund(refund, "succeeded") is None
    assert postings(order)[1:] == [(ledger.REFUND, 400)]


def test_a_refund_that_moved_since_it_was_read_is_not_written_over(paid_one: tuple[Order, Payment]) -> None:
    order, _ = paid_one
    stale = ask(order)
    with transaction() as conn:
        refunds.change(conn, stale, status=refunds.UNKNOWN)
    for shown in (shop.refund_at_stripe(stale), shop.refund_at_stripe(stale, amount=1)):
        with pytest.raises(Retryable), transaction() as conn:
            refund_seen(conn, orders.lock(conn, order.account_id, order.id), stale, shown)
    assert postings(order) == [(ledger.PAYMENT, 1000)]


def test_an_order_that_moves_back_and_forth_in_one_transaction_ends_where_its_refunds_say(
    paid_one: tuple[Order, Payment],
) -> None:
    order, _ = paid_one
    first, second = ask(order, 300), ask(order, 200)
    see_refund(first, "succeeded")
    with transaction() as conn:
        locked = orders.lock(conn, order.account_id, order.id)
        refund_seen(conn, locked, refunds.get(conn, first.id), shop.refund_at_stripe(first, "failed"))
        refund_seen(conn, locked, refunds.get(conn, second.id), shop.refund_at_stripe(second, "succeeded"))
    assert status(order) == orders.PARTIALLY_REFUNDED


def test_a_status_that_this_api_version_does_not_have_is_a_bug(paid_one: tuple[Order, Payment]) -> None:
    order, _ = paid_one
    refund = ask(order)
    with pytest.raises(KeyError):
        see_refund(refund, "evaporated")
    assert look(refund).status == refunds.CREATING


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [({"payment_id": OUR_ID}, True), ({"refund_id": OUR_ID}, True), ({"payment_id": "1"}, False),
     ({"order_id": OUR_ID}, False), ({"cart": "1"}, False), ({}, False), (None, False)],
)  # fmt: skip
def test_an_object_is_ours_when_it_carries_the_id_of_a_payment_or_refund_of_ours(
    metadata: dict[str, str] | None, expected: bool
) -> None:
    assert ours({"id": "pi_1", "metadata": metadata}) is expected
    assert not ours({"id": "pi_1"})


@pytest.mark.parametrize(("fee", "posting"), [(59, (ledger.FEE, 59)), (-59, (ledger.FEE_REVERSAL, 59))])
def test_a_fee_is_posted_once_for_each_balance_transaction(fee: int, posting: tuple[str, int]) -> None:
    with transaction() as conn:
        order, payment = shop.paid(conn)
        transactions = [{"id": f"txn_{number}", "fee": fee, "currency": "eur"} for number in (1, 1, 2)]
        assert [fee_seen(conn, payment, one) for one in transactions] == [True, False, True]
        assert not fee_seen(conn, payment, {"id": "txn_3", "fee": 0, "currency": "eur"})
        assert shop.postings(conn, order)[1:] == [posting, posting]
        assert ledger.posted(conn, "txn_1") == {posting[0]}
