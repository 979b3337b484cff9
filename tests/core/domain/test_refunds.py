"""Refunds: amounts are reserved under the order's lock, so that they never exceed what was captured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from core.database import reading, transaction
from core.domain import jobs, orders, payments, refunds
from core.domain.orders import Order
from core.domain.refunds import Refund
from core.errors import Conflict, NotFound, Permanent, Unprocessable
from core.ids import new_id
from tests.core.domain import shop
from tests.core.domain.clocks import DatabaseClock
from tests.core.domain.racing import race

pytestmark = pytest.mark.usefixtures("database_url")


@pytest.fixture
def order() -> Order:
    """An order that is paid with 10.00 USD."""
    with transaction() as conn:
        return shop.paid(conn)[0]


def ask(order: Order, amount: int | None = None, key: str | None = None, fingerprint: str = "f") -> Refund:
    with transaction() as conn:
        return shop.ask_refund(conn, order, amount, key, fingerprint)


def put(refund: Refund, **values: Any) -> Refund:
    """Leave the refund as a crash could."""
    with transaction() as conn:
        assert refunds.change(conn, refunds.get(conn, refund.id), **values)
        return refunds.get(conn, refund.id)


def reserved(order: Order) -> int:
    with reading() as conn:
        return refunds.total(conn, order.id)


# -- accepting


def test_a_refund_reserves_its_amount_before_stripe_hears_of_it(order: Order) -> None:
    refund = ask(order, 300)
    assert (refund.status, refund.amount, refund.currency) == (refunds.CREATING, 300, "usd")
    assert (refund.stripe_refund_id, refund.params) == (None, None)
    assert refund.idempotency_key == f"refund:{refund.id}:0"
    with reading() as conn:
        assert refunds.total(conn, order.id) == 300
        assert refunds.total(conn, order.id, settled=True) == 0
        assert refunds.total(conn, order.id, refund.payment_id) == 300
        assert refunds.total(conn, order.id, new_id()) == 0
        assert shop.look(conn, order).status == orders.PAID
        [_, job] = jobs.of_order(conn, order.id)
    assert (job.kind, job.args) == ("refunds.create", {"order_id": order.id, "refund_id": refund.id})


def test_a_refund_without_an_amount_is_of_all_that_is_left(order: Order) -> None:
    ask(order, 300)
    assert ask(order).amount == 700


def test_partial_refunds_add_up_to_the_payment_and_not_a_cent_more(order: Order) -> None:
    ask(order, 999)
    with pytest.raises(Unprocessable) as refused:
        ask(order, 2)
    assert refused.value.type == "refund-exceeds-payment"
    assert ask(order, 1).amount == 1
    for amount in (None, 1):
        with pytest.raises(Conflict) as nothing_left:
            ask(order, amount)
        assert nothing_left.value.type == "order-refunded"
    assert reserved(order) == 1000


@pytest.mark.parametrize(
    ("amount", "type"),
    [(0, "amount-not-positive"), (-1, "amount-not-positive"), (1.0, "amount-not-integer"),
     (True, "amount-not-integer"), (1001, "refund-exceeds-payment"), (10**9, "amount-too-large")],
)  # fmt: skip
def test_an_amount_that_cannot_be_is_refused(amount: Any, type: str, order: Order) -> None:
    with pytest.raises(Permanent) as refused:
        ask(order, amount)
    assert refused.value.type == type
    assert reserved(order) == 0


@pytest.mark.parametrize(("currency", "amount"), [("isk", 150), ("kwd", 5)])
def test_a_refund_follows_its_currencys_rules(currency: str, amount: int) -> None:
    with transaction() as conn:
        order, _ = shop.paid(conn, 1000, currency)
    with pytest.raises(Unprocessable):
        ask(order, amount)
    assert ask(order, 100).currency == currency


def test_a_refund_may_be_smaller_than_the_smallest_charge(order: Order) -> None:
    assert ask(order, 1).amount == 1


@pytest.mark.parametrize("status", ["requires_payment_method", "processing", "canceled"])
def test_an_order_that_nothing_was_captured_of_has_nothing_to_refund(status: str) -> None:
    with transaction() as conn:
        order, payment = shop.checked_out(conn)
        shop.see(conn, payment, shop.intent(payment, status))
    with pytest.raises(Conflict) as refused:
        ask(order)
    assert refused.value.type == "order-not-paid"


def test_another_accounts_order_is_not_found(order: Order) -> None:
    with pytest.raises(NotFound), transaction() as conn:
        refunds.request_refund(
            conn, account_id="other", order_id=order.id, amount=None, reason=None, request=jobs.Request()
        )


def test_a_repeated_key_is_the_same_refund_although_nothing_is_left(order: Order) -> None:
    first = ask(order, key="k")
    assert ask(order, key="k").id == first.id
    put(first, status=refunds.SUCCEEDED)
    assert ask(order, key="k").id == first.id
    with pytest.raises(Unprocessable):
        ask(order, 1, "k", "other")
    assert reserved(order) == 1000


# -- races


def test_twenty_refunds_at_once_never_exceed_the_payment(order: Order) -> None:
    def attempt(number: int) -> int:
        try:
            return ask(order, 300, f"k{number}").amount
        except (Unprocessable, Conflict):
            return 0

    assert sorted(race(20, attempt), reverse=True)[:4] == [300, 300, 300, 0]
    assert reserved(order) == 900


def test_twenty_full_refunds_at_once_are_one(order: Order) -> None:
    def attempt(_: int) -> bool:
        try:
            return bool(ask(order))
        except Conflict:
            return False

    assert race(20, attempt).count(True) == 1
    assert reserved(order) == 1000


def test_twenty_requests_with_one_key_are_one_refund(order: Order) -> None:
    assert len({refund.id for refund in race(20, lambda _: ask(order, 100, "k"))}) == 1
    assert reserved(order) == 100


# -- from every state of an earlier refund


@pytest.mark.parametrize("status", sorted(set(refunds.STATUSES) - set(refunds.RETURNED)))
def test_a_refund_reserves_its_amount_in_every_state_in_which_it_may_have_happened(status: str, order: Order) -> None:
    put(ask(order, 600), status=status)
    assert reserved(order) == 600
    with pytest.raises(Unprocessable):
        ask(order, 401)
    assert ask(order).amount == 400


@pytest.mark.parametrize("status", refunds.RETURNED)
def test_a_failed_refund_frees_its_amount(status: str, order: Order) -> None:
    put(ask(order, 600), status=status)
    assert reserved(order) == 0
    assert ask(order).amount == 1000


def test_of_two_captured_payments_the_one_with_the_most_left_is_refunded() -> None:
    with transaction() as conn:
        order, first = shop.checked_out(conn)
        shop.see(conn, first, shop.intent(first, "canceled"))
        shop.checkout(conn, order)
        second = payments.of_order(conn, order.id)[-1]
        assert shop.see(conn, second, shop.intent(second, "succeeded")) is None
        assert shop.see(conn, first, shop.intent(first, "succeeded")) == "the order is paid 2000 of 1000"
    taken = [ask(order, 800), ask(order, 700), ask(order), ask(order)]
    assert sorted(refund.amount for refund in taken) == [200, 300, 700, 800]
    assert taken[0].payment_id != taken[1].payment_id
    with pytest.raises(Conflict):
        ask(order)


# -- keys and parameters


def test_the_parameters_are_frozen_with_the_first_use_of_the_key(order: Order) -> None:
    refund = ask(order)
    with transaction() as conn:
        refunds.freeze(conn, refund, {"amount": 1000})
        refunds.freeze(conn, refund, {"amount": 2000})
        assert refunds.get(conn, refund.id).params == {"amount": 1000}


@pytest.mark.parametrize("status", refunds.UNCREATED)
def test_a_key_advances_while_nothing_was_created(status: str, order: Order, clock: DatabaseClock) -> None:
    before = put(ask(order), status=status, params={"amount": 1000})
    clock.forward(100)
    with transaction() as conn:
        refunds.advance(conn, before)
        after = refunds.get(conn, before.id)
        assert (after.epoch, after.params, after.idempotency_key) == (1, None, f"refund:{before.id}:1")
        refunds.freeze(conn, after, {"amount": 1000})
        refunds.advance(conn, before)  # the same proof twice says nothing about the new key
        assert refunds.get(conn, before.id) == replace(after, params={"amount": 1000})
    assert (after.epoch_at - before.epoch_at).total_seconds() > 90


@pytest.mark.parametrize("status", sorted(set(refunds.STATUSES) - set(refunds.UNCREATED)))
def test_a_key_never_advances_once_something_was_created(status: str, order: Order) -> None:
    created = put(ask(order), status=status)
    with transaction() as conn:
        refunds.advance(conn, created)
        assert refunds.get(conn, created.id).epoch == 0


def test_a_change_counts_only_from_the_status_that_was_seen(order: Order) -> None:
    seen = ask(order)
    put(seen, status=refunds.UNKNOWN)
    with transaction() as conn:
        assert not refunds.change(conn, seen, status=refunds.FAILED)


def test_the_database_knows_the_statuses_and_amounts(order: Order) -> None:
    ask(order)
    for wrong in ("status = 'lost'", "amount = 0", "amount = -5"):
        with pytest.raises(IntegrityError), transaction() as conn:
            conn.exec_driver_sql(f"UPDATE refunds SET {wrong}")


# -- found, or made at Stripe


def test_a_refund_is_found_by_stripes_id_and_before_that_by_ours_in_the_metadata(order: Order) -> None:
    refund = ask(order)
    with transaction() as conn:
        assert refunds.of_stripe(conn, "re_1") is None
        assert refunds.of_stripe(conn, "re_1", "nonsense") is None
        assert refunds.of_stripe(conn, "re_1", refund.id, refund.payment_id) == refund
        assert refunds.of_stripe(conn, "re_1", refund.id, new_id()) is None  # of another payment
        refunds.change(conn, refund, stripe_refund_id="re_1")
        assert refunds.of_stripe(conn, "re_1") == refunds.get(conn, refund.id)
        assert refunds.of_stripe(conn, "re_2", refund.id, refund.payment_id) is None


def test_a_refund_made_at_stripe_is_imported_once_and_counts(order: Order) -> None:
    made = {"id": "re_d", "amount": 400, "currency": "usd", "reason": "fraudulent", "status": "succeeded"}
    with transaction() as conn:
        [payment] = payments.of_order(conn, order.id)
        refund = refunds.adopt(conn, payment, made)
        assert (refund.amount, refund.reason, refund.stripe_refund_id) == (400, "fraudulent", "re_d")
        assert shop.see_refund(conn, refund, made) is None
        assert shop.look(conn, order).status == orders.PARTIALLY_REFUNDED
        assert [one.id for one in refunds.of_order(conn, order.id)] == [refund.id]
    with pytest.raises(IntegrityError), transaction() as conn:
        refunds.adopt(conn, payment, made)
    assert ask(order).amount == 600


def test_an_id_of_ours_that_names_no_refund_is_a_bug() -> None:
    with reading() as conn, pytest.raises(LookupError):
        refunds.get(conn, new_id())


# -- asking again


def test_an_open_refund_is_asked_about_at_widening_distances(order: Order, clock: DatabaseClock) -> None:
    refund = put(ask(order), status=refunds.PENDING, stripe_refund_id="re_1")

    def due() -> bool:
        with transaction() as conn:
            return refunds.due_for_check(conn, 10) == [refund]

    assert not due()
    for distance in (601, 610):
        clock.forward(distance)
        assert due()
        with transaction() as conn:
            refunds.checked(conn, refund)
        assert not due()
    clock.forward(1200)
    assert not due()  # it was 1,211 s old when it was asked about
    clock.forward(20)
    assert due()
    put(refund, status=refunds.SUCCEEDED)
    with reading() as conn:
        assert refunds.due_for_check(conn, 10) == []
