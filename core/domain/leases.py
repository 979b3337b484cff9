"""Leases and fences: who may work on a job, and who was replaced.

A claim gives each row a lease with a fresh token; every later write of that attempt carries the token. Zero
rows means that the lease ran out and somebody else may have the job: stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from math import ceil, log2
from typing import Any, LiteralString

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Float,
    String,
    Update,
    Uuid,
    any_,
    bindparam,
    case,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from core.database import now, now_plus, transaction
from core.domain import pauses, timeline
from core.domain.jobs import (
    FAILED,
    NEED_STRIPE,
    NEEDS_REVIEW,
    QUARANTINED,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    in_status,
    jobs,
)
from core.domain.timeline import Note
from core.errors import Permanent
from core.ids import is_id, new_token
from core.statements import is_postgresql, prepared, run_statement

LEASE_SECONDS = 60.0
EXPIRIES_BEFORE_ALONE = 2
"""One lost worker re-runs its jobs in company; a job that was there twice runs alone, to find out who kills."""
CRASHES_BEFORE_QUARANTINE = 3
HINT_DISTANCE = 2.0
HINT_DISTANCE_AGAIN = 1.0
"""Of a job that was taken before and came back."""
LONGEST_HINT_DISTANCE = 60.0
HINT_DISTANCE_LOST, HINT_DISTANCE_ALONE = 0.5, 2.0
"""Of a job whose worker was lost: shorter than the sweep's period, so that each sweep hints it at first, for it has
waited for a lease. And of one that must run alone: whoever hears it empties a process first."""
GROWTH_LOST = 0.2
"""Seconds by which that distance grows with each hint, once it is longer: an hour without workers costs 190 hints, and
the next one comes 38 s after it at the latest."""
POISON = Permanent(
    "the job ended its worker process again and again and was set aside for an operator",
    type="quarantined", title="The job was set aside", status=500,
)  # fmt: skip


class Fenced(Exception):
    """The lease is no longer ours: whatever this attempt meant to write, it must not."""


@dataclass(frozen=True)
class Claim:
    """A job under our lease, with what its flow needs to know."""

    job_id: str
    kind: str
    account_id: str
    order_id: str | None
    args: dict[str, Any]
    attempt: int
    crashes: int
    token: str
    created_at: datetime
    claimed_at: datetime
    request_id: str | None
    traceparent: str | None


def take(
    kind: str, ids: Sequence[str], alone: bool = False, seconds: float = LEASE_SECONDS, own: str = ""
) -> list[Claim]:
    """`claim` in a transaction of its own, which on PostgreSQL is one prepared statement.

    Raises:
        DatabaseUnavailable: what was taken, if anything, is taken back when its lease runs out.
    """
    if is_postgresql():
        sql, values = _hot_claim(alone, kind in NEED_STRIPE)
        mine = {"of_kind": kind, "ids": list(ids), "token": new_token(), "seconds": seconds, "own": own}
        return [Claim(*row) for row in run_statement(sql, values | mine)]
    with transaction() as conn:
        return claim(conn, kind, ids, alone, seconds, own)


def claim(
    conn: Connection,
    kind: str,
    ids: Sequence[str],
    alone: bool = False,
    seconds: float = LEASE_SECONDS,
    own: str = "",
) -> list[Claim]:
    """Take the due rows among `ids` in one statement; the others are done, not due, paused, or somebody else's.

    Args:
        alone: take the suspects (and only them), for a run with the process to itself.
        seconds: how long the lease lasts, on the database's clock.
        own: the name of the pause of this process's own key (`pauses.of_key`), which holds back nobody else.
    """
    pausable = kind in NEED_STRIPE
    mine = {"of_kind": kind, "token": new_token(), "seconds": seconds} | ({"own": own} if pausable else {})
    return [Claim(*row) for row in conn.execute(_claiming(jobs.c.id.in_(ids), alone, pausable), mine)]


@cache
def _hot_claim(alone: bool, pausable: bool) -> tuple[LiteralString, dict[str, Any]]:
    # One array, so that the text is the same however many ids a message carries.
    return prepared(_claiming(jobs.c.id == any_(bindparam("ids", type_=ARRAY(Uuid(as_uuid=False)))), alone, pausable))


def _claiming(among: ColumnElement[bool], alone: bool, pausable: bool) -> ReturningUpdate[Any]:
    suspect, of_kind = jobs.c.expiries >= EXPIRIES_BEFORE_ALONE, bindparam("of_kind", type_=String())
    own = bindparam("own", type_=String())
    due = (
        select(jobs.c.id)
        .where(
            among,
            jobs.c.kind == of_kind,
            jobs.c.status == QUEUED,
            jobs.c.run_at <= now(),
            suspect if alone else ~suspect,
            *([~pauses.holding(of_kind, jobs.c.id, own)] if pausable else []),
        )
        # Skipping what another claim holds also means that two claims can never deadlock.
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        update(jobs)
        .where(jobs.c.id.in_(select(due.c.id)))
        .values(
            status=RUNNING,
            attempts=jobs.c.attempts + 1,
            alone=alone,
            lease_token=bindparam("token"),
            lease_expires_at=now_plus(bindparam("seconds", type_=Float())),
            started_at=func.coalesce(jobs.c.started_at, now()),
        )
        .returning(
            jobs.c.id, jobs.c.kind, jobs.c.account_id, jobs.c.order_id, jobs.c.args, jobs.c.attempts,
            jobs.c.crashes, jobs.c.lease_token, jobs.c.created_at, now(), jobs.c.request_id, jobs.c.traceparent,
        )
    )  # fmt: skip


def suspects(conn: Connection, ids: Sequence[str], own: str = "") -> list[str]:
    """Those of `ids` that are due and must run alone.

    Args:
        own: as for `claim`.
    """
    due = jobs.c.id.in_(ids) & (jobs.c.status == QUEUED) & (jobs.c.run_at <= now()) & ~_paused(literal(own))
    wanted = due & (jobs.c.expiries >= EXPIRIES_BEFORE_ALONE)
    return list(conn.execute(select(jobs.c.id).where(wanted)).scalars())


def _paused(own: ColumnElement[str] | None = None) -> ColumnElement[bool]:
    return jobs.c.kind.in_(NEED_STRIPE) & pauses.holding(jobs.c.kind, jobs.c.id, own)


def hold(conn: Connection, claim: Claim, seconds: float = LEASE_SECONDS) -> None:
    """Check the fence, renew the lease, and keep the row locked until this transaction ends.

    Args:
        seconds: how long the lease lasts from now on.

    Raises:
        Fenced: the lease is no longer ours.
    """
    _write(conn, claim, update(jobs).values(lease_expires_at=now_plus(seconds)))


def finish(
    conn: Connection,
    claim: Claim,
    status: str,
    notes: Sequence[Note] = (),
    result: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    """End the job with `status` and write its notes.

    Raises:
        Fenced: the lease is no longer ours.
    """
    if status not in (SUCCEEDED, FAILED, QUARANTINED, NEEDS_REVIEW):
        raise ValueError(status)
    values = {"status": status, "result": result, "error": error, "finished_at": now()}
    _write(conn, claim, update(jobs).values(**values, **_RELEASED))
    timeline.write(conn, [(claim.job_id, note) for note in (*notes, Note(status, error))])


def retry(
    conn: Connection,
    claim: Claim,
    delay: float,
    detail: str,
    notes: Sequence[Note] = (),
    spends_attempt: bool = True,
    crashed: bool = False,
    interrupted: bool = False,
) -> None:
    """Put the job back, due after `delay` seconds; the sweep hints it then.

    Args:
        spends_attempt: False gives the attempt back (asked to wait, or nothing was tried).
        crashed: a bug of ours: counts towards quarantine.
        interrupted: the attempt came to no end, so that what its job is suspected of stays.

    Raises:
        Fenced: the lease is no longer ours.
    """
    values = {
        "status": QUEUED,
        "run_at": now_plus(delay),
        "hint_at": now_plus(delay),
        "hints": 0,
        "detail": detail,
        "attempts": jobs.c.attempts - (0 if spends_attempt else 1),
        "crashes": jobs.c.crashes + (1 if crashed else 0),
        # Its worker came back: whatever ended the ones before, this job did not.
        "expiries": jobs.c.expiries if crashed or interrupted else 0,
    }
    _write(conn, claim, update(jobs).values(**values, **_RELEASED))
    again = Note("retry", {"reason": detail, "delay": round(delay, 3)})
    timeline.write(conn, [(claim.job_id, note) for note in (*notes, again)])


def doubt(conn: Connection, claim: Claim, error: dict[str, Any]) -> None:
    """In the transaction that finished the job: make it wait for a person instead."""
    conn.execute(update(jobs).where(jobs.c.id == claim.job_id).values(status=NEEDS_REVIEW, error=error))
    timeline.write(conn, [(claim.job_id, Note(NEEDS_REVIEW, error))])


def tie(conn: Connection, claim: Claim, account_id: str, order_id: str) -> None:
    """In the transaction that finished the job: say which order it was about (a webhook's is known only then)."""
    known = {"account_id": account_id, "order_id": order_id}
    conn.execute(update(jobs).where(jobs.c.id == claim.job_id).values(**known))


_RELEASED: dict[str, Any] = {"lease_token": None, "lease_expires_at": None}


def _write(conn: Connection, claim: Claim, statement: Update) -> None:
    mine = (jobs.c.id == claim.job_id) & (jobs.c.lease_token == claim.token)
    if conn.execute(statement.where(mine)).rowcount != 1:
        raise Fenced(claim.job_id)


@dataclass(frozen=True)
class Hint:
    """A row that somebody should be told about."""

    job_id: str
    kind: str
    queue: str
    alone: bool = False
    lost: bool = False
    """Its worker was lost, and this is the first hint since it was put back."""


def due(conn: Connection, limit: int) -> list[Hint]:
    """Up to `limit` queued rows whose next hint is due, oldest first, with that hint counted as given.

    The distance to the one after doubles from 2 s to 60 s, so that a backlog of any size causes no storm; from 1 s
    for a job that was taken before. One whose worker was lost is hinted by each sweep at first, or every 2 s if it must
    run alone: the hint may have died with its reader, too, so the first one is marked, to be sent twice. A job that a
    pause holds back is not hinted: it is looked at again when the pause ends for it; unless the pause is that of one
    key: another process may have a better one.
    """
    wanted = (
        select(jobs.c.id)
        .where(in_status(QUEUED), jobs.c.hint_at <= now())
        .order_by(jobs.c.hint_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("picked")
    )
    distance = case(
        (jobs.c.expiries >= EXPIRIES_BEFORE_ALONE, _growing(HINT_DISTANCE_ALONE)),
        (jobs.c.expiries > 0, _growing(HINT_DISTANCE_LOST)),
        (jobs.c.attempts > 0, _widening(HINT_DISTANCE_AGAIN, LONGEST_HINT_DISTANCE)),
        else_=_widening(HINT_DISTANCE, LONGEST_HINT_DISTANCE),
    )
    found = conn.execute(
        update(jobs)
        .where(jobs.c.id.in_(select(wanted.c.id)))
        .values(
            hint_at=case((_paused(), pauses.ending(jobs.c.kind, jobs.c.id)), else_=now_plus(distance)),
            hints=jobs.c.hints + case((_paused(), 0), else_=1),
        )
        .returning(jobs.c.id, jobs.c.kind, jobs.c.queue, jobs.c.expiries, jobs.c.hints, _paused().label("paused"))
    )
    return [_hint(row) for row in found if not row.paused]


def _hint(row: Any) -> Hint:
    alone = row.expiries >= EXPIRIES_BEFORE_ALONE
    return Hint(row.id, row.kind, row.queue, alone, lost=row.expiries > 0 and not alone and row.hints == 1)


def _widening(first: float, longest: float) -> ColumnElement[float]:
    """Seconds from the hint that is given now to the next one: `first`, and then always twice as many."""
    doublings = ceil(log2(longest / first))
    steps = [(jobs.c.hints <= given, literal(first * 2.0**given)) for given in range(doublings)]
    return case(*steps, else_=literal(longest))


def _growing(first: float) -> ColumnElement[float]:
    """The same for a job whose worker was lost: `first` for a while, then a little more from hint to hint."""
    return case(
        (jobs.c.hints * GROWTH_LOST < first, literal(first)),
        (jobs.c.hints * GROWTH_LOST < LONGEST_HINT_DISTANCE, jobs.c.hints * GROWTH_LOST),
        else_=literal(LONGEST_HINT_DISTANCE),
    )


def expire(conn: Connection, limit: int) -> list[str]:
    """Take the lease from up to `limit` jobs whose worker did not come back in time; returns their ids.

    Only a job that had its process to itself is blamed; the third time it is quarantined.
    """
    over = (
        select(jobs.c.id)
        .where(in_status(RUNNING), jobs.c.lease_expires_at < now())
        .order_by(jobs.c.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("picked")
    )
    crashes = jobs.c.crashes + case((jobs.c.alone, 1), else_=0)
    poison = crashes >= CRASHES_BEFORE_QUARANTINE
    expired = conn.execute(
        update(jobs)
        .where(jobs.c.id.in_(select(over.c.id)))
        .values(
            status=case((poison, QUARANTINED), else_=QUEUED),
            finished_at=case((poison, now()), else_=None),
            expiries=jobs.c.expiries + 1,
            crashes=crashes,
            run_at=now(),
            hint_at=now(),
            hints=0,
            detail="the lease ran out",
            **_RELEASED,
        )
        .returning(jobs.c.id, jobs.c.status, jobs.c.expiries, jobs.c.crashes)
    ).all()
    quarantined = [row.id for row in expired if row.status == QUARANTINED]
    if quarantined:
        conn.execute(update(jobs).where(jobs.c.id.in_(quarantined)).values(error=POISON.as_problem()))
    timeline.write(
        conn,
        [
            (row.id, Note("lease expired", {"times": row.expiries, "crashes": row.crashes, "now": row.status}))
            for row in expired
        ],
    )
    return [row.id for row in expired]


def resume(conn: Connection, job_id: str, by: str) -> bool:
    """An operator sends a quarantined or doubtful job back to the queue; False if it is in no such state.

    Args:
        by: who decided, for the timeline.
    """
    if not is_id(job_id):
        return False
    sent = conn.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status.in_((QUARANTINED, NEEDS_REVIEW)))
        .values(
            status=QUEUED, run_at=now(), hint_at=now(), hints=0, crashes=0, expiries=0, error=None, finished_at=None
        )
    )
    if sent.rowcount == 1:
        timeline.write(conn, [(job_id, Note("resumed", {"by": by}))])
    return sent.rowcount == 1
