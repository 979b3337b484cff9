"""The schedule: a beat tick only inserts a job, unique per task and period, so two beats do the work once."""

from __future__ import annotations

from kombu.exceptions import OperationalError
from sqlalchemy import select

from core import get_logger
from core.crashpoints import crash_point
from core.database import now, transaction
from core.domain import jobs
from worker.sweep import send

logger = get_logger(__name__)

PERIODS = {
    jobs.CANARY.name: 30,
    jobs.STATISTICS_RECOMPUTE.name: 60,
    jobs.RECONCILE_EVENTS.name: 60,
    jobs.RECONCILE_OBJECTS.name: 300,
}
"""Seconds per period; celeryconfig's beat schedule ticks at least as often."""


def tick(name: str) -> bool:
    """Insert the current period's job of the task and hint it; False if it is there already.

    Raises:
        DatabaseUnavailable: the next tick of the period does it.
    """
    kind = jobs.KINDS[name]
    try:
        with transaction() as conn:
            period = int(conn.execute(select(now())).scalar_one().timestamp()) // PERIODS[name]
            request = jobs.Request(scope=jobs.SCHEDULE, key=f"{name}:{period}")
            if jobs.repeated(conn, jobs.SYSTEM, request):
                return False
            made = jobs.enqueue(conn, kind, {}, request=request)
    except jobs.KeyTaken:
        return False
    crash_point("schedule.inserted")
    try:
        send(kind.name, kind.queue, [made.job_id])
    except (OperationalError, OSError) as error:
        logger.warning("hint not sent, the sweep hints", extra={"task": name, "reason": type(error).__name__})
    return True
