"""The short way into a checkout: what the long way would have made of a first one, and nothing of any other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import sleep
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DBAPIError

from core.database import reading, transaction
from core.domain import checks, customers, jobs, openings, orders, payments, timeline
from core.domain.jobs import PAYMENT_CREATE, Accepted, Request
from core.domain.openings import open_checkout
from core.domain.orders import Order
from core.ids import new_id
from tests.core.domain import shop
from tests.core.domain.racing import race

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
PARENT = f"00-{'1' * 32}-{'2' * 16}-01"

State = Callable[[Connection, Order], Any]


@pytest.fixture
def order(database_url: str) -> Order:
    """In an empty database."""
    return placed()


def placed(email: str = "ada@example.com") -> Order:
    with transaction() as conn:
        return shop.place(conn, email=email)


def asked(key: str | None = "k") -> Request:
    return Request("req-1", PARENT, "POST /orders/<order_id>/checkout", key, "f" * 64)


def shortly(order: Order, key: str | None = "k") -> Accepted | None:
    return open_checkout(order.account_id, order.id, asked(key))


def plainly(order: Order, key: str | None = "k") -> Accepted:
    with transaction() as conn:
        return payments.request_checkout(conn, account_id=order.account_id, order_id=order.id, request=asked(key))


def together(*several: tuple[Order, str | None]) -> list[bool]:
    return openings._open_together([openings._opening(one.account_id, one.id, asked(key)) for one, key in several])


def left_by(accepted: Accepted) -> list[list[dict[str, Any]]]:
    """The rows of a job, its payment and its timeline, the differing ids and times only as far as they are there."""
    with reading() as conn:
        job = jobs.find(conn, accepted.job_id)
        assert job is not None
        names = {job.id: "job", job.args["payment_id"]: "payment", job.args["order_id"]: "order"}
        order = orders.find(conn, job.account_id, job.args["order_id"])
        assert order is not None
        names[order.user_id] = "user"
        found = [
            conn.execute(select(table).where(condition)).all()
            for table, condition in (
                (jobs.jobs, jobs.jobs.c.id == job.id),
                (payments.payments, payments.payments.c.id == job.args["payment_id"]),
                (timeline.job_events, timeline.job_events.c.job_id == job.id),
            )
        ]

    def alike(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {inner: alike(inner, what) for inner, what in value.items()}
        if name == "at" or name.endswith("_at") or (name == "id" and isinstance(value, int)):
            return value is not None
        return names.get(value, value)

    return [[{name: alike(name, value) for name, value in row._asdict().items()} for row in rows] for rows in found]


def known_at_stripe(conn: Connection, order: Order) -> None:
    customers.remember_stripe_customer(conn, order.user_id, "cus_1")


def canceled_before(conn: Connection, order: Order) -> None:
    shop.checkout(conn, order)
    [payment] = payments.of_order(conn, order.id)
    shop.see(conn, payment, shop.intent(payment, "canceled"))


def new(conn: Connection, order: Order) -> None:
    """Nobody has asked about it."""


def awaiting_payment(conn: Connection, order: Order) -> None:
    orders.move(conn, orders.lock(conn, order.account_id, order.id), orders.AWAITING_PAYMENT)


def checked_out(conn: Connection, order: Order) -> None:
    shop.checkout(conn, order)


def with_that_key(conn: Connection, order: Order) -> None:
    payments.request_checkout(conn, account_id=order.account_id, order_id=order.id, request=asked())


def key_of_another_order(conn: Connection, order: Order) -> None:
    with_that_key(conn, shop.place(conn, account_id=order.account_id))


def in_review(conn: Connection, order: Order) -> None:
    shop.checkout(conn, order)
    payments.change(conn, payments.of_order(conn, order.id)[-1], status=payments.NEEDS_REVIEW)


def paid(conn: Connection, order: Order) -> None:
    orders.move(conn, orders.lock(conn, order.account_id, order.id), orders.PAID)


def canceled(conn: Connection, order: Order) -> None:
    orders.move(conn, orders.lock(conn, order.account_id, order.id), orders.CANCELED)


def gone(conn: Connection, order: Order) -> None:
    conn.execute(update(orders.orders).where(orders.orders.c.id == order.id).values(account_id="another"))


@pytest.mark.parametrize("key", ["k", None])
@pytest.mark.parametrize("state", [new, known_at_stripe, awaiting_payment, canceled_before])
def test_a_first_one_is_accepted_as_the_long_way_accepts_it(order: Order, state: State, key: str | None) -> None:
    other = placed("grace@example.com")
    with transaction() as conn:
        for one in (order, other):
            state(conn, one)
    expected = left_by(plainly(other, key and "another key"))
    expected[0][0]["idempotency_key"] = key

    accepted = shortly(order, key)

    assert accepted is not None
    assert accepted == Accepted(accepted.job_id, PAYMENT_CREATE, order.id, jobs.QUEUED, fresh=True)
    assert left_by(accepted) == expected


def test_it_is_due_at_once_the_first_hint_is_left_to_the_web_and_stripe_is_asked_later(order: Order) -> None:
    accepted = shortly(order)
    assert accepted is not None
    with reading() as conn:
        made, [payment] = shop.row(conn, accepted.job_id), conn.execute(select(payments.payments)).all()
        [line] = timeline.read(conn, accepted.job_id)
    assert made.run_at == made.created_at == payment.created_at == payment.epoch_at == line.at <= made.clock
    assert made.hint_at - made.run_at == timedelta(seconds=jobs.FIRST_HINT_SECONDS)
    assert payment.check_at - payment.created_at == timedelta(seconds=checks.FIRST_CHECK_SECONDS)


@pytest.mark.parametrize(
    "state", [checked_out, with_that_key, key_of_another_order, in_review, paid, canceled, gone]
)  # fmt: skip
def test_any_other_is_left_to_the_long_way(order: Order, state: State) -> None:
    with transaction() as conn:
        state(conn, order)
    before = shop.everything()
    assert shortly(order) is None
    assert shop.everything() == before


@pytest.mark.parametrize("state", [checked_out, with_that_key, paid, gone])
def test_what_somebody_else_does_at_that_moment_is_not_waited_for(order: Order, state: State) -> None:
    neighbour = placed("grace@example.com")
    with transaction() as conn:
        orders.lock(conn, order.account_id, order.id)
        state(conn, order)
        assert together((order, "other"), (neighbour, None)) == [False, True]
    after = shop.everything()
    assert shortly(order, "k") is None
    assert shop.everything() == after


def test_an_id_that_is_none_is_left_to_the_long_way(order: Order) -> None:
    assert open_checkout(order.account_id, "1; DROP TABLE orders", asked()) is None
    assert open_checkout(order.account_id, new_id(), asked()) is None


def test_a_key_that_comes_meanwhile_undoes_all_of_them_and_each_tries_alone(order: Order) -> None:
    holder, neighbour = placed(), placed()
    with ThreadPoolExecutor(1) as others, transaction() as conn:
        # Another order's, under way: the statement waits for it, since its own snapshot cannot show how that ends.
        payments.request_checkout(conn, account_id=holder.account_id, order_id=holder.id, request=asked("k"))
        before = shop.everything()
        group = others.submit(together, (order, "k"), (neighbour, "other"))
        sleep(0.3)
        assert not group.done()
        conn.commit()
        with pytest.raises(DBAPIError, match="division by zero"):
            group.result()
    after = shop.everything()
    assert len(after["payments"]) == len(before["payments"]) + 1
    assert plainly(order, "k").order_id == holder.id
    assert shortly(neighbour, "other") is not None


def test_groups_with_each_other_s_keys_do_not_wait_in_a_circle(database_url: str) -> None:
    for attempt in range(8):
        keys = [f"{attempt}-{number}" for number in range(24)]
        groups = [[(placed(), key) for key in keys], [(placed(), key) for key in reversed(keys)]]

        def ask(number: int, groups: Any = groups) -> Any:
            try:
                return together(*groups[number])
            except DBAPIError as error:
                return str(error)

        answers = race(2, ask)
        assert [True] * 24 in answers
        assert all(isinstance(one, list) or "division by zero" in one for one in answers)


def test_of_two_about_one_order_or_with_one_key_only_the_first_is_accepted(order: Order) -> None:
    other, third = placed(), placed()
    assert together((order, "a"), (order, "b"), (other, "c"), (third, "c")) == [True, False, True, False]
    assert together((third, None), (third, None)) == [True, False]


def test_many_who_ask_for_few_orders_make_one_payment_each(database_url: str) -> None:
    several = [placed() for _ in range(4)]

    def ask(number: int) -> str:
        order = several[number % 4]
        accepted = shortly(order, None) or plainly(order, None)
        return accepted.job_id

    assert len(set(race(24, ask))) == 4
    with reading() as conn:
        assert len(conn.execute(select(payments.payments)).all()) == 4


def test_the_two_ways_that_race_make_one_payment(database_url: str) -> None:
    for number in range(12):
        order = placed(f"{number}@example.com")

        def run(way: int, order: Order = order) -> str:
            accepted = plainly(order, None) if way else shortly(order, None) or plainly(order, None)
            return accepted.job_id

        assert len(set(race(2, run))) == 1


def test_a_payment_is_never_written_without_its_job(order: Order, database_url: str) -> None:
    before = shop.everything()
    with shop.ignored(database_url, "INSERT ON jobs"):
        with pytest.raises(DBAPIError, match="division by zero"):
            together((order, None))
        assert shortly(order) is None
    assert shop.everything() == before


def test_one_that_the_database_refuses_fails_alone(order: Order) -> None:
    others = [placed(f"{number}@example.com") for number in range(7)]

    def ask(number: int) -> object:
        if number:
            return shortly(others[number - 1], None) or plainly(others[number - 1], None)
        return open_checkout(order.account_id, order.id, Request(traceparent="\0"))

    refused, *accepted = race(8, ask)

    assert refused is None
    assert len({one.job_id for one in accepted if isinstance(one, Accepted)}) == 7
