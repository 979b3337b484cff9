"""A shop in tests: customers, orders, and Stripe's objects as its API shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy import Connection, select

from core.database import AnyRow, now, reading, transaction
from core.domain import customers, jobs, leases, ledger, orders, payments, refunds
from core.domain.customers import User
from core.domain.jobs import Accepted, JobKind, Request
from core.domain.leases import Claim
from core.domain.orders import Item, Order
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.domain.schema import metadata
from core.domain.settlement import intent_seen, refund_seen

ACCOUNT = "acme"
SCOPE = "POST /somewhere"


class _Died(Exception):
    """What a program cannot do more about."""


@contextmanager
def dying() -> Iterator[Connection]:
    """A transaction whose program dies right before the commit."""
    with suppress(_Died), transaction() as conn:
        yield conn
        raise _Died


@contextmanager
def ignored(url: str, change: str) -> Iterator[None]:
    """PostgreSQL does nothing of a kind of change, for example `UPDATE ON jobs`, and says nothing."""
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        server.execute(f"CREATE TRIGGER ignored BEFORE {change} FOR EACH ROW EXECUTE FUNCTION nothing()".encode())
        try:
            yield
        finally:
            server.execute("DROP FUNCTION nothing() CASCADE")


def everything() -> dict[str, list[Any]]:
    """All rows of all tables."""
    with reading() as conn:
        return {table.name: sorted(map(repr, conn.execute(select(table)))) for table in metadata.sorted_tables}


def customer(conn: Connection, email: str = "ada@example.com", account_id: str = ACCOUNT) -> User:
    """The account's customer of that address."""
    return customers.find_or_add(conn, account_id, email, "Ada Lovelace")


def place(
    conn: Connection,
    total: int = 1000,
    currency: str = "usd",
    email: str = "ada@example.com",
    account_id: str = ACCOUNT,
) -> Order:
    """A fresh order of one item."""
    placed, _ = orders.place(
        conn, account_id=account_id, user_id=customer(conn, email, account_id).id, currency=currency,
        items=[Item("book", total, 1)], reference=None, metadata={}, key=None, fingerprint="f",
    )  # fmt: skip
    return placed


def request(key: str | None = None, fingerprint: str = "f") -> Request:
    """An HTTP request, with or without an Idempotency-Key."""
    return Request(scope=SCOPE, key=key, fingerprint=fingerprint)


def checkout(conn: Connection, order: Order, key: str | None = None, fingerprint: str = "f") -> Accepted:
    """Ask for the order's payment."""
    return payments.request_checkout(
        conn, account_id=order.account_id, order_id=order.id, request=request(key, fingerprint)
    )


def ask_refund(
    conn: Connection, order: Order, amount: int | None = None, key: str | None = None, fingerprint: str = "f"
) -> Refund:
    """Ask for a refund of the order; the refund that stands for it."""
    accepted = refunds.request_refund(
        conn, account_id=order.account_id, order_id=order.id, amount=amount, reason=None,
        request=request(key, fingerprint),
    )  # fmt: skip
    job = jobs.find(conn, accepted.job_id)
    assert job is not None
    return refunds.get(conn, job.args["refund_id"])


def checked_out(conn: Connection, total: int = 1000, currency: str = "usd") -> tuple[Order, Payment]:
    """A fresh order and its payment, which nobody has asked Stripe for."""
    order = place(conn, total, currency)
    checkout(conn, order)
    return order, payments.of_order(conn, order.id)[-1]


def paid(conn: Connection, total: int = 1000, currency: str = "usd") -> tuple[Order, Payment]:
    """An order that is paid, and its payment."""
    order, payment = checked_out(conn, total, currency)
    assert see(conn, payment, intent(payment, "succeeded")) is None
    return look(conn, order), payments.get(conn, payment.id)


def intent(payment: Payment, status: str = "requires_payment_method", **fields: Any) -> dict[str, Any]:
    """The payment's PaymentIntent as Stripe shows it."""
    shown: dict[str, Any] = {
        "id": payment.payment_intent_id or f"pi_{payment.id}",
        "object": "payment_intent",
        "status": status,
        "amount": payment.amount,
        "currency": payment.currency,
        "amount_received": payment.amount if status == "succeeded" else 0,
        "client_secret": f"pi_{payment.id}_secret",
        "latest_charge": f"ch_{payment.id}",
        "livemode": False,
        "metadata": {"order_id": payment.order_id, "payment_id": payment.id},
    }
    return {**shown, **fields}


def refund_at_stripe(refund: Refund, status: str = "succeeded", **fields: Any) -> dict[str, Any]:
    """The refund as Stripe shows it."""
    shown: dict[str, Any] = {
        "id": refund.stripe_refund_id or f"re_{refund.id}",
        "object": "refund",
        "status": status,
        "amount": refund.amount,
        "currency": refund.currency,
        "reason": refund.reason,
        "metadata": {"order_id": refund.order_id, "refund_id": refund.id},
    }
    return {**shown, **fields}


def see(conn: Connection, payment: Payment, shown: dict[str, Any], livemode: bool | None = None) -> str | None:
    """Apply a PaymentIntent under the order's lock, to the row as it stands."""
    order = orders.lock(conn, payment.account_id, payment.order_id)
    return intent_seen(conn, order, payments.get(conn, payment.id), shown, livemode)


def see_refund(conn: Connection, refund: Refund, shown: dict[str, Any]) -> str | None:
    """Apply a refund under the order's lock, to the row as it stands."""
    order = orders.lock(conn, refund.account_id, refund.order_id)
    return refund_seen(conn, order, refunds.get(conn, refund.id), shown)


def refunded(conn: Connection, order: Order, amount: int | None = None) -> Refund:
    """A refund of the order that succeeded."""
    refund = ask_refund(conn, order, amount)
    assert see_refund(conn, refund, refund_at_stripe(refund)) is None
    return refunds.get(conn, refund.id)


def look(conn: Connection, order: Order) -> Order:
    """The order as it is now."""
    found = orders.find(conn, order.account_id, order.id)
    assert found is not None
    return found


def postings(conn: Connection, order: Order) -> list[tuple[str, int]]:
    """Kind and amount of the order's ledger transfers, oldest first."""
    table = ledger.transfers.c
    found = conn.execute(select(table.kind, table.amount).where(table.order_id == order.id).order_by(table.id))
    return [(row.kind, row.amount) for row in found]


def enqueued(conn: Connection, count: int = 1, kind: JobKind = jobs.CANARY) -> list[str]:
    """Ids of fresh jobs that are due."""
    return [jobs.enqueue(conn, kind, {}).job_id for _ in range(count)]


def claimed(conn: Connection, kind: JobKind = jobs.CANARY) -> Claim:
    """A fresh job under a lease."""
    [claim] = leases.claim(conn, kind.name, enqueued(conn, kind=kind))
    return claim


def row(conn: Connection, job_id: str) -> AnyRow:
    """The job's whole row, and the database's time as `clock`."""
    return conn.execute(select(jobs.jobs, now().label("clock")).where(jobs.jobs.c.id == job_id)).one()
