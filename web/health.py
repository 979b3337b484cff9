"""Readiness: can a request be accepted, and does what is accepted get done?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from core.clock import utcnow
from core.database import DatabaseUnavailable, reading
from core.domain import jobs, pauses
from core.domain.pauses import Pause
from web import hints
from web.answers import Check, Health

STARTED = monotonic()
GRACE = 120.0
"""Seconds after this process's start in which a worker may still be missing."""
CANARY_LIMIT = 120.0
"""Seconds; beat sends one every 30. A worker can be connected and deaf, so only finished work proves it.

The canary proves the maintenance worker, hence the sweep; that of the jobs is proved by jobs that are not overdue."""
OVERDUE_LIMIT = 120.0
"""Seconds that a job may be due before somebody should look."""


@dataclass(frozen=True)
class _Seen:
    backlog: jobs.Backlog
    canary: datetime | None
    paused: list[Pause]


def look() -> Health:
    """Look at everything once."""
    try:
        with reading() as conn:
            seen = _Seen(jobs.backlog(conn), jobs.last_canary(conn), pauses.in_force(conn))
    except DatabaseUnavailable as error:
        checks = {"database": Check(ok=False, detail=error.detail), "broker": _broker()}
    else:
        checks = {
            "database": Check(ok=True, detail="answers"),
            "broker": _broker(),
            "worker": _worker(seen.canary),
            "jobs": _overdue(seen.backlog),
            "pauses": _paused(seen.paused),
        }
    return Health(status="ok" if all(check.ok for check in checks.values()) else "failing", checks=checks)


def _broker() -> Check:
    publisher = hints.publisher.peek()
    if publisher is None:
        return Check(ok=True, detail="nothing sent yet")
    if publisher.failing:
        return Check(ok=False, detail="the last message could not be sent; the sweep hints instead")
    return Check(ok=True, detail="the last message was sent")


def _worker(canary: datetime | None) -> Check:
    age = None if canary is None else (utcnow() - canary).total_seconds()
    if age is not None and age <= CANARY_LIMIT:
        return Check(ok=True, detail=f"beat and the maintenance worker did a canary job {max(age, 0):.0f} s ago")
    seen = "no canary job was ever done" if age is None else f"the last canary job was done {age:.0f} s ago"
    if _starting():
        return Check(ok=True, detail=f"{seen}; still starting")
    return Check(ok=False, detail=f"{seen}: beat or the maintenance worker is away or deaf")


def _overdue(backlog: jobs.Backlog) -> Check:
    late = backlog.oldest_due_seconds
    detail = f"{backlog.queued} queued, {backlog.running} running, the oldest is due for {late:.0f} s"
    ages = sorted(backlog.oldest_open_seconds.items())
    if ages:
        detail += "; the oldest open " + ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in ages)
    return Check(ok=late <= OVERDUE_LIMIT or _starting(), detail=detail)


def _paused(paused: list[Pause]) -> Check:
    # Work is accepted all the same, and done when Stripe wants it: no reason to send callers away.
    shown = [f"{one.name} for {one.seconds:.0f} s: {one.reason}" for one in paused]
    return Check(ok=True, detail="; ".join(shown) or "nothing is paused")


def _starting() -> bool:
    return monotonic() - STARTED < GRACE
