"""A job's timeline: append-only, written in the transaction that it describes, read by people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    Column,
    Connection,
    Index,
    Insert,
    Integer,
    String,
    Table,
    Uuid,
    bindparam,
    insert,
    select,
)

from core.clock import utcnow
from core.database import JSONDocument, Timestamp, metadata

job_events = Table(
    "job_events",
    metadata,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("job_id", Uuid(as_uuid=False), nullable=False),
    Column("at", Timestamp, nullable=False),
    Column("what", String(200), nullable=False),
    Column("data", JSONDocument),
)
Index("ix_job_events_job", job_events.c.job_id, job_events.c.id)


_NOTED = ("at", "what", "data")


@dataclass(frozen=True)
class Note:
    """One line of a timeline before it is written."""

    what: str
    data: dict[str, Any] | None = None
    at: datetime = field(default_factory=utcnow)


@dataclass(frozen=True)
class Event:
    """One line of a timeline as it was written."""

    id: int
    at: datetime
    what: str
    data: dict[str, Any] | None


def shown(note: Note) -> str:
    """What the note says, as far as a row takes it."""
    return note.what[:200]


def write(conn: Connection, notes: Iterable[tuple[str, Note]]) -> None:
    """Append `(job id, note)` pairs in one statement."""
    rows = [{"job_id": job_id, "at": note.at, "what": shown(note), "data": note.data} for job_id, note in notes]
    if rows:
        conn.execute(insert(job_events), rows)


def noting(changed: CTE) -> Insert:
    """One statement that changes jobs and notes it on their timelines, for PostgreSQL and the parameters of `noted`.

    Args:
        changed: the change, which returns the ids of its jobs.
    """
    row = select(changed.c.id, *(bindparam(f"note_{name}", type_=job_events.c[name].type) for name in _NOTED))
    return insert(job_events).from_select(["job_id", *_NOTED], row).returning(job_events.c.job_id)


def noted(note: Note) -> dict[str, Any]:
    """What `noting` is to be completed by."""
    return {"note_at": note.at, "note_what": shown(note), "note_data": note.data or None}


def read(conn: Connection, job_id: str, after: int = 0) -> list[Event]:
    """The timeline of a job, oldest first; only events with an id above `after`."""
    found = conn.execute(
        select(job_events.c.id, job_events.c.at, job_events.c.what, job_events.c.data)
        .where(job_events.c.job_id == job_id, job_events.c.id > after)
        .order_by(job_events.c.id)
    )
    return [Event(*row) for row in found]
