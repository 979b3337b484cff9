"""Findings: where Stripe and we differ, typed, kept until it is repaired or an operator closes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Column, Connection, ForeignKey, Index, String, Table, Uuid, case, select, update

from core.database import JSONDocument, Timestamp, insert_into, metadata, now
from core.ids import is_id, new_id

MISSING_LOCALLY, MISSING_AT_STRIPE = "missing_locally", "missing_at_stripe"
AMOUNT_DIFFERS, STATE_DIFFERS = "amount_differs", "state_differs"
REFUND_UNKNOWN, DISPUTE_UNKNOWN = "refund_unknown", "dispute_unknown"
UNREADABLE, UNRESOLVED = "unreadable", "unresolved"
KINDS = (
    MISSING_LOCALLY, MISSING_AT_STRIPE, AMOUNT_DIFFERS, STATE_DIFFERS, REFUND_UNKNOWN, DISPUTE_UNKNOWN, UNREADABLE,
    UNRESOLVED,
)  # fmt: skip
OPEN, REPAIRED, CLOSED = "open", "repaired", "closed"
STATUSES = (OPEN, REPAIRED, CLOSED)

findings = Table(
    "findings",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("kind", String(24), nullable=False),
    Column("object_id", String(64), nullable=False, comment="Stripe's id, or ours where Stripe has none"),
    Column("account_id", String(64)),
    Column("order_id", Uuid(as_uuid=False), ForeignKey("orders.id")),
    Column("status", String(16), nullable=False),
    Column("detail", JSONDocument, nullable=False),
    Column("found_at", Timestamp, nullable=False),
    Column("seen_at", Timestamp, nullable=False, comment="when it was last found to be so"),
    CheckConstraint(f"kind IN {KINDS}", name="kind"),
    CheckConstraint(f"status IN {STATUSES}", name="status"),
)
Index("uq_findings_object", findings.c.kind, findings.c.object_id, unique=True)
Index("ix_findings_status", findings.c.status, findings.c.found_at)


@dataclass(frozen=True)
class Finding:
    """One difference; `detail` holds both sides."""

    id: str
    kind: str
    object_id: str
    account_id: str | None
    order_id: str | None
    status: str
    detail: dict[str, Any]
    found_at: datetime
    seen_at: datetime


_SHOWN = [
    findings.c[name]
    for name in ("id", "kind", "object_id", "account_id", "order_id", "status", "detail", "found_at", "seen_at")
]


def record(
    conn: Connection,
    kind: str,
    object_id: str,
    detail: dict[str, Any],
    *,
    account_id: str | None = None,
    order_id: str | None = None,
    repaired: bool = False,
) -> None:
    """Write a finding down, or that it is still so: one row per kind and object, however often it is seen.

    One that an operator closed opens again only when it looks different.

    Args:
        repaired: the same transaction makes our side right.
    """
    status = REPAIRED if repaired else OPEN
    insert = insert_into(conn, findings).values(
        id=new_id(), kind=kind, object_id=object_id, account_id=account_id, order_id=order_id, status=status,
        detail=detail, found_at=now(), seen_at=now(),
    )  # fmt: skip
    settled = (findings.c.status == CLOSED) & (findings.c.detail == insert.excluded.detail)
    seen = {"status": case((settled, CLOSED), else_=status), "detail": detail, "seen_at": now()}
    conn.execute(insert.on_conflict_do_update(index_elements=["kind", "object_id"], set_=seen))


def listed(
    conn: Connection, account_id: str | None = None, status: str | None = OPEN, limit: int = 100
) -> list[Finding]:
    """The findings, oldest first.

    Args:
        account_id: only this account's, or None for all, also those of no known account.
        status: one of `STATUSES`, or None for all.
    """
    wanted = select(*_SHOWN).order_by(findings.c.found_at).limit(limit)
    if account_id is not None:
        wanted = wanted.where(findings.c.account_id == account_id)
    if status is not None:
        wanted = wanted.where(findings.c.status == status)
    return [Finding(**row._asdict()) for row in conn.execute(wanted)]


def close(conn: Connection, finding_id: str) -> bool:
    """An operator says that an open finding is settled; False if there is no such open one."""
    if not is_id(finding_id):
        return False
    mine = (findings.c.id == finding_id) & (findings.c.status == OPEN)
    return conn.execute(update(findings).where(mine).values(status=CLOSED)).rowcount == 1


def mend(conn: Connection, object_id: str, *kinds: str) -> None:
    """It is not so any more: the object's open findings of those kinds count as repaired."""
    open_ones = (findings.c.object_id == object_id) & findings.c.kind.in_(kinds) & (findings.c.status == OPEN)
    conn.execute(update(findings).where(open_ones).values(status=REPAIRED))


def open_of(conn: Connection, kind: str) -> list[Finding]:
    """All open findings of a kind."""
    found = conn.execute(select(*_SHOWN).where(findings.c.status == OPEN, findings.c.kind == kind))
    return [Finding(**row._asdict()) for row in found]
