"""The inbox: each Stripe event once, stored with the job that processes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, CheckConstraint, Column, Connection, String, Table, Text, Uuid, select, update

from core.database import Timestamp, insert_into, metadata, now
from core.domain import jobs
from core.ids import new_id

RECEIVED, PROCESSED, IGNORED = "received", "processed", "ignored"
FOREIGN, UNMATCHED, REJECTED = "foreign", "unmatched", "rejected"
STATUSES = (RECEIVED, PROCESSED, IGNORED, FOREIGN, UNMATCHED, REJECTED)

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", String(255), primary_key=True, comment="Stripe's event id"),
    Column("type", String(100), nullable=False),
    Column("api_version", String(64)),
    Column("livemode", Boolean, nullable=False),
    Column("payload", Text, nullable=False, comment="the verified body, as it came"),
    Column("status", String(16), nullable=False),
    Column("detail", Text),
    Column("job_id", Uuid(as_uuid=False)),
    Column("received_at", Timestamp, nullable=False),
    Column("processed_at", Timestamp),
    CheckConstraint(f"status IN {STATUSES}", name="status"),
)


@dataclass(frozen=True)
class WebhookEvent:
    """A stored event; `payload` is its verified JSON text."""

    id: str
    type: str
    api_version: str | None
    livemode: bool
    payload: str
    status: str
    received_at: datetime


SHOWN = [
    webhook_events.c[name] for name in ("id", "type", "api_version", "livemode", "payload", "status", "received_at")
]


def receive(
    conn: Connection,
    *,
    event_id: str,
    type: str,
    api_version: str | None,
    livemode: bool,
    payload: str,
    accepted: bool,
    request: jobs.Request,
) -> jobs.Accepted | None:
    """Store a verified event with its job, once.

    Args:
        accepted: False stores it as rejected, without a job (its livemode is not this deployment's).

    Returns:
        The job to hint; for a duplicate the first one's job, while that is not done. None: nothing to do.
    """
    insert = insert_into(conn, webhook_events)
    job_id = new_id() if accepted else None
    made = conn.execute(
        insert.values(
            id=event_id, job_id=job_id, type=type, api_version=api_version, livemode=livemode, payload=payload,
            status=RECEIVED if accepted else REJECTED, received_at=now(),
        )
        .on_conflict_do_nothing()
        .returning(webhook_events.c.id)
    ).first()  # fmt: skip
    if made is None and not (accepted and _taken_back(conn, event_id, job_id)):
        return _duplicate(conn, event_id)
    if not accepted:
        return None
    return jobs.enqueue(conn, jobs.WEBHOOK_PROCESS, {"event_id": event_id}, request=request, job_id=job_id)


def get(conn: Connection, event_id: str) -> WebhookEvent:
    """The event.

    Raises:
        LookupError: there is none: a job of ours names no row.
    """
    found = conn.execute(select(*SHOWN).where(webhook_events.c.id == event_id)).first()
    if found is None:
        raise LookupError(f"event {event_id}")
    return WebhookEvent(**found._asdict())


def close(conn: Connection, event_id: str, status: str, detail: str | None = None) -> None:
    """Say what became of an event."""
    conn.execute(
        update(webhook_events)
        .where(webhook_events.c.id == event_id)
        .values(status=status, detail=detail, processed_at=now())
    )


def _taken_back(conn: Connection, event_id: str, job_id: str | None) -> bool:
    """Whether an event that was rejected once is accepted now: the deployment's key was wrong, not the event."""
    rejected = (webhook_events.c.id == event_id) & (webhook_events.c.status == REJECTED)
    taken = conn.execute(update(webhook_events).where(rejected).values(status=RECEIVED, job_id=job_id))
    return taken.rowcount == 1


def _duplicate(conn: Connection, event_id: str) -> jobs.Accepted | None:
    found = conn.execute(
        select(jobs.jobs.c.id, jobs.jobs.c.status)
        .join(webhook_events, webhook_events.c.job_id == jobs.jobs.c.id)
        .where(webhook_events.c.id == event_id)
    ).first()
    if found is None or found.status in jobs.ENDED:
        return None
    return jobs.Accepted(found.id, jobs.WEBHOOK_PROCESS, None, found.status, fresh=False)
