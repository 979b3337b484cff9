"""Orders: totals are computed here, references and keys make one order each."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from core.database import reading, transaction
from core.domain import orders
from core.domain.orders import Item, Order
from core.errors import Conflict, Invalid, NotFound, Permanent, Unprocessable
from core.ids import new_id
from tests.core.domain import shop
from tests.core.domain.racing import race

pytestmark = pytest.mark.usefixtures("database_url")

BOOK = Item("book", 1000, 1)


def place(account_id: str = "acme", **wanted: Any) -> tuple[Order, bool]:
    asked: dict[str, Any] = {
        "currency": "usd", "items": [BOOK], "reference": None, "metadata": {}, "key": None, "fingerprint": "f",
    }  # fmt: skip
    with transaction() as conn:
        user_id = shop.customer(conn, account_id=account_id).id
        return orders.place(conn, account_id=account_id, user_id=user_id, **{**asked, **wanted})


def test_an_order_is_what_its_items_sum_up_to() -> None:
    items = [Item("book", 1050, 3), Item("pen", 1, 2)]
    order, made = place(items=items, currency="EUR", reference="A-1", metadata={"note": "gift"})
    assert made
    assert (order.total, order.currency, order.status, order.disputed) == (3152, "eur", orders.PENDING, False)
    assert (order.items, order.reference, order.metadata) == (tuple(items), "A-1", {"note": "gift"})
    with reading() as conn:
        assert orders.find(conn, "acme", order.id) == order


@pytest.mark.parametrize(
    ("currency", "unit_amount"), [("usd", 50), ("jpy", 50), ("isk", 100), ("ugx", 500_00), ("kwd", 10), ("gbp", 30)]
)
def test_each_currency_has_its_smallest_order(currency: str, unit_amount: int) -> None:
    order, _ = place(currency=currency, items=[Item("book", unit_amount, 1)])
    assert order.total == unit_amount


@pytest.mark.parametrize(
    ("currency", "unit_amount", "quantity", "type"),
    [
        ("usd", 49, 1, "amount-too-small"),
        ("jpy", 49, 1, "amount-too-small"),
        ("huf", 17_499, 1, "amount-too-small"),
        ("isk", 1050, 1, "amount-has-cents"),
        ("ugx", 1, 100, "amount-has-cents"),  # 100 in total, but an item has a price that cannot be
        ("kwd", 1005, 1, "amount-has-mills"),
        ("kwd", 1005, 2, "amount-has-mills"),
        ("usd", 99_999_999, 2, "amount-too-large"),
        ("usd", 1, 100_000_000, "amount-too-large"),
        ("usd", 100_000_000, 1, "amount-too-large"),
        ("usd", 0, 1, "amount-not-positive"),
        ("usd", -1000, 1, "amount-not-positive"),
        ("usd", 10.5, 1, "amount-not-integer"),
        ("usd", True, 1, "amount-not-integer"),
        ("usd", 1000, 0, "quantity-not-positive"),
        ("usd", 1000, -1, "quantity-not-positive"),
        ("usd", 1000, 1.0, "quantity-not-positive"),
        ("usd", 1000, True, "quantity-not-positive"),
        ("zzz", 1000, 1, "unknown-currency"),
        ("us", 1000, 1, "unknown-currency"),
    ],
)
def test_an_order_that_cannot_be_is_refused(currency: str, unit_amount: Any, quantity: Any, type: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        place(currency=currency, items=[Item("book", unit_amount, quantity)])
    assert refused.value.type == type


def test_one_bad_item_among_good_ones_refuses_the_order() -> None:
    with pytest.raises(Unprocessable):
        place(items=[BOOK, Item("refund me", -500, 1)])


def test_an_order_of_nothing_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        place(items=[])
    assert refused.value.type == "empty-order"


def test_the_largest_order_is_eight_digits() -> None:
    assert place(items=[Item("house", 99_999_999, 1)])[0].total == 99_999_999


def test_the_same_reference_and_body_is_the_same_order() -> None:
    first, _ = place(reference="A-1")
    assert place(reference="A-1") == (first, False)


def test_a_reference_of_another_order_is_a_conflict() -> None:
    place(reference="A-1")
    with pytest.raises(Conflict) as refused:
        place(reference="A-1", fingerprint="other")
    assert refused.value.type == "reference-in-use"


def test_each_account_has_references_and_keys_of_its_own() -> None:
    first, _ = place(reference="A-1", key="k")
    second, made = place(account_id="other", reference="A-1", key="k", fingerprint="other")
    assert made
    assert second.id != first.id
    assert place(reference="A-1", key="k") == (first, False)
    assert place(account_id="other", reference="A-1", key="k", fingerprint="other") == (second, False)


def test_the_same_key_and_body_is_the_same_order() -> None:
    first, _ = place(key="k")
    assert place(key="k") == (first, False)


def test_the_same_key_with_another_body_is_refused() -> None:
    place(key="k")
    with pytest.raises(Unprocessable) as refused:
        place(key="k", fingerprint="other")
    assert refused.value.type == "idempotency-key-reused"


def test_a_new_key_for_a_known_reference_and_body_finds_the_order() -> None:
    first, _ = place(reference="A-1", key="k")
    assert place(reference="A-1", key="l") == (first, False)


def test_a_used_key_is_refused_even_with_the_reference_of_a_third_order() -> None:
    place(key="k", reference="A-1")
    place(key="l", reference="A-2", fingerprint="other")
    with pytest.raises(Unprocessable) as refused:
        place(key="k", reference="A-2", fingerprint="other")
    assert refused.value.type == "idempotency-key-reused"


def test_orders_without_reference_and_key_are_never_the_same() -> None:
    assert place()[0].id != place()[0].id


@pytest.mark.parametrize("named", [{"reference": "A-1"}, {"key": "k"}, {"reference": "A-1", "key": "k"}])
def test_twenty_threads_that_place_one_order_place_it_once(named: dict[str, str]) -> None:
    answers = race(20, lambda _: place(**named))
    assert len({order.id for order, _ in answers}) == 1
    assert [made for _, made in answers].count(True) == 1


def test_an_order_is_invisible_to_other_accounts() -> None:
    order, _ = place()
    with transaction() as conn:
        assert orders.find(conn, "other", order.id) is None
        with pytest.raises(NotFound):
            orders.lock(conn, "other", order.id)


@pytest.mark.parametrize("order_id", ["", "nonsense", "0190a0a0-0000-7000-8000-000000000000"])
def test_an_unknown_order_is_not_found(order_id: str) -> None:
    with transaction() as conn:
        assert orders.find(conn, "acme", order_id) is None
        with pytest.raises(NotFound):
            orders.lock(conn, "acme", order_id)


def test_an_order_of_a_customer_that_does_not_exist_is_a_bug() -> None:
    with pytest.raises(IntegrityError), transaction() as conn:
        orders.place(
            conn, account_id="acme", user_id=new_id(), currency="usd", items=[BOOK], reference=None, metadata={},
            key=None, fingerprint="f",
        )  # fmt: skip


def test_a_move_counts_from_the_row_not_from_what_was_read_before() -> None:
    order, _ = place()
    with transaction() as conn:
        locked = orders.lock(conn, "acme", order.id)
        orders.move(conn, locked, orders.PAID)
        orders.move(conn, locked, orders.PENDING)
        assert shop.look(conn, order).status == orders.PENDING


def test_the_database_knows_the_statuses_and_that_totals_are_positive() -> None:
    place()
    for wrong in ("status = 'shipped'", "total = 0", "total = -1"):
        with pytest.raises(IntegrityError), transaction() as conn:
            conn.exec_driver_sql(f"UPDATE orders SET {wrong}")


def test_permanent_refusals_say_what_to_do() -> None:
    with pytest.raises(Permanent) as refused:
        place(items=[Item("book", 49, 1)])
    assert refused.value.as_problem()["status"] == 422
    assert "50 minor units" in str(refused.value.as_problem()["detail"])
