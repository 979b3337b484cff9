"""Jobs: every piece of accepted work is a row here. A Celery message only hints that a row is due.

`queued -> running -> succeeded | failed`, `running -> queued` to try again, and two states that wait for a
person: `quarantined` (poison, or a bug of ours) and `needs_review` (money in doubt).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, LiteralString

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    Executable,
    Index,
    Integer,
    String,
    Table,
    Text,
    Uuid,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from core.database import AnyRow, JSONDocument, Timestamp, metadata, now, now_plus
from core.domain import pauses, timeline
from core.errors import Unprocessable
from core.ids import is_id, new_id
from core.statements import first_within, prepared, run_within

QUEUED, RUNNING, SUCCEEDED, FAILED = "queued", "running", "succeeded", "failed"
QUARANTINED, NEEDS_REVIEW = "quarantined", "needs_review"
STATUSES = (QUEUED, RUNNING, SUCCEEDED, FAILED, QUARANTINED, NEEDS_REVIEW)
ENDED = frozenset({SUCCEEDED, FAILED, QUARANTINED, NEEDS_REVIEW})
SET_ASIDE = frozenset({QUARANTINED, NEEDS_REVIEW})
SYSTEM = "system"
"""The account of jobs that no customer asked for: webhooks until matched, schedules, canaries."""

SCHEDULE = "schedule"
"""The idempotency scope of the schedule's jobs, whose keys are `task:period`."""
OPEN_TOO_LONG_SECONDS = 3_600.0
"""A job that has not ended after so long is somebody's business, and again after as long."""
FIRST_HINT_SECONDS = 2.0
"""The web hints a fresh row itself; the sweep waits this long before it hints again."""


@dataclass(frozen=True)
class JobKind:
    """A job named once: the message's name and the queue that carries it.

    Args:
        needs_stripe: it can do nothing without a call to Stripe, so that it waits while Stripe is paused.
    """

    name: str
    queue: str
    needs_stripe: bool = False


PAYMENT_CREATE = JobKind("payments.create", "payments", needs_stripe=True)
REFUND_CREATE = JobKind("refunds.create", "payments", needs_stripe=True)
WEBHOOK_PROCESS = JobKind("webhooks.process", "webhooks")
STATISTICS_RECOMPUTE = JobKind("statistics.recompute", "statistics")
CANARY = JobKind("maintenance.canary", "maintenance")
RECONCILE_EVENTS = JobKind("reconcile.events", "reconcile", needs_stripe=True)
RECONCILE_OBJECTS = JobKind("reconcile.objects", "reconcile", needs_stripe=True)
KINDS = {
    kind.name: kind
    for kind in (
        PAYMENT_CREATE,
        REFUND_CREATE,
        WEBHOOK_PROCESS,
        STATISTICS_RECOMPUTE,
        CANARY,
        RECONCILE_EVENTS,
        RECONCILE_OBJECTS,
    )
}
NEED_STRIPE = tuple(kind.name for kind in KINDS.values() if kind.needs_stripe)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("queue", String(64), nullable=False),
    Column("args", JSONDocument, nullable=False),
    Column("order_id", Uuid(as_uuid=False), comment="the order that the work is about, once known"),
    Column("status", String(16), nullable=False),
    Column("run_at", Timestamp, nullable=False, comment="not before"),
    Column("hint_at", Timestamp, nullable=False, comment="when the sweep hints next; never before run_at"),
    Column("hints", Integer, nullable=False, comment="hints since it was last queued; widens their distance"),
    Column("attempts", Integer, nullable=False),
    Column("expiries", Integer, nullable=False, comment="leases that ran out; from the second on it runs alone"),
    Column("crashes", Integer, nullable=False, comment="leases that ran out while it ran alone, and bugs"),
    Column("alone", Boolean, nullable=False, comment="whether the current lease has its process to itself"),
    Column("lease_token", Uuid(as_uuid=False), comment="the fence: every write of an attempt carries it"),
    Column("lease_expires_at", Timestamp),
    Column("idempotency_scope", String(128)),
    Column("idempotency_key", String(255)),
    Column("fingerprint", String(64), comment="sha256 of the request that the key belongs to"),
    Column("request_id", String(64)),
    Column("traceparent", String(64)),
    Column("result", JSONDocument),
    Column("error", JSONDocument),
    Column("detail", Text, comment="why it was last put back, for a person"),
    Column("raised_at", Timestamp, comment="when it was last said that it has been open for too long"),
    Column("created_at", Timestamp, nullable=False),
    Column("started_at", Timestamp),
    Column("finished_at", Timestamp),
    CheckConstraint(f"status IN {STATUSES}", name="status"),
    CheckConstraint("(status = 'running') = (lease_token IS NOT NULL)", name="lease"),
    # A key without its scope would be unique in no index.
    CheckConstraint("(idempotency_key IS NULL) = (idempotency_scope IS NULL)", name="idempotency"),
)
Index(
    "uq_jobs_idempotency",
    jobs.c.account_id,
    jobs.c.idempotency_scope,
    jobs.c.idempotency_key,
    unique=True,
    postgresql_where=jobs.c.idempotency_key.is_not(None),
    sqlite_where=jobs.c.idempotency_key.is_not(None),
)
for _name, _column, _rows in (
    ("ix_jobs_due", jobs.c.hint_at, jobs.c.status == QUEUED),
    ("ix_jobs_leases", jobs.c.lease_expires_at, jobs.c.status == RUNNING),
    ("ix_jobs_for_a_person", jobs.c.status, jobs.c.status.in_((QUARANTINED, NEEDS_REVIEW))),
    ("ix_jobs_canary", jobs.c.finished_at, jobs.c.kind == CANARY.name),
):
    Index(_name, _column, postgresql_where=_rows, sqlite_where=_rows)
Index("ix_jobs_order", jobs.c.order_id)


def in_status(status: str) -> ColumnElement[bool]:
    """The condition that a job is in `status`, spelled out so that a prepared statement finds the partial index."""
    return jobs.c.status == literal_column(f"'{status}'")


@dataclass(frozen=True)
class Request:
    """The HTTP request that asks for work.

    Args:
        id: request id for the logs.
        traceparent: W3C trace context, carried on the row because a coalesced message cannot carry each.
        scope: the route that the idempotency key belongs to, for example `POST /orders/{id}/checkout`.
        key: the caller's Idempotency-Key.
        fingerprint: sha256 (hex) of method, path and body.
    """

    id: str | None = None
    traceparent: str | None = None
    scope: str | None = None
    key: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Accepted:
    """What a request was answered with: the job, and whether this very request made it."""

    job_id: str
    kind: JobKind
    order_id: str | None
    status: str
    fresh: bool


@dataclass(frozen=True)
class Job:
    """A job as its owner may see it."""

    id: str
    account_id: str
    kind: str
    queue: str
    args: dict[str, Any]
    order_id: str | None
    status: str
    attempts: int
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    run_at: datetime
    request_id: str | None
    detail: str | None


class KeyTaken(Exception):
    """A concurrent request with the same key was faster: run the whole transaction again and it will be found."""


_SHOWN = [
    jobs.c[name]
    for name in (
        "id", "account_id", "kind", "queue", "args", "order_id", "status", "attempts", "result", "error",
        "created_at", "started_at", "finished_at", "run_at", "request_id", "detail",
    )
]  # fmt: skip


def enqueue(
    conn: Connection,
    kind: JobKind,
    args: dict[str, Any],
    account_id: str = SYSTEM,
    order_id: str | None = None,
    request: Request | None = None,
    job_id: str | None = None,
) -> Accepted:
    """Insert a job that is due now. It is accepted when the transaction commits, whatever the broker does.

    Args:
        args: ids only; what they name is read afresh by every attempt.
        job_id: a fresh id that the caller already referred to, or None.

    Raises:
        KeyTaken: the idempotency key was used by a transaction that committed meanwhile.
    """
    request = request or Request()
    job_id = job_id or new_id()
    note = timeline.Note("accepted", {"kind": kind.name})
    given = {
        "id": job_id, "account_id": account_id, "kind": kind.name, "queue": kind.queue, "order_id": order_id,
        "idempotency_scope": request.scope if request.key else None, "idempotency_key": request.key,
        "fingerprint": request.fingerprint, "request_id": request.id, "traceparent": request.traceparent,
    }  # fmt: skip
    if conn.dialect.name == "postgresql":
        sql, fixed = _queue_and_note()
        rest = {f"job_{name}": value for name, value in given.items()}
        made = run_within(conn, sql, {**fixed, **rest, "job_args": args, **timeline.noted(note)})
    else:
        values = {f"job_{name}": value for name, value in (given | {"args": args}).items()}
        made = list(conn.execute(_queue_on_sqlite(), values))
        timeline.write(conn, [(job_id, note)] if made else [])
    if not made:
        raise KeyTaken(request.key)
    return Accepted(job_id, kind, order_id, QUEUED, fresh=True)


_GIVEN = (
    "id", "account_id", "kind", "queue", "args", "order_id", "idempotency_scope", "idempotency_key", "fingerprint",
    "request_id", "traceparent",
)  # fmt: skip


def _queue(insert: Any) -> Any:
    return (
        insert.values(
            **{name: bindparam(f"job_{name}", type_=jobs.c[name].type) for name in _GIVEN},
            status=QUEUED, run_at=now(), hint_at=now_plus(FIRST_HINT_SECONDS), hints=1, attempts=0, expiries=0,
            crashes=0, alone=False, created_at=now(),
        )
        .on_conflict_do_nothing()
        .returning(jobs.c.id)
    )  # fmt: skip


@cache
def _queue_on_sqlite() -> Any:
    return _queue(sqlite.insert(jobs))


@cache
def _queue_and_note() -> tuple[LiteralString, dict[str, Any]]:
    return prepared(timeline.noting(_queue(postgresql.insert(jobs)).cte("queued")))


def repeated(conn: Connection, account_id: str, request: Request) -> Accepted | None:
    """The job that an earlier request with the same key made, or None.

    Raises:
        Unprocessable: the key belongs to a different request.
    """
    if request.key is None:
        return None
    found = first_within(conn, _of_key, account=account_id, scope=request.scope, key=request.key)
    if found is None:
        return None
    job_id, kind, order_id, status, fingerprint = found
    if fingerprint != request.fingerprint:
        raise Unprocessable(
            "this Idempotency-Key was used for another request: use a new key for a new request",
            type="idempotency-key-reused",
        )
    return Accepted(job_id, KINDS[kind], order_id, status, fresh=False)


def _of_key() -> Executable:
    return select(jobs.c.id, jobs.c.kind, jobs.c.order_id, jobs.c.status, jobs.c.fingerprint).where(
        jobs.c.account_id == bindparam("account"),
        jobs.c.idempotency_scope == bindparam("scope"),
        jobs.c.idempotency_key == bindparam("key"),
    )


def find(conn: Connection, job_id: str) -> Job | None:
    """The job, or None. The caller checks whose it is."""
    if not is_id(job_id):
        return None
    found = conn.execute(select(*_SHOWN).where(jobs.c.id == job_id)).first()
    return _job(found) if found else None


def of_order(conn: Connection, order_id: str) -> list[Job]:
    """The jobs about an order, oldest first."""
    found = conn.execute(select(*_SHOWN).where(jobs.c.order_id == order_id).order_by(jobs.c.id))
    return [_job(row) for row in found]


def at_work(order_id: ColumnElement[Any], kind: JobKind) -> ColumnElement[bool]:
    """The condition that a job of that kind about the order has not come to an end.

    Args:
        order_id: a column of the query around it, or a literal.
    """
    alive = (jobs.c.order_id == order_id) & (jobs.c.kind == kind.name) & jobs.c.status.in_((QUEUED, RUNNING))
    return exists().where(alive)


def set_aside(conn: Connection, limit: int = 1_000) -> list[Job]:
    """The jobs that wait for a person, oldest first, at most `limit` of each kind of waiting."""
    found = [
        _job(row)
        for status in (QUARANTINED, NEEDS_REVIEW)
        for row in conn.execute(select(*_SHOWN).where(in_status(status)).order_by(jobs.c.id).limit(limit))
    ]
    return sorted(found, key=lambda job: job.id)


def open_too_long(conn: Connection, limit: int = 1_000) -> list[Job]:
    """The jobs that have been put back again and again for an hour or more, oldest first."""
    late = select(*_SHOWN).where(_late()).order_by(jobs.c.created_at).limit(limit)
    return [_job(row) for row in conn.execute(late)]


def raise_late(conn: Connection, limit: int) -> list[Job]:
    """Up to `limit` such jobs, the oldest first, that were not raised for an hour, counted as raised now."""
    lately = now_plus(-OPEN_TOO_LONG_SECONDS)
    wanted = (
        select(jobs.c.id)
        .where(_late(), jobs.c.raised_at.is_(None) | (jobs.c.raised_at < lately))
        .order_by(jobs.c.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("picked")
    )
    raised = update(jobs).where(jobs.c.id.in_(select(wanted.c.id))).values(raised_at=now())
    found = [_job(row) for row in conn.execute(raised.returning(*_SHOWN))]
    return sorted(found, key=lambda job: job.created_at)


def _late() -> ColumnElement[bool]:
    return in_status(QUEUED) & (jobs.c.created_at < now_plus(-OPEN_TOO_LONG_SECONDS))


def ended(conn: Connection, ids: Iterable[str]) -> set[str]:
    """Which of `ids` have ended, well or badly."""
    wanted = jobs.c.id.in_(list(ids)) & jobs.c.status.in_(ENDED)
    return set(conn.execute(select(jobs.c.id).where(wanted)).scalars())


@dataclass(frozen=True)
class Backlog:
    """How much waits.

    Args:
        oldest_due_seconds: how long the longest-due queued job has been due (0 if none).
        oldest_open_seconds: by kind, how long ago the oldest job was accepted that has not ended by itself.
    """

    queued: int
    running: int
    quarantined: int
    needs_review: int
    oldest_due_seconds: float
    oldest_open_seconds: dict[str, float] = field(default_factory=dict)


def backlog(conn: Connection) -> Backlog:
    """Count the jobs that have not come to an end by themselves."""
    # One count per status, since each is answered from its own partial index however long the history is.
    counts = [
        select(func.count()).select_from(jobs).where(in_status(status)).scalar_subquery()
        for status in (QUEUED, RUNNING, QUARANTINED, NEEDS_REVIEW)
    ]
    # A job that waits for the end of a pause is not due; nor is it overdue the moment that the pause is over.
    over = pauses.all_over(jobs.c.kind)
    waits = jobs.c.kind.in_(NEED_STRIPE) & (over > jobs.c.run_at)
    due_since = case((waits, over), else_=jobs.c.run_at)
    first_due = select(func.min(due_since, type_=Timestamp())).where(in_status(QUEUED)).scalar_subquery()
    *counted, oldest, clock = conn.execute(select(*counts, first_due, now())).one()
    queued, running, quarantined, needs_review = counted
    late = max((clock - oldest).total_seconds(), 0.0) if oldest else 0.0
    return Backlog(queued, running, quarantined, needs_review, late, _oldest_open(conn))


def _oldest_open(conn: Connection) -> dict[str, float]:
    found: dict[str, float] = {}
    for status in (QUEUED, RUNNING):
        first = select(jobs.c.kind, func.min(jobs.c.created_at, type_=Timestamp()), now())
        for kind, made, clock in conn.execute(first.where(in_status(status)).group_by(jobs.c.kind)):
            found[kind] = max((clock - made).total_seconds(), found.get(kind, 0.0))
    return found


def last_canary(conn: Connection) -> datetime | None:
    """When the newest canary came through broker, worker and database."""
    return conn.execute(
        select(func.max(jobs.c.finished_at, type_=Timestamp())).where(
            jobs.c.kind == literal_column(f"'{CANARY.name}'"), jobs.c.status == SUCCEEDED
        )
    ).scalar()


def prune(conn: Connection, older_than: float, limit: int = 500) -> int:
    """Delete up to `limit` done jobs of the schedule; those that a caller asked for stay for ever.

    Args:
        older_than: seconds since they were made.
    """
    old = (
        select(jobs.c.id)
        .where(
            jobs.c.account_id == SYSTEM,
            jobs.c.idempotency_scope == SCHEDULE,
            jobs.c.idempotency_key.is_not(None),
            in_status(SUCCEEDED),
            jobs.c.created_at < now_plus(-older_than),
        )
        .limit(limit)
    )
    ids = list(conn.execute(old).scalars())
    conn.execute(delete(timeline.job_events).where(timeline.job_events.c.job_id.in_(ids)))
    conn.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    return len(ids)


def _job(row: AnyRow) -> Job:
    return Job(**row._asdict())
