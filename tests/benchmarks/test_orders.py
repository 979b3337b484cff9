from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from benchmarks import orders as bulk
from benchmarks.orders import NoRoom, Orders
from benchmarks.postgres import Database
from core.database import reading, transaction
from core.domain import customers, jobs, orders, payments, timeline
from core.domain.accounts import DEFAULT
from core.domain.jobs import Request
from tests import databases


@pytest.fixture
def database(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    databases.empty(postgresql_url)
    monkeypatch.setenv("DATABASE_URL", postgresql_url)
    opened = Database(postgresql_url)
    yield opened
    opened.close()


def test_a_pending_order_can_be_checked_out(database: Database) -> None:
    first, *_ = Orders(database).pending(3)
    with transaction() as conn:
        accepted = payments.request_checkout(conn, account_id=DEFAULT, order_id=first["order_id"], request=Request())
        user = customers.find(conn, DEFAULT, orders.lock(conn, DEFAULT, first["order_id"]).user_id)
    assert accepted.fresh
    assert user is not None
    assert user.stripe_customer_id, "a returning customer costs one call to Stripe, as at the peers"


def test_an_order_that_awaits_payment_has_the_intent_that_it_says(database: Database) -> None:
    [target] = Orders(database).awaiting_payment(1)
    with reading() as conn:
        [payment] = payments.of_order(conn, target["order_id"])
    assert (payment.id, payment.payment_intent_id) == (target["payment_id"], target["intent_id"])
    assert (payment.status, payment.amount) == (payments.REQUIRES_PAYMENT, target["amount"])


def test_old_orders_are_complete(database: Database) -> None:
    Orders(database).grow_to(20)
    with reading() as conn:
        [order_id] = database.rows("SELECT id::text FROM orders ORDER BY id LIMIT 1")[0]
        order = orders.find(conn, DEFAULT, order_id)
        [job] = jobs.of_order(conn, order_id)
        assert order is not None
        assert (order.status, job.status, payments.captured(conn, order_id)) == (
            orders.PAID,
            jobs.SUCCEEDED,
            order.total,
        )
        assert timeline.read(conn, job.id)


def index_definitions(database: Database) -> list[str]:
    """Without casts and brackets, which PostgreSQL sets anew when a condition is made of its own words."""
    found = database.rows("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname")
    return [re.sub(r"::(text|character varying)(\[\])?|[()]", "", definition) for (definition,) in found]


def test_growing_keeps_every_index(database: Database) -> None:
    before = index_definitions(database)
    grown = Orders(database)
    grown.grow_to(20)
    grown.grow_to(50)
    assert index_definitions(database) == before
    assert database.one("SELECT count(*) FROM jobs") == 50


def test_history_that_does_not_fit_is_refused_in_one_line(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "free_bytes", lambda _: 1 << 30)
    with pytest.raises(NoRoom, match=r"need .* GB more"):
        Orders(database).grow_to(20_000)
