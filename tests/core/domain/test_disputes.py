"""Disputes: a flag beside the order's status, and money that moves apart from payments and refunds."""

from __future__ import annotations

from typing import Any

import pytest

from core.database import reading, transaction
from core.domain import disputes, ledger, orders
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.settlement import dispute_seen
from tests.core.domain import shop

pytestmark = pytest.mark.usefixtures("database_url")


@pytest.fixture
def paid() -> tuple[Order, Payment]:
    """An order that is paid with 10.00 USD."""
    with transaction() as conn:
        return shop.paid(conn)


def see(payment: Payment, status: str, *moved: int, **fields: Any) -> None:
    shown = {
        "id": "du_1", "status": status, "amount": 1000, "currency": "usd", "reason": "fraudulent",
        "balance_transactions": [{"amount": amount} for amount in moved], **fields,
    }  # fmt: skip
    with transaction() as conn:
        orders.lock(conn, payment.account_id, payment.order_id)
        dispute_seen(conn, payment, shown)


def look(order: Order) -> tuple[str, bool, list[str]]:
    with reading() as conn:
        found = shop.look(conn, order)
        return found.status, found.disputed, [dispute.status for dispute in disputes.of_order(conn, order.id)]


def test_an_open_dispute_flags_its_order_and_leaves_the_status_alone(paid: tuple[Order, Payment]) -> None:
    order, payment = paid
    see(payment, "needs_response")
    assert look(order) == (orders.PAID, True, ["needs_response"])
    with reading() as conn:
        [dispute] = disputes.of_order(conn, order.id)
    assert (dispute.stripe_dispute_id, dispute.amount, dispute.currency) == ("du_1", 1000, "usd")
    assert dispute.reason == "fraudulent"


@pytest.mark.parametrize("end", disputes.CLOSED)
def test_a_closed_dispute_takes_the_flag_back_and_stays_closed(end: str, paid: tuple[Order, Payment]) -> None:
    order, payment = paid
    see(payment, "under_review")
    see(payment, end)
    assert look(order) == (orders.PAID, False, [end])
    see(payment, "under_review")  # an old reading
    assert look(order) == (orders.PAID, False, [end])


def test_the_flag_stays_while_any_dispute_is_open(paid: tuple[Order, Payment]) -> None:
    order, payment = paid
    see(payment, "needs_response")
    see(payment, "warning_needs_response", id="du_2")
    see(payment, "lost")
    assert look(order)[1:] == (True, ["lost", "warning_needs_response"])
    see(payment, "warning_closed", id="du_2")
    assert look(order)[1:] == (False, ["lost", "warning_closed"])


def test_a_changed_amount_is_kept(paid: tuple[Order, Payment]) -> None:
    order, payment = paid
    see(payment, "needs_response")
    see(payment, "needs_response", amount=700)
    with reading() as conn:
        assert [dispute.amount for dispute in disputes.of_order(conn, order.id)] == [700]


def test_withdrawn_and_reinstated_funds_are_posted_once_each(paid: tuple[Order, Payment]) -> None:
    order, payment = paid
    for _ in range(2):
        see(payment, "needs_response", -1000)
    for _ in range(2):
        see(payment, "won", -1000, 1000)
    see(payment, "needs_response", -1000)  # an old reading
    with reading() as conn:
        assert shop.postings(conn, order)[1:] == [(ledger.DISPUTE_WITHDRAWN, 1000), (ledger.DISPUTE_REINSTATED, 1000)]


def test_funds_that_moved_are_posted_although_nothing_told_of_their_first_move(paid: tuple[Order, Payment]) -> None:
    order, payment = paid
    see(payment, "won", -1000, 1000)
    with reading() as conn:
        assert shop.postings(conn, order)[1:] == [(ledger.DISPUTE_WITHDRAWN, 1000), (ledger.DISPUTE_REINSTATED, 1000)]


@pytest.mark.parametrize("none", [[], None])
def test_an_inquiry_moves_no_money(none: list[Any] | None, paid: tuple[Order, Payment]) -> None:
    order, payment = paid
    see(payment, "warning_needs_response", balance_transactions=none)
    with reading() as conn:
        assert shop.postings(conn, order) == [(ledger.PAYMENT, 1000)]


def test_each_order_has_disputes_of_its_own(paid: tuple[Order, Payment]) -> None:
    _, payment = paid
    see(payment, "needs_response")
    with transaction() as conn:
        other, payment_of_other = shop.paid(conn)
    assert look(other) == (orders.PAID, False, [])
    see(payment_of_other, "won", id="du_2")
    assert look(other) == (orders.PAID, False, ["won"])
