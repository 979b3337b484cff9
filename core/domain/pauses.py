"""Pauses: Stripe said slow down, or no, and every job that needs it waits. One row, heard by all workers at once.

A pause ends for each job at a moment of its own, spread over `spread` seconds: what gathered meanwhile does not come
back at once. Refused again before that is over, the spread doubles, until the jobs come as slowly as Stripe wants, and
the next return goes on where this one stopped, so that every job gets its turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    String,
    Table,
    Text,
    Uuid,
    case,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from core.database import Timestamp, insert_into, later, metadata, now, now_plus, seconds_between

STRIPE = "stripe"
"""The pause of everything that needs Stripe; the other names are those of single kinds of jobs, and of keys."""
FIRST_SPREAD, LONGEST_SPREAD = 5.0, 30.0
"""Seconds over which the waiting jobs come back."""

pauses = Table(
    "pauses",
    metadata,
    Column(
        "name",
        String(64),
        primary_key=True,
        comment="what waits: all that needs Stripe, with one key, or one kind of job",
    ),
    Column("since", Timestamp, nullable=False),
    Column("until", Timestamp, nullable=False),
    Column("spread", Float, nullable=False, comment="seconds after `until` over which the jobs come back"),
    # A program from before this column still writes rows while the workers are replaced.
    Column("phase", Float, nullable=False, server_default="0", comment="the share (0 to 1) that comes back first"),
    Column("refusals", Integer, nullable=False, comment="since it began"),
    Column("reason", Text, nullable=False),
)


class share(FunctionElement[float]):  # noqa: N801 - reads as the SQL function that it is
    """A job's place among all jobs, from 0 to below 1: the last byte of its id, which is random."""

    type = Float()
    inherit_cache = True


@compiles(share, "postgresql")
def _share_postgresql(element: share, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(get_byte(uuid_send({compiler.process(element.clauses, **kw)}), 15) / 256.0)"


@compiles(share, "sqlite")
def _share_sqlite(element: share, compiler: SQLCompiler, **kw: Any) -> str:
    job_id = compiler.process(element.clauses, **kw)
    high, low = (f"(instr('0123456789abcdef', substr({job_id}, {place}, 1)) - 1)" for place in (-2, -1))
    return f"(({high} * 16 + {low}) / 256.0)"


def of_key(fingerprint: str) -> str:
    """The name of the pause of all that needs Stripe in the processes that use one key.

    Args:
        fingerprint: of the key, as `Payment.fingerprint` gives it.
    """
    return f"{STRIPE}:{fingerprint}"


def holding(
    kind: ColumnElement[str], job_id: ColumnElement[str], own: ColumnElement[str] | None = None
) -> ColumnElement[bool]:
    """The condition that a pause holds a job back, which is one that needs Stripe.

    Args:
        kind: the job's kind, a column or a parameter.
        job_id: the column of its id.
        own: the name of the pause of this process's own key; None where any process may take the job.
    """
    return exists().where(_about(kind, own), pauses.c.until > now_plus(-_after(job_id)))


def ending(
    kind: ColumnElement[str], job_id: ColumnElement[str], own: ColumnElement[str] | None = None
) -> ColumnElement[datetime]:
    """When its pause ends for that job; in the past when it is over, NULL when there was none.

    Args:
        kind: the job's kind, a column or a parameter.
        job_id: its id, a column or a parameter.
        own: as for `holding`.
    """
    moment = later(pauses.c.until, _after(job_id))
    return select(func.max(moment, type_=Timestamp())).where(_about(kind, own)).scalar_subquery()


def all_over(kind: ColumnElement[str]) -> ColumnElement[datetime]:
    """When no pause, not even one of a single key, holds a job of that kind back any more.

    In the past when that is so, NULL when there was none.
    """
    moment = later(pauses.c.until, pauses.c.spread)
    about = _about(kind) | pauses.c.name.like(of_key("%"))
    return select(func.max(moment, type_=Timestamp())).where(about).scalar_subquery()


def pause(conn: Connection, name: str, seconds: float, reason: str, widen: bool) -> bool:
    """Let what is named wait, from now on for so many seconds at least; True when this is news.

    A refusal that comes while an earlier one for the same reason is in force, or is just over, is the same pause.

    Args:
        name: `STRIPE`, a kind of job, or a key (`of_key`).
        seconds: until the first of the jobs may try again; an earlier end is moved, a later one stays.
        reason: for a person.
        widen: the jobs came back too fast, so let them come more slowly after this pause than after the one before.
    """
    insert = insert_into(conn, pauses).values(
        name=name, since=now(), until=now_plus(seconds), spread=FIRST_SPREAD, refusals=1, reason=reason
    )
    new, old = insert.excluded, pauses.c
    felt = old.until > now_plus(-2 * old.spread)
    same = felt & (old.reason == new.reason)
    returning = (old.until <= now()) & (old.until > now_plus(-old.spread))
    come_back = seconds_between(old.until, now()) / old.spread
    doubled = case((old.spread < LONGEST_SPREAD / 2, old.spread * 2), else_=LONGEST_SPREAD)
    kept = insert.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "since": case((same, old.since), else_=new.since),
            "until": case((new.until > old.until, new.until), else_=old.until),
            # Those that were under way when it began find it in force: only the first of them counts.
            "spread": case((old.until > now(), old.spread), (felt, doubled if widen else old.spread), else_=new.spread),
            "phase": case((returning, _fraction(old.phase + come_back)), else_=old.phase),
            "refusals": case((same, old.refusals + 1), else_=1),
            "reason": new.reason,
        },
    )
    refusals: int = conn.execute(kept.returning(old.refusals)).scalar_one()
    return refusals == 1


@dataclass(frozen=True)
class Pause:
    """A pause that holds some jobs back.

    Args:
        name: `STRIPE`, the kind of job that waits, or the key (`of_key`) with which nothing is asked.
        until: when the first of them may try again; in the past while they come back.
        refusals: since it began.
        seconds: since it began.
    """

    name: str
    since: datetime
    until: datetime
    refusals: int
    reason: str
    seconds: float


def in_force(conn: Connection) -> list[Pause]:
    """The pauses that hold jobs back, by name."""
    held = pauses.c.until > now_plus(-pauses.c.spread)
    found = conn.execute(select(pauses, now().label("clock")).where(held).order_by(pauses.c.name))
    return [
        Pause(row.name, row.since, row.until, row.refusals, row.reason, (row.clock - row.since).total_seconds())
        for row in found
    ]


def left(conn: Connection, kind: str, job_id: str, own: str) -> float:
    """Seconds until a job may ask Stripe again, 0 when it may: for a call that is not the purpose of its job.

    Args:
        own: the name of the pause of this process's own key.
    """
    ends = ending(literal(kind), literal(job_id, Uuid(as_uuid=False)), literal(own))
    until, clock = conn.execute(select(func.coalesce(ends, now(), type_=Timestamp()), now())).one()
    return max((until - clock).total_seconds(), 0.0)


def _about(kind: ColumnElement[str], own: ColumnElement[str] | None = None) -> ColumnElement[bool]:
    names = [literal_column(f"'{STRIPE}'"), kind, *([] if own is None else [own])]
    return or_(*(pauses.c.name == name for name in names))


def _after(job_id: ColumnElement[str]) -> ColumnElement[float]:
    """Seconds from a pause's end to that for this job."""
    return pauses.c.spread * _fraction(share(job_id) - pauses.c.phase + _ONE)


def _fraction(number: ColumnElement[float]) -> ColumnElement[float]:
    """What a number from 0 to below 2 has beyond its whole; SQLite may lack floor()."""
    return case((number >= _ONE, number - _ONE), else_=number)


_ONE = literal_column("1.0", Float())
