"""Orders: what a customer owes, computed here from its items and never taken from a client.

`pending -> awaiting_payment -> paid -> partially_refunded -> refunded`, or `canceled`; a dispute is a flag
beside the status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Executable,
    ForeignKey,
    Index,
    String,
    Table,
    Uuid,
    bindparam,
    or_,
    select,
    update,
)

from core.database import AnyRow, JSONDocument, Timestamp, insert_into, metadata, now
from core.errors import Conflict, Invalid, NotFound, Unprocessable
from core.ids import is_id, new_id
from core.money import check_amount, check_charge, check_currency
from core.statements import first_within

PENDING, AWAITING_PAYMENT, PAID = "pending", "awaiting_payment", "paid"
PARTIALLY_REFUNDED, REFUNDED, CANCELED = "partially_refunded", "refunded", "canceled"
STATUSES = (PENDING, AWAITING_PAYMENT, PAID, PARTIALLY_REFUNDED, REFUNDED, CANCELED)

orders = Table(
    "orders",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("user_id", Uuid(as_uuid=False), ForeignKey("users.id"), nullable=False),
    Column("status", String(20), nullable=False),
    Column("disputed", Boolean, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("total", BigInteger, nullable=False, comment="minor units"),
    Column("items", JSONDocument, nullable=False),
    Column("reference", String(100), comment="the shop's own order number"),
    Column("metadata", JSONDocument, nullable=False),
    Column("idempotency_key", String(255)),
    Column("fingerprint", String(64), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    CheckConstraint(f"status IN {STATUSES}", name="status"),
    CheckConstraint("total > 0", name="total"),
)
for _name, _column in (("uq_orders_reference", "reference"), ("uq_orders_idempotency_key", "idempotency_key")):
    Index(
        _name,
        orders.c.account_id,
        orders.c[_column],
        unique=True,
        postgresql_where=orders.c[_column].is_not(None),
        sqlite_where=orders.c[_column].is_not(None),
    )
Index("ix_orders_user", orders.c.user_id)
Index("ix_orders_created", orders.c.account_id, orders.c.created_at)


@dataclass(frozen=True)
class Item:
    """One line of an order; `unit_amount` in minor units."""

    name: str
    unit_amount: int
    quantity: int


@dataclass(frozen=True)
class Order:
    """An order; `total` in minor units of `currency` (lower case)."""

    id: str
    account_id: str
    user_id: str
    status: str
    disputed: bool
    currency: str
    total: int
    items: tuple[Item, ...]
    reference: str | None
    metadata: dict[str, str]
    created_at: datetime


SHOWN = [
    orders.c[name]
    for name in (
        "id", "account_id", "user_id", "status", "disputed", "currency", "total", "items", "reference",
        "metadata", "created_at",
    )
]  # fmt: skip


def place(
    conn: Connection,
    *,
    account_id: str,
    user_id: str,
    currency: str,
    items: Sequence[Item],
    reference: str | None,
    metadata: dict[str, str],
    key: str | None,
    fingerprint: str,
) -> tuple[Order, bool]:
    """Store an order, or find the one that the same reference or key made.

    Args:
        currency: ISO 4217, any case.
        key: the caller's Idempotency-Key.
        fingerprint: sha256 (hex) of what was asked.

    Returns:
        The order, and whether it was made now.

    Raises:
        Unprocessable: amounts or currency that cannot be, or a key used for another request.
        Conflict: the reference belongs to another order.
    """
    currency = check_currency(currency)
    total = _total(items, currency)
    insert = insert_into(conn, orders)
    made = conn.execute(
        insert.values(
            id=new_id(), account_id=account_id, user_id=user_id, status=PENDING, disputed=False,
            currency=currency, total=total, items=[asdict(item) for item in items], reference=reference,
            metadata=metadata, idempotency_key=key, fingerprint=fingerprint, created_at=now(),
        )
        .on_conflict_do_nothing()
        .returning(*SHOWN)
    ).first()  # fmt: skip
    if made is not None:
        return of_row(made), True
    return of_row(_earlier(conn, account_id, reference, key, fingerprint)), False


def find(conn: Connection, account_id: str, order_id: str) -> Order | None:
    """The account's order with that id, or None."""
    if not is_id(order_id):
        return None
    mine = (orders.c.id == order_id) & (orders.c.account_id == account_id)
    found = conn.execute(select(*SHOWN).where(mine)).first()
    return of_row(found) if found else None


def lock(conn: Connection, account_id: str, order_id: str) -> Order:
    """The order, locked until this transaction ends: whoever decides about its money goes through here.

    Raises:
        NotFound: no such order in the account.
    """
    found = first_within(conn, _locking, asked=order_id, account=account_id) if is_id(order_id) else None
    if found is None:
        raise NotFound("there is no such order")
    return of_row(found)


def move(conn: Connection, order: Order, status: str) -> None:
    """Set a locked order's status."""
    # Compared in the row: `order` may have been read before an earlier move of this transaction.
    conn.execute(update(orders).where(orders.c.id == order.id, orders.c.status != status).values(status=status))


def flag_dispute(conn: Connection, order_id: str, disputed: bool) -> None:
    """Set or clear the flag beside the status."""
    conn.execute(update(orders).where(orders.c.id == order_id).values(disputed=disputed))


def _locking() -> Executable:
    # Not `=`: a plan that PostgreSQL made for an empty table and kept would read all orders of the account.
    mine = (orders.c.id == bindparam("asked")) & orders.c.account_id.is_not_distinct_from(bindparam("account"))
    return select(*SHOWN).where(mine).with_for_update()


def _total(items: Sequence[Item], currency: str) -> int:
    if not items:
        raise Invalid("an order needs at least one item", type="empty-order")
    for item in items:
        check_amount(item.unit_amount, currency)
        if type(item.quantity) is not int or item.quantity < 1:
            raise Unprocessable("a quantity is a positive integer", type="quantity-not-positive")
    total = sum(item.unit_amount * item.quantity for item in items)
    check_charge(total, currency)
    return total


def _earlier(conn: Connection, account_id: str, reference: str | None, key: str | None, fingerprint: str) -> AnyRow:
    same = [
        column == value
        for column, value in ((orders.c.idempotency_key, key), (orders.c.reference, reference))
        if value is not None
    ]
    found = conn.execute(
        select(*SHOWN, orders.c.fingerprint, orders.c.idempotency_key).where(
            orders.c.account_id == account_id, or_(*same)
        )
    ).all()
    for row in found:
        if key is not None and row.idempotency_key == key and row.fingerprint != fingerprint:
            raise Unprocessable(
                "this Idempotency-Key was used for another request: use a new key for a new request",
                type="idempotency-key-reused",
            )
    for row in found:
        if row.fingerprint == fingerprint:
            return row
    raise Conflict(
        "another order of yours has this reference: use its id, or a reference of its own", type="reference-in-use"
    )


def of_row(row: Sequence[Any]) -> Order:
    """The order of a row that begins with the columns of `SHOWN`."""
    order_id, account_id, user_id, status, disputed, currency, total, items, *rest = row[: len(SHOWN)]
    lines = tuple(Item(**item) for item in items)
    return Order(order_id, account_id, user_id, status, disputed, currency, total, lines, *rest)
