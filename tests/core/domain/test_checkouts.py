"""The short way of a checkout: all of it or nothing, whatever moves before, meanwhile and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DBAPIError

from core.database import reading, transaction
from core.domain import checkouts, jobs, leases, orders, payments
from core.domain.jobs import PAYMENT_CREATE
from core.domain.leases import Claim
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.schema import metadata
from core.domain.timeline import Note
from core.ids import new_token
from tests.core.domain import shop
from tests.core.domain.racing import race

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

Move = Callable[[Connection, Claim, Payment, Order], Any]


class Checkout:
    """A checkout whose job is under a lease and whose PaymentIntent was made."""

    def __init__(self) -> None:
        with transaction() as conn:
            self.order = shop.place(conn)
            job_id = shop.checkout(conn, self.order).job_id
            self.payment = payments.of_order(conn, self.order.id)[-1]
        [self.claim] = leases.take(PAYMENT_CREATE.name, [job_id])

    def end(self, **fields: Any) -> bool:
        """The short way; `fields` are what Stripe shows otherwise."""
        intent = shop.intent(self.payment, **fields)
        return checkouts.end(self.claim, self.payment, intent, False, {"order_id": self.order.id}, [Note("claimed")])

    def change(self, move: Move) -> None:
        """Let something happen before."""
        with transaction() as conn:
            move(conn, self.claim, self.payment, self.order)


@pytest.fixture
def checkout(database_url: str) -> Checkout:
    """In an empty database."""
    return Checkout()


def everything() -> dict[str, list[Any]]:
    """All rows of all tables."""
    with reading() as conn:
        return {table.name: sorted(map(repr, conn.execute(select(table)))) for table in metadata.sorted_tables}


def replace_the_lease(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    conn.execute(update(jobs.jobs).where(jobs.jobs.c.id == claim.job_id).values(lease_token=new_token()))


def take_the_lease(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    leases.retry(conn, claim, 0.0, "taken")


def cancel_the_order(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    orders.move(conn, orders.lock(conn, order.account_id, order.id), orders.CANCELED)


def move_the_payment(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    orders.lock(conn, order.account_id, order.id)
    payments.change(conn, payment, status=payments.UNKNOWN)


def pay(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    shop.see(conn, payment, shop.intent(payment, "succeeded"))


MOVES = [replace_the_lease, take_the_lease, cancel_the_order, move_the_payment, pay]


def test_the_ordinary_end_ends_job_payment_and_order_together(checkout: Checkout) -> None:
    assert checkout.end()
    with reading() as conn:
        job, payment = jobs.find(conn, checkout.claim.job_id), payments.get(conn, checkout.payment.id)
        row = shop.row(conn, checkout.claim.job_id)
        assert job is not None
        assert (job.status, job.result) == (jobs.SUCCEEDED, {"order_id": checkout.order.id})
        assert (row.lease_token, row.lease_expires_at) == (None, None)
        assert (payment.status, payment.payment_intent_id) == ("requires_payment", f"pi_{payment.id}")
        assert shop.look(conn, checkout.order).status == orders.AWAITING_PAYMENT


@pytest.mark.parametrize("move", MOVES)
def test_whatever_moved_before_nothing_is_written(checkout: Checkout, move: Move) -> None:
    checkout.change(move)
    before = everything()
    assert checkout.end() is False
    assert everything() == before


@pytest.mark.parametrize("move", MOVES)
def test_whatever_moves_while_its_lock_is_waited_for_nothing_is_written(checkout: Checkout, move: Move) -> None:
    with ended_meanwhile(checkout) as ended, transaction() as conn:
        move(conn, checkout.claim, checkout.payment, checkout.order)
        ended.start_and_wait_for_the_lock()
    after = everything()  # of the mover alone, unless the end wrote something
    assert ended.result() is False
    assert everything() == after


@pytest.mark.parametrize("status", [orders.PENDING, orders.AWAITING_PAYMENT])
def test_an_order_that_was_locked_and_moved_harmlessly_ends_as_if_it_had_not(checkout: Checkout, status: str) -> None:
    other = orders.AWAITING_PAYMENT if status == orders.PENDING else orders.PENDING
    checkout.change(lambda conn, claim, payment, order: orders.move(conn, order, other))
    with ended_meanwhile(checkout) as ended, transaction() as conn:
        orders.move(conn, orders.lock(conn, checkout.order.account_id, checkout.order.id), status)
        ended.start_and_wait_for_the_lock()
    assert ended.result() is True
    with reading() as conn:
        assert shop.look(conn, checkout.order).status == orders.AWAITING_PAYMENT


def test_a_renewed_lease_is_still_ours(checkout: Checkout) -> None:
    with ended_meanwhile(checkout) as ended, transaction() as conn:
        leases.hold(conn, checkout.claim)
        ended.start_and_wait_for_the_lock()
    assert ended.result() is True


@pytest.mark.parametrize(
    "fields",
    [{"status": "succeeded"}, {"status": "canceled"}, {"status": "not_invented_yet"}, {"amount": 1},
     {"currency": "eur"}, {"livemode": True}],
)  # fmt: skip
def test_an_answer_out_of_the_ordinary_is_left_to_the_long_way(checkout: Checkout, fields: dict[str, Any]) -> None:
    before = everything()
    assert checkout.end(**fields) is False
    assert everything() == before


def test_a_payment_is_never_written_without_the_end_of_its_job(checkout: Checkout, database_url: str) -> None:
    before = everything()
    with psycopg.connect(database_url, autocommit=True) as server:
        server.execute("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        server.execute("CREATE TRIGGER no_end BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION nothing()")
        try:
            with pytest.raises(DBAPIError, match="division by zero"):
                checkout.end()
        finally:
            server.execute("DROP FUNCTION nothing() CASCADE")
    assert everything() == before


def test_an_end_and_a_webhook_that_race_post_the_money_once(database_url: str) -> None:
    for checkout in [Checkout() for _ in range(12)]:
        webhook = checkout.change

        def run(number: int, checkout: Checkout = checkout, webhook: Any = webhook) -> bool:
            return checkout.end() if number else bool(webhook(pay))

        _, ended = race(2, run)
        with reading() as conn:
            job, order = jobs.find(conn, checkout.claim.job_id), shop.look(conn, checkout.order)
            assert job is not None
            assert job.status == (jobs.SUCCEEDED if ended else jobs.RUNNING)
            assert (order.status, shop.postings(conn, order)) == (orders.PAID, [("payment", order.total)])


def test_what_a_message_s_jobs_read_is_what_each_would_read(checkout: Checkout) -> None:
    other = Checkout()
    vanished = Checkout()
    with transaction() as conn:
        moved = orders.orders.c.id == vanished.order.id
        conn.execute(update(orders.orders).where(moved).values(account_id="another"))
    found = checkouts.load([checkout.claim, other.claim, vanished.claim])
    assert found == {one.claim.job_id: (one.payment, one.order) for one in (checkout, other)}


class _Ended:
    def __init__(self, checkout: Checkout) -> None:
        self._found: list[bool] = []
        self._thread = Thread(target=lambda: self._found.append(checkout.end()))

    def start_and_wait_for_the_lock(self) -> None:
        """Begin, and come back once the statement waits for somebody."""
        self._thread.start()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        for _ in range(2000):
            with reading() as conn:
                if conn.exec_driver_sql(waiting).scalar_one():
                    return
            Event().wait(0.005)
        raise AssertionError("it waits for no lock")

    def result(self) -> bool:
        """What the statement said."""
        self._thread.join(20)
        [found] = self._found
        return found


@contextmanager
def ended_meanwhile(checkout: Checkout) -> Iterator[_Ended]:
    """A checkout that ends while the body holds its locks."""
    yield _Ended(checkout)
