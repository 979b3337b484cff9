"""The schedule: a beat tick only inserts a job, unique per task and period, so two beats do the work once."""

from __future__ import annotations

from sqlalchemy import Connection, or_, select

from core import get_logger
from core.crashpoints import crash_point
from core.database import now, transaction
from core.domain import cursors, jobs
from core.domain.jobs import JobKind
from worker.sweep import BrokerUnavailable, send

logger = get_logger(__name__)

PERIODS = {
    jobs.CANARY.name: 30,
    jobs.STATISTICS_RECOMPUTE.name: 60,
    jobs.RECONCILE_EVENTS.name: 60,
    jobs.RECONCILE_OBJECTS.name: cursors.RECONCILE_SECONDS,
}
"""Seconds per period; celeryconfig's beat schedule ticks at least as often."""


def tick(name: str) -> bool:
    """Insert the current period's job of the task and hint it; False if it is there already, or an earlier one waits.

    Raises:
        DatabaseUnavailable: the next tick of the period does it.
    """
    if name not in PERIODS:
        logger.warning("nothing of this name is scheduled here: a newer beat's tick?", extra={"task": name})
        return False
    kind = jobs.KINDS[name]
    try:
        with transaction() as conn:
            period = int(conn.execute(select(now())).scalar_one().timestamp()) // PERIODS[name]
            request = jobs.Request(scope=jobs.SCHEDULE, key=f"{name}:{period}")
            if jobs.repeated(conn, jobs.SYSTEM, request) or _waits(conn, kind):
                return False
            made = jobs.enqueue(conn, kind, {}, request=request)
    except jobs.KeyTaken:
        return False
    crash_point("schedule.inserted")
    try:
        send(kind.name, kind.queue, [made.job_id])
    except BrokerUnavailable as error:
        logger.warning("hint not sent, the sweep hints", extra={"task": name, "reason": str(error)})
    crash_point("schedule.hinted")
    return True


def _waits(conn: Connection, kind: JobKind) -> bool:
    """Whether an earlier period's job is not done: it does this one's work, too, and none pile up in an outage."""
    open_ones = select(jobs.jobs.c.id).where(
        jobs.jobs.c.kind == kind.name,
        jobs.jobs.c.idempotency_scope == jobs.SCHEDULE,
        or_(jobs.in_status(jobs.QUEUED), jobs.in_status(jobs.RUNNING)),
    )
    return conn.execute(open_ones.limit(1)).first() is not None
