"""When Stripe is asked about a single object: distances that widen, also while it fails to answer."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from core.database import now, reading, transaction
from core.domain import checks, disputes, jobs, orders, payments, refunds
from core.domain.payments import Payment
from core.domain.settlement import dispute_seen
from tests.core.domain import shop
from tests.core.domain.clocks import DatabaseClock

pytestmark = pytest.mark.usefixtures("database_url")
FOREVER = 1_000_000


def wait_of(payment: Payment) -> float:
    """Seconds until the payment's next check."""
    table = payments.payments
    with reading() as conn:
        found = conn.execute(table.select().with_only_columns(table.c.check_at, now().label("clock"))).one()
    return float((found.check_at - found.clock).total_seconds())


def end_jobs(status: str) -> None:
    with transaction() as conn:
        conn.execute(update(jobs.jobs).values(status=status))


def test_each_failure_doubles_the_distance_up_to_a_day_and_an_answer_ends_the_count() -> None:
    with transaction() as conn:
        _, payment = shop.checked_out(conn)
    for times, wait in enumerate((600, 1200, 2400, 4800, 9600, 19_200, 38_400, 76_800, 86_400, 86_400), start=1):
        with transaction() as conn:
            assert checks.not_shown(conn, payments.payments, payment.id) == times
        assert wait - 30 < wait_of(payment) <= wait
    with transaction() as conn:
        payments.checked(conn, payment)
        assert checks.not_shown(conn, payments.payments, payment.id) == 1


@pytest.mark.parametrize("status", [payments.CREATING, payments.UNKNOWN])
@pytest.mark.parametrize("end", sorted(jobs.ENDED))
def test_a_payment_that_may_be_at_stripe_is_due_when_no_job_will_find_out(
    status: str, end: str, clock: DatabaseClock
) -> None:
    with transaction() as conn:
        _, payment = shop.checked_out(conn)
        payments.change(conn, payment, status=status)
    clock.forward(FOREVER)
    with reading() as conn:
        assert payments.due_for_check(conn, 10) == []
    end_jobs(end)
    with reading() as conn:
        assert [due.id for due in payments.due_for_check(conn, 10)] == [payment.id]


@pytest.mark.parametrize("status", [refunds.CREATING, refunds.UNKNOWN])
def test_a_refund_that_may_be_at_stripe_is_due_when_no_job_will_find_out(status: str, clock: DatabaseClock) -> None:
    with transaction() as conn:
        order, payment = shop.paid(conn)
        refund = shop.ask_refund(conn, order)
        refunds.change(conn, refund, status=status)
    clock.forward(FOREVER)
    with reading() as conn:
        assert refunds.due_for_check(conn, 10) == []
    end_jobs(jobs.FAILED)
    with reading() as conn:
        assert [due.id for due in refunds.due_for_check(conn, 10)] == [refund.id]
    with transaction() as conn:
        payments.change(conn, payment, test_mode=True)
        assert refunds.due_for_check(conn, 10) == []


def test_an_open_dispute_is_asked_about_until_it_is_closed(clock: DatabaseClock) -> None:
    shown = {"id": "du_1", "status": "needs_response", "amount": 1000, "currency": "usd"}
    with transaction() as conn:
        _, payment = shop.paid(conn)
        orders.lock(conn, payment.account_id, payment.order_id)
        assert dispute_seen(conn, payment, shown) is False
        assert disputes.due_for_check(conn, 10) == []
    clock.forward(601)
    with transaction() as conn:
        [dispute] = disputes.due_for_check(conn, 10)
        disputes.checked(conn, dispute)
        assert disputes.due_for_check(conn, 10) == []
    clock.forward(FOREVER)
    with transaction() as conn:
        assert disputes.due_for_check(conn, 10) == [dispute]
        assert disputes.of_stripe(conn, "du_1") == dispute
        dispute_seen(conn, payment, {**shown, "status": "lost"})
        assert disputes.due_for_check(conn, 10) == []
        assert disputes.of_stripe(conn, "du_2") is None


def test_the_oldest_payment_is_known() -> None:
    with reading() as conn:
        assert payments.first_made(conn) is None
    with transaction() as conn:
        _, payment = shop.checked_out(conn)
        shop.checked_out(conn)
    with reading() as conn:
        assert payments.first_made(conn) == payment.created_at
