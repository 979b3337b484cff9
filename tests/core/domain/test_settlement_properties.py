"""Whatever Stripe shows, in any order and however often: nothing is posted twice, and the newest reading decides.

Each example lives in one transaction that is rolled back, on whichever database the test runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from core.database import engine
from core.domain import ledger, orders, payments, refunds
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.domain.settlement import INTENT_STATUS, REFUND_STATUS
from tests.core.domain import shop

TOTAL = 1000
BOUNDED = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# What can follow what at Stripe: docs.stripe.com/payments/paymentintents/lifecycle and docs.stripe.com/refunds.
WAITING = ("requires_payment_method", "requires_confirmation", "requires_action", "processing")
INTENT_HISTORY = st.builds(
    lambda waiting, end: (*waiting, *end),
    st.lists(st.sampled_from(WAITING), min_size=1, max_size=4),
    st.sampled_from([(), ("succeeded",), ("canceled",)]),
)
REFUND_HISTORIES = [
    ("pending",), ("succeeded",), ("failed",), ("pending", "succeeded"), ("pending", "failed"), ("pending", "canceled"),
    ("requires_action", "pending", "succeeded"), ("requires_action", "canceled"), ("succeeded", "failed"),
    ("pending", "succeeded", "failed"),
]  # fmt: skip
LEGAL_PAYMENT_ENDS = {payments.SUCCEEDED: {payments.SUCCEEDED}, payments.CANCELED: {payments.CANCELED}}
LEGAL_REFUND_ENDS = {
    refunds.SUCCEEDED: {refunds.SUCCEEDED, refunds.FAILED, refunds.CANCELED},
    refunds.FAILED: {refunds.FAILED},
    refunds.CANCELED: {refunds.CANCELED},
}

Example = Callable[[Callable[[Connection], None]], None]


@pytest.fixture
def example(database_url: str) -> Example:
    """Runs something in a transaction of its own, which leaves no trace."""

    def run(body: Callable[[Connection], None]) -> None:
        with engine().connect() as conn, conn.begin() as transaction:
            body(conn)
            transaction.rollback()

    return run


def deliveries(history: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    """The history's readings in any order, any number of times, some never."""
    return st.lists(st.sampled_from(history), max_size=8)


@BOUNDED
@given(data=st.data(), history=INTENT_HISTORY)
def test_a_payments_readings_in_any_order_end_at_the_newest(
    example: Example, data: st.DataObject, history: tuple[str, ...]
) -> None:
    late = data.draw(deliveries(history))

    def body(conn: Connection) -> None:
        order, payment = shop.checked_out(conn, TOTAL)
        before = payments.CREATING
        for shown in [*late, history[-1]]:  # asked again at last, Stripe shows the newest
            assert shop.see(conn, payment, shop.intent(payment, shown), livemode=False) is None
            after = payments.get(conn, payment.id).status
            assert after in LEGAL_PAYMENT_ENDS.get(before, payments.STATUSES)
            before = after
        newest = INTENT_STATUS[history[-1]]
        paid = newest == payments.SUCCEEDED
        assert payments.get(conn, payment.id).status == newest
        assert payments.captured(conn, order.id) == (TOTAL if paid else 0)
        assert shop.postings(conn, order) == ([(ledger.PAYMENT, TOTAL)] if paid else [])
        expected = {payments.SUCCEEDED: orders.PAID, payments.CANCELED: orders.PENDING}
        assert shop.look(conn, order).status == expected.get(newest, orders.AWAITING_PAYMENT)

    example(body)


@BOUNDED
@given(data=st.data())
def test_refunds_readings_in_any_order_end_at_the_newest(example: Example, data: st.DataObject) -> None:
    histories = data.draw(st.lists(st.sampled_from(REFUND_HISTORIES), min_size=1, max_size=3))
    readings = [(number, shown) for number, history in enumerate(histories) for shown in history]
    late = data.draw(st.lists(st.sampled_from(readings), max_size=10))
    newest = data.draw(st.permutations([(number, history[-1]) for number, history in enumerate(histories)]))
    twice = data.draw(st.booleans())

    def body(conn: Connection) -> None:
        order, _ = shop.paid(conn, TOTAL)
        asked = [shop.ask_refund(conn, order, 300) for _ in histories]
        for number, shown in [*late, *newest, *(newest if twice else [])]:
            before = refunds.get(conn, asked[number].id).status
            assert shop.see_refund(conn, asked[number], shop.refund_at_stripe(asked[number], shown)) is None
            after = refunds.get(conn, asked[number].id).status
            assert after in LEGAL_REFUND_ENDS.get(before, refunds.STATUSES)
            check_ledger(conn, order, [refunds.get(conn, one.id) for one in asked])
        gone = 300 * [history[-1] for history in histories].count("succeeded")
        for one, history in zip(asked, histories, strict=True):
            assert refunds.get(conn, one.id).status == REFUND_STATUS[history[-1]]
        assert shop.look(conn, order).status == (orders.PARTIALLY_REFUNDED if gone else orders.PAID)
        assert refunds.total(conn, order.id, settled=True) == gone
        free = sum(300 for history in histories if history[-1] in ("failed", "canceled"))
        assert refunds.total(conn, order.id) == 300 * len(histories) - free

    example(body)


def check_ledger(conn: Connection, order: Order, asked: list[Refund]) -> None:
    """What was posted adds up to what the rows say, and no cause is posted twice."""
    rows = conn.execute(ledger.transfers.select().where(ledger.transfers.c.order_id == order.id)).all()
    causes = [(row.kind, row.cause) for row in rows]
    assert len(causes) == len(set(causes))
    net = sum({ledger.REFUND: row.amount, ledger.REFUND_REVERSAL: -row.amount}.get(row.kind, 0) for row in rows)
    assert net == sum(refund.amount for refund in asked if refund.status == refunds.SUCCEEDED)


STEPS = st.sampled_from(
    ["checkout", "pay", "cancel", "doubt", "refund half", "refund rest", "refund succeeds", "refund fails", "replay"]
)


@BOUNDED
@given(steps=st.lists(STEPS, min_size=3, max_size=14))
def test_an_orders_money_always_adds_up(example: Example, steps: list[str]) -> None:
    def body(conn: Connection) -> None:
        story = Story(conn)
        for step in steps:
            story.take(step)
            story.check()

    example(body)


class Story:
    """An order's life, in which each step does what it can."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.order = shop.place(conn, TOTAL)
        self.shown: list[tuple[Payment | Refund, dict[str, Any]]] = []

    def take(self, step: str) -> None:
        """Take the step if the order's state allows it."""
        getattr(self, step.replace(" ", "_"))()

    def checkout(self) -> None:
        in_doubt = any(one.status == payments.NEEDS_REVIEW for one in self.live())
        if self.status() in (orders.PENDING, orders.AWAITING_PAYMENT) and not in_doubt:
            shop.checkout(self.conn, self.order)

    def pay(self) -> None:
        for one in self.live():
            self.show(one, shop.intent(one, "succeeded"))

    def cancel(self) -> None:
        for one in self.live():
            self.show(one, shop.intent(one, "canceled"))

    def doubt(self) -> None:
        for one in self.live():
            self.show(one, shop.intent(one, "succeeded", amount_received=TOTAL - 1))

    def refund_half(self) -> None:
        if self.left() > 0:
            shop.ask_refund(self.conn, self.order, (self.left() + 1) // 2)

    def refund_rest(self) -> None:
        if self.left() > 0:
            shop.ask_refund(self.conn, self.order)

    def refund_succeeds(self) -> None:
        open_ones = (*refunds.UNCREATED, *refunds.OPEN_AT_STRIPE)
        for one in [one for one in self.refunds() if one.status in open_ones][:1]:
            self.show(one, shop.refund_at_stripe(one, "succeeded"))

    def refund_fails(self) -> None:
        for one in self.refunds()[-1:]:
            self.show(one, shop.refund_at_stripe(one, "failed"))

    def replay(self) -> None:
        for about, shown in list(self.shown):
            self.show(about, shown)

    def show(self, about: Payment | Refund, shown: dict[str, Any]) -> None:
        self.shown.append((about, shown))
        if isinstance(about, Payment):
            shop.see(self.conn, about, shown)
        else:
            shop.see_refund(self.conn, about, shown)

    def status(self) -> str:
        return shop.look(self.conn, self.order).status

    def live(self) -> list[Payment]:
        return [one for one in payments.of_order(self.conn, self.order.id) if one.status in payments.LIVE]

    def refunds(self) -> list[Refund]:
        return refunds.of_order(self.conn, self.order.id)

    def left(self) -> int:
        return payments.captured(self.conn, self.order.id) - refunds.total(self.conn, self.order.id)

    def check(self) -> None:
        captured = payments.captured(self.conn, self.order.id)
        settled = refunds.total(self.conn, self.order.id, settled=True)
        assert len(self.live()) <= 1
        assert captured in (0, TOTAL)
        assert 0 <= settled <= refunds.total(self.conn, self.order.id) <= captured
        check_ledger(self.conn, self.order, self.refunds())
        posted = [amount for kind, amount in shop.postings(self.conn, self.order) if kind == ledger.PAYMENT]
        assert sum(posted) == captured
        if captured:
            expected = {0: orders.PAID, captured: orders.REFUNDED}.get(settled, orders.PARTIALLY_REFUNDED)
            assert self.status() == expected
        else:
            assert self.status() in (orders.PENDING, orders.AWAITING_PAYMENT)
