"""Checkouts: one job per request, one live payment per order, from every state that a payment can be left in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from core.database import reading, transaction
from core.domain import jobs, leases, orders, payments
from core.domain.jobs import Accepted, KeyTaken
from core.domain.orders import Order
from core.errors import Conflict, NotFound, Unprocessable
from core.ids import new_id
from tests.core.domain import shop
from tests.core.domain.clocks import DatabaseClock
from tests.core.domain.racing import race

pytestmark = pytest.mark.usefixtures("database_url")


@pytest.fixture
def order() -> Order:
    """A pending order over 10.00 USD."""
    with transaction() as conn:
        return shop.place(conn)


def checkout(order: Order, key: str | None = None, fingerprint: str = "f") -> Accepted:
    with transaction() as conn:
        return shop.checkout(conn, order, key, fingerprint)


def of(order: Order) -> list[payments.Payment]:
    with reading() as conn:
        return payments.of_order(conn, order.id)


def put(order: Order, **values: Any) -> payments.Payment:
    """Leave the order's newest payment as a crash could."""
    [*_, payment] = of(order)
    with transaction() as conn:
        assert payments.change(conn, payment, **values)
        return payments.get(conn, payment.id)


# -- accepting


def test_a_checkout_makes_a_payment_of_the_orders_total_and_a_job_about_it(order: Order) -> None:
    accepted = checkout(order)
    [payment] = of(order)
    assert accepted == Accepted(accepted.job_id, jobs.PAYMENT_CREATE, order.id, jobs.QUEUED, fresh=True)
    assert (payment.status, payment.amount, payment.currency) == (payments.CREATING, 1000, "usd")
    assert (payment.amount_received, payment.payment_intent_id, payment.params) == (0, None, None)
    assert payment.idempotency_key == f"payment:{payment.id}:0"
    with reading() as conn:
        job = jobs.find(conn, accepted.job_id)
        assert shop.look(conn, order).status == orders.PENDING
    assert job is not None
    assert (job.args, job.account_id) == ({"order_id": order.id, "payment_id": payment.id}, "acme")


@pytest.mark.parametrize("order_id", ["nonsense", "0190a0a0-0000-7000-8000-000000000000"])
def test_a_checkout_of_no_order_is_not_found(order_id: str) -> None:
    with pytest.raises(NotFound), transaction() as conn:
        payments.request_checkout(conn, account_id="acme", order_id=order_id, request=jobs.Request())


def test_a_checkout_of_another_accounts_order_is_not_found(order: Order) -> None:
    with pytest.raises(NotFound), transaction() as conn:
        payments.request_checkout(conn, account_id="other", order_id=order.id, request=jobs.Request())


def test_a_repeated_checkout_without_a_key_is_the_same_job(order: Order) -> None:
    first = checkout(order)
    assert checkout(order) == Accepted(first.job_id, first.kind, order.id, jobs.QUEUED, fresh=False)


@pytest.mark.parametrize("status", [jobs.FAILED, jobs.QUARANTINED, jobs.NEEDS_REVIEW])
def test_a_checkout_whose_job_ended_badly_is_tried_by_a_new_job_for_the_same_payment(status: str, order: Order) -> None:
    first = checkout(order)
    with transaction() as conn:
        [claim] = leases.claim(conn, first.kind.name, [first.job_id])
        leases.finish(conn, claim, status)
    second = checkout(order)
    assert second.fresh
    assert second.job_id != first.job_id
    assert len(of(order)) == 1


@pytest.mark.parametrize("status", [jobs.RUNNING, jobs.SUCCEEDED])
def test_a_checkout_that_runs_or_succeeded_is_answered_by_its_job(status: str, order: Order) -> None:
    first = checkout(order)
    with transaction() as conn:
        [claim] = leases.claim(conn, first.kind.name, [first.job_id])
        if status == jobs.SUCCEEDED:
            leases.finish(conn, claim, status)
    again = checkout(order)
    assert (again.job_id, again.status, again.fresh) == (first.job_id, status, False)


def test_each_key_has_a_job_of_its_own_for_the_one_payment(order: Order) -> None:
    first, second = checkout(order, "k"), checkout(order, "l")
    assert first.job_id != second.job_id
    assert checkout(order, "k") == Accepted(first.job_id, first.kind, order.id, jobs.QUEUED, fresh=False)
    assert len(of(order)) == 1


def test_a_key_used_for_another_request_is_refused_before_anything_else(order: Order) -> None:
    with transaction() as conn:
        paid, _ = shop.paid(conn)
    checkout(order, "k")
    with pytest.raises(Unprocessable):
        checkout(paid, "k", "other")  # not: the order is paid
    with transaction() as conn:
        other = shop.place(conn)
    with pytest.raises(Unprocessable):
        checkout(other, "k", "other")
    assert of(other) == []


def test_a_repeated_key_finds_its_job_although_the_order_is_paid_by_now(order: Order) -> None:
    first = checkout(order, "k")
    with transaction() as conn:
        shop.see(conn, of(order)[0], shop.intent(of(order)[0], "succeeded"))
    assert checkout(order, "k").job_id == first.job_id
    with pytest.raises(Conflict):
        checkout(order, "l")


# -- races


@pytest.mark.parametrize("keyed", [False, True])
def test_twenty_checkouts_of_one_order_make_one_live_payment(keyed: bool, order: Order) -> None:
    answers = race(20, lambda number: checkout(order, f"k{number}" if keyed else None))
    assert len(of(order)) == 1
    assert len({answer.job_id for answer in answers}) == (20 if keyed else 1)
    assert len([answer for answer in answers if answer.fresh]) == (20 if keyed else 1)


def test_twenty_checkouts_with_one_key_make_one_job(order: Order) -> None:
    assert len({answer.job_id for answer in race(20, lambda _: checkout(order, "k"))}) == 1


def test_twenty_orders_with_one_key_make_one_checkout_and_nineteen_refusals() -> None:
    with transaction() as conn:
        placed = [shop.place(conn) for _ in range(20)]

    def attempt(number: int) -> bool:
        while True:
            try:
                checkout(placed[number], "k", f"order {number}")
            except KeyTaken:
                continue
            except Unprocessable:
                return False
            return True

    assert race(20, attempt).count(True) == 1
    assert len([one for one in placed if of(one)]) == 1


def test_a_second_live_payment_is_refused_by_the_database_itself(order: Order) -> None:
    checkout(order)
    with reading() as conn:
        row = conn.execute(payments.payments.select()).one()
    for status in payments.LIVE:
        with pytest.raises(IntegrityError), transaction() as conn:
            conn.execute(insert(payments.payments).values(**{**row._asdict(), "id": new_id(), "status": status}))
    with transaction() as conn:
        for status in (payments.SUCCEEDED, payments.CANCELED):
            conn.execute(insert(payments.payments).values(**{**row._asdict(), "id": new_id(), "status": status}))


# -- from every state of the payment


@pytest.mark.parametrize(
    "status",
    [
        payments.CREATING, payments.UNKNOWN, payments.REQUIRES_PAYMENT, payments.REQUIRES_ACTION, payments.PROCESSING,
    ],
)  # fmt: skip
def test_a_live_payment_is_checked_out_again_and_no_second_one_is_made(status: str, order: Order) -> None:
    first = checkout(order, "k")
    put(order, status=status, payment_intent_id=None if status in payments.UNCREATED else "pi_1")
    second = checkout(order, "l")
    assert second.fresh
    assert [payment.status for payment in of(order)] == [status]
    with reading() as conn:
        made = [jobs.find(conn, accepted.job_id) for accepted in (first, second)]
    assert len({job.args["payment_id"] for job in made if job}) == 1


def test_a_payment_in_doubt_waits_for_a_person(order: Order) -> None:
    checkout(order)
    put(order, status=payments.NEEDS_REVIEW)
    for key in (None, "k"):
        with pytest.raises(Conflict) as refused:
            checkout(order, key)
        assert refused.value.type == "payment-needs-review"


def test_a_canceled_payment_is_followed_by_a_new_one_with_a_key_of_its_own(order: Order) -> None:
    first = checkout(order)
    canceled = put(order, status=payments.CANCELED)
    second = checkout(order)
    assert second.job_id != first.job_id
    [_, live] = of(order)
    assert live.status == payments.CREATING
    assert live.idempotency_key != canceled.idempotency_key


@pytest.mark.parametrize("status", [orders.PAID, orders.PARTIALLY_REFUNDED, orders.REFUNDED, orders.CANCELED])
def test_an_order_that_is_over_cannot_be_checked_out(status: str, order: Order) -> None:
    with transaction() as conn:
        orders.move(conn, order, status)
    with pytest.raises(Conflict) as refused:
        checkout(order)
    assert refused.value.type == f"order-{status}"


# -- keys and parameters


def test_the_parameters_are_frozen_with_the_first_use_of_the_key(order: Order) -> None:
    checkout(order)
    [payment] = of(order)
    with transaction() as conn:
        payments.freeze(conn, payment, {"amount": 1000})
        payments.freeze(conn, payment, {"amount": 2000})
        assert payments.get(conn, payment.id).params == {"amount": 1000}


@pytest.mark.parametrize("status", payments.UNCREATED)
def test_a_key_advances_with_its_parameters_while_nothing_was_created(
    status: str, order: Order, clock: DatabaseClock
) -> None:
    checkout(order)
    before = put(order, status=status, params={"amount": 1000})
    clock.forward(100)
    with transaction() as conn:
        payments.advance(conn, before)
        after = payments.get(conn, before.id)
        assert (after.epoch, after.params, after.idempotency_key) == (1, None, f"payment:{before.id}:1")
        payments.freeze(conn, after, {"amount": 1000})
        payments.advance(conn, before)  # the same proof twice says nothing about the new key
        assert payments.get(conn, before.id) == replace(after, params={"amount": 1000})
    assert after.epoch_at > before.epoch_at


@pytest.mark.parametrize("status", sorted(set(payments.STATUSES) - set(payments.UNCREATED)))
def test_a_key_never_advances_once_something_was_created(status: str, order: Order) -> None:
    checkout(order)
    created = put(order, status=status)
    with transaction() as conn:
        payments.advance(conn, created)
        assert payments.get(conn, created.id).epoch == 0


def test_a_change_counts_only_from_the_status_that_was_seen(order: Order) -> None:
    checkout(order)
    [seen] = of(order)
    with transaction() as conn:
        assert payments.change(conn, seen, status=payments.UNKNOWN)
        assert not payments.change(conn, seen, status=payments.CANCELED)
        assert payments.get(conn, seen.id).status == payments.UNKNOWN


def test_the_database_knows_the_statuses_and_amounts(order: Order) -> None:
    checkout(order)
    for wrong in ("status = 'lost'", "amount = 0", "amount = -5", "amount_received = -1"):
        with pytest.raises(IntegrityError), transaction() as conn:
            conn.exec_driver_sql(f"UPDATE payments SET {wrong}")


# -- finding


def test_a_payment_is_found_by_its_intent_and_before_that_by_its_id_in_the_metadata(order: Order) -> None:
    checkout(order)
    [payment] = of(order)
    with transaction() as conn:
        assert payments.of_intent(conn, "pi_1") is None
        assert payments.of_intent(conn, "pi_1", "nonsense") is None
        assert payments.of_intent(conn, "pi_1", payment.id) == payment
        payments.change(conn, payment, payment_intent_id="pi_1")
        found = payments.of_intent(conn, "pi_1")
        assert found is not None
        assert found.id == payment.id
        assert payments.of_intent(conn, "pi_2", payment.id) is None  # it has one: nobody else may claim it


def test_an_id_of_ours_that_names_no_payment_is_a_bug() -> None:
    with reading() as conn, pytest.raises(LookupError):
        payments.get(conn, new_id())


# -- asking again


def test_an_open_payment_is_asked_about_at_widening_distances_up_to_a_day(order: Order, clock: DatabaseClock) -> None:
    checkout(order)
    payment = put(order, status=payments.REQUIRES_PAYMENT, payment_intent_id="pi_1")

    def due() -> bool:
        with transaction() as conn:
            return payments.due_for_check(conn, 10) == [payment]

    assert not due()
    clock.forward(601)
    assert due()
    with transaction() as conn:
        payments.checked(conn, payment)
    assert not due()
    clock.forward(590)
    assert not due()
    clock.forward(12)
    assert due()
    clock.forward(10 * 86_400)
    with transaction() as conn:
        payments.checked(conn, payment)
    clock.forward(86_000)
    assert not due()
    clock.forward(500)
    assert due()


@pytest.mark.parametrize("status", sorted(set(payments.STATUSES) - set(payments.OPEN_AT_STRIPE)))
def test_a_payment_that_is_not_open_at_stripe_is_not_asked_about(
    status: str, order: Order, clock: DatabaseClock
) -> None:
    checkout(order)
    put(order, status=status)
    clock.forward(1_000_000)
    with reading() as conn:
        assert payments.due_for_check(conn, 10) == []


def test_test_data_is_not_asked_about(order: Order, clock: DatabaseClock) -> None:
    checkout(order)
    put(order, status=payments.REQUIRES_PAYMENT, test_mode=True)
    clock.forward(1_000_000)
    with reading() as conn:
        assert payments.due_for_check(conn, 10) == []


def test_the_most_overdue_payments_are_asked_about_first(clock: DatabaseClock) -> None:
    for number in range(3):
        with transaction() as conn:
            placed = shop.place(conn)
        checkout(placed)
        put(placed, status=payments.PROCESSING, payment_intent_id=f"pi_{number}")
        clock.forward(10)
    clock.forward(1000)
    with reading() as conn:
        assert [payment.payment_intent_id for payment in payments.due_for_check(conn, 2)] == ["pi_0", "pi_1"]
