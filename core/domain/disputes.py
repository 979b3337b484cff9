"""Disputes: Stripe tells of them, we keep what it says and what money they moved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Uuid,
    select,
    update,
)

from core.database import Timestamp, insert_into, metadata, now
from core.domain import checks
from core.domain.payments import Payment
from core.ids import new_id

CLOSED = ("won", "lost", "warning_closed", "prevented")
"""Final at Stripe; `warning_*` are inquiries, which move no money."""

disputes = Table(
    "disputes",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("order_id", Uuid(as_uuid=False), ForeignKey("orders.id"), nullable=False),
    Column("payment_id", Uuid(as_uuid=False), ForeignKey("payments.id"), nullable=False),
    Column("stripe_dispute_id", String(64), nullable=False),
    Column("status", String(32), nullable=False, comment="Stripe's word, as is"),
    Column("amount", BigInteger, nullable=False, comment="minor units"),
    Column("currency", String(3), nullable=False),
    Column("reason", String(64)),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("check_at", Timestamp, nullable=False, comment="when Stripe is asked again about an open one"),
    Column("check_failures", Integer, nullable=False, server_default="0", comment="in a row, without an answer"),
)
Index("uq_disputes_stripe", disputes.c.stripe_dispute_id, unique=True)
Index("ix_disputes_order", disputes.c.order_id)
Index(
    "ix_disputes_check",
    disputes.c.check_at,
    postgresql_where=disputes.c.status.not_in(CLOSED),
    sqlite_where=disputes.c.status.not_in(CLOSED),
)


@dataclass(frozen=True)
class Dispute:
    """A dispute; `amount` in minor units of `currency`."""

    id: str
    account_id: str
    order_id: str
    payment_id: str
    stripe_dispute_id: str
    status: str
    amount: int
    currency: str
    reason: str | None
    created_at: datetime


_SHOWN = [
    disputes.c[name]
    for name in (
        "id", "account_id", "order_id", "payment_id", "stripe_dispute_id", "status", "amount", "currency", "reason",
        "created_at",
    )
]  # fmt: skip


def keep(conn: Connection, payment: Payment, dispute: dict[str, Any]) -> None:
    """Insert or update the dispute as Stripe shows it now; a closed one stays closed."""
    insert = insert_into(conn, disputes)
    conn.execute(
        insert.values(
            id=new_id(), account_id=payment.account_id, order_id=payment.order_id, payment_id=payment.id,
            stripe_dispute_id=dispute["id"], status=dispute["status"], amount=dispute["amount"],
            currency=dispute["currency"], reason=dispute.get("reason"), created_at=now(), updated_at=now(),
            check_at=checks.first(),
        ).on_conflict_do_nothing()
    )  # fmt: skip
    conn.execute(
        update(disputes)
        .where(disputes.c.stripe_dispute_id == dispute["id"], disputes.c.status.not_in(CLOSED))
        .values(status=dispute["status"], amount=dispute["amount"], updated_at=now())
    )


def open_on(conn: Connection, order_id: str) -> bool:
    """Whether any dispute about the order is not closed."""
    waiting = (disputes.c.order_id == order_id) & disputes.c.status.not_in(CLOSED)
    return conn.execute(select(disputes.c.id).where(waiting).limit(1)).first() is not None


def of_order(conn: Connection, order_id: str) -> list[Dispute]:
    """The order's disputes, oldest first."""
    found = conn.execute(select(*_SHOWN).where(disputes.c.order_id == order_id).order_by(disputes.c.id))
    return [Dispute(**row._asdict()) for row in found]


def of_stripe(conn: Connection, stripe_dispute_id: str) -> Dispute | None:
    """The dispute with that id at Stripe."""
    found = conn.execute(select(*_SHOWN).where(disputes.c.stripe_dispute_id == stripe_dispute_id)).first()
    return Dispute(**found._asdict()) if found else None


def due_for_check(conn: Connection, limit: int) -> list[Dispute]:
    """Open disputes that Stripe has not been asked about for as long as they are old; the most overdue first."""
    due = disputes.c.status.not_in(CLOSED) & (disputes.c.check_at <= now())
    found = conn.execute(select(*_SHOWN).where(due).order_by(disputes.c.check_at).limit(limit))
    return [Dispute(**row._asdict()) for row in found]


def checked(conn: Connection, dispute: Dispute) -> None:
    """Stripe was asked: ask again when the dispute is twice as old, at least daily."""
    checks.checked(conn, disputes, dispute.id, dispute.created_at)
