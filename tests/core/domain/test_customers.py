"""Customers: one per account and address, each with at most one Stripe customer."""

from __future__ import annotations

import pytest

from core.database import reading, transaction
from core.domain import customers
from tests.core.domain.racing import race

pytestmark = pytest.mark.usefixtures("database_url")


def add(email: str, account_id: str = "acme", full_name: str | None = None) -> customers.User:
    with transaction() as conn:
        return customers.find_or_add(conn, account_id, email, full_name)


def test_a_customer_is_found_by_address_however_it_is_capitalised() -> None:
    first = add("Ada@Example.com", full_name="Ada")
    again = add("ada@example.COM", full_name="Somebody else")
    assert again == first
    assert (first.email, first.full_name, first.stripe_customer_id) == ("Ada@Example.com", "Ada", None)


def test_each_account_has_customers_of_its_own() -> None:
    first, second = add("ada@example.com"), add("ada@example.com", "other")
    assert first.id != second.id
    with reading() as conn:
        assert customers.find(conn, "acme", first.id) == first
        assert customers.find(conn, "other", first.id) is None


@pytest.mark.parametrize("user_id", ["", "nonsense", "1 OR 1=1"])
def test_what_is_no_id_finds_nobody(user_id: str) -> None:
    with reading() as conn:
        assert customers.find(conn, "acme", user_id) is None


def test_twenty_threads_that_add_one_address_add_one_customer() -> None:
    assert len({user.id for user in race(20, lambda _: add("ada@example.com"))}) == 1


def test_the_first_stripe_customer_is_kept() -> None:
    user = add("ada@example.com")
    with transaction() as conn:
        assert customers.remember_stripe_customer(conn, user.id, "cus_1") == "cus_1"
        assert customers.remember_stripe_customer(conn, user.id, "cus_2") == "cus_1"
    assert add("ada@example.com").stripe_customer_id == "cus_1"


def test_a_stripe_customer_belongs_to_one_user_only() -> None:
    first, second = add("ada@example.com"), add("bob@example.com")
    with transaction() as conn:
        customers.remember_stripe_customer(conn, first.id, "cus_1")
        found = customers.find(conn, "acme", second.id)
    assert found is not None
    assert found.stripe_customer_id is None


def test_a_customer_that_stripe_deleted_is_forgotten_once_and_its_successor_has_another_key() -> None:
    user = add("ada@example.com")
    with transaction() as conn:
        customers.remember_stripe_customer(conn, user.id, "cus_1")
        customers.forget_stripe_customer(conn, user.id, "cus_1")
    forgotten = add("ada@example.com")
    assert (forgotten.stripe_customer_id, forgotten.deleted_customer_id) == (None, "cus_1")
    assert forgotten.idempotency_key != user.idempotency_key
    with transaction() as conn:
        customers.remember_stripe_customer(conn, user.id, "cus_2")
        customers.forget_stripe_customer(conn, user.id, "cus_1")  # somebody else saw the same, and was faster
    assert add("ada@example.com").stripe_customer_id == "cus_2"
