"""The short way of a checkout: all of it or nothing, whatever moves before, meanwhile and after."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.exc import DBAPIError

from core.database import reading, transaction
from core.domain import checkouts, jobs, leases, orders, payments, timeline
from core.domain.jobs import PAYMENT_CREATE
from core.domain.leases import Claim
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.timeline import Note
from tests.core.domain import shop
from tests.core.domain.moves import Move, cancel_the_order, pay, replace_the_lease, take_the_lease
from tests.core.domain.racing import race

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


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


def together(*several: Checkout, **fields: Any) -> list[bool]:
    """The short way of all of them in one statement."""
    given = []
    for one in several:
        intent = shop.intent(one.payment, **fields)
        ending = checkouts._ending(one.claim, one.payment, intent, False, {"order_id": one.order.id})
        assert ending is not None
        given.append((ending, [Note("claimed"), Note("called"), Note("succeeded")]))
    return checkouts._end_together(given)


@pytest.fixture
def checkout(database_url: str) -> Checkout:
    """In an empty database."""
    return Checkout()


def move_the_payment(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    orders.lock(conn, order.account_id, order.id)
    payments.change(conn, payment, status=payments.UNKNOWN)


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
    before = shop.everything()
    assert checkout.end() is False
    assert shop.everything() == before


@pytest.mark.parametrize("move", MOVES)
def test_whatever_somebody_else_moves_at_that_moment_is_left_out_and_not_waited_for(
    checkout: Checkout, move: Move
) -> None:
    neighbour = Checkout()
    with transaction() as conn:
        move(conn, checkout.claim, checkout.payment, checkout.order)
        assert together(checkout, neighbour) == [False, True]
    after = shop.everything()
    assert checkout.end() is False
    assert shop.everything() == after


def test_a_lock_that_writes_nothing_is_not_waited_for_either(checkout: Checkout) -> None:
    with transaction() as conn:
        orders.lock(conn, checkout.order.account_id, checkout.order.id)
        assert checkout.end() is False
    assert checkout.end() is True


def test_many_end_together_each_with_its_own(database_url: str) -> None:
    several = [Checkout() for _ in range(20)]
    lost = several[3]
    lost.change(replace_the_lease)
    ended = together(*several)
    assert ended == [one is not lost for one in several]
    with reading() as conn:
        for one in several:
            job, payment = jobs.find(conn, one.claim.job_id), payments.get(conn, one.payment.id)
            assert job is not None
            assert (job.status, payment.payment_intent_id) == (
                (jobs.RUNNING, None) if one is lost else (jobs.SUCCEEDED, f"pi_{one.payment.id}")
            )
            assert one is lost or job.result == {"order_id": one.order.id}
            assert [note.what for note in timeline.read(conn, job.id)][1:] == (
                [] if one is lost else ["claimed", "called", "succeeded"]
            )


def test_of_two_jobs_of_one_order_only_the_first_ends(checkout: Checkout) -> None:
    with transaction() as conn:
        again = jobs.enqueue(conn, PAYMENT_CREATE, {"payment_id": checkout.payment.id})
    second = copy(checkout)
    [second.claim] = leases.take(PAYMENT_CREATE.name, [again.job_id])
    assert together(checkout, second) == [True, False]
    with reading() as conn:
        assert [shop.row(conn, one.claim.job_id).status for one in (checkout, second)] == [jobs.SUCCEEDED, jobs.RUNNING]


def test_of_two_attempts_of_one_job_the_first_ends_and_the_other_is_told_so(checkout: Checkout) -> None:
    replaced = copy(checkout)
    checkout.change(replace_the_lease)
    with reading() as conn:
        token = shop.row(conn, checkout.claim.job_id).lease_token
    checkout.claim = replace(checkout.claim, token=token)
    assert together(replaced, checkout) == [False, False]  # which of the two is ours is left to the long way
    assert together(checkout, replaced) == [True, False]


def test_a_statement_that_fails_writes_nothing_and_each_ends_by_itself(checkout: Checkout) -> None:
    neighbour = Checkout()
    before = shop.everything()
    with pytest.raises(DBAPIError, match="too long"):
        together(checkout, neighbour, id="pi_" + "9" * 1000)
    assert shop.everything() == before
    assert neighbour.end() is True


@pytest.mark.parametrize(
    "fields",
    [{"status": "succeeded"}, {"status": "canceled"}, {"status": "not_invented_yet"}, {"amount": 1},
     {"currency": "eur"}, {"livemode": True}],
)  # fmt: skip
def test_an_answer_out_of_the_ordinary_is_left_to_the_long_way(checkout: Checkout, fields: dict[str, Any]) -> None:
    before = shop.everything()
    assert checkout.end(**fields) is False
    assert shop.everything() == before


def test_a_payment_is_never_written_without_the_end_of_its_job(checkout: Checkout, database_url: str) -> None:
    before = shop.everything()
    with shop.ignored(database_url, "UPDATE ON jobs"):
        with pytest.raises(DBAPIError, match="division by zero"):
            together(checkout)
        assert checkout.end() is False
    assert shop.everything() == before


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
