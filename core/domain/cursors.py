"""How far a walk over Stripe's lists has come."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, String, Table, select

from core.database import JSONDocument, Timestamp, insert_into, metadata, now

RECONCILE_SECONDS = 300
"""How often Stripe's objects and balance transactions are walked."""

cursors = Table(
    "cursors",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("place", JSONDocument, nullable=False),
    Column("moved_at", Timestamp, nullable=False),
)


def place(conn: Connection, name: str) -> dict[str, Any]:
    """Where the walk stands; empty before its first step."""
    found: dict[str, Any] | None = conn.execute(select(cursors.c.place).where(cursors.c.name == name)).scalar()
    return found or {}


def move(conn: Connection, name: str, place: dict[str, Any]) -> None:
    """Remember where the walk stands, in the transaction that stored what it found."""
    values = {"place": place, "moved_at": now()}
    conn.execute(
        insert_into(conn, cursors)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
    )
