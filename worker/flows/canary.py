"""The canary: when it comes through, broker, worker and database work together.

It tidies up on its way, and raises what has been open for too long.
"""

from __future__ import annotations

from core import get_logger, monitor
from core.domain import jobs
from core.domain.jobs import Job
from worker.work import Work

logger = get_logger(__name__)

KEEP_SECONDS = 86_400.0
"""How long done jobs of the schedule stay: a day of heartbeats says all that anybody asks."""


RAISED_PER_RUN = 20
"""An outage leaves thousands of jobs open; the oldest say what it is."""


class OpenTooLong(Exception):
    """A job has been put back for an hour or more: what it waits for needs a person."""


def sing(work: Work) -> None:
    """Succeed, forget the schedule's old jobs, canaries too, and raise each job that has been open for too long."""
    with work.succeed(None) as conn:
        jobs.prune(conn, older_than=KEEP_SECONDS)
        late = jobs.raise_late(conn, RAISED_PER_RUN)
    for job in late:
        _raise(job)


def _raise(job: Job) -> None:
    known = {"job_id": job.id, "kind": job.kind, "attempts": job.attempts, "reason": job.detail}
    logger.error("a job has been open for an hour or more", extra=known)
    monitor.capture_exception(OpenTooLong(f"{job.kind}: {job.detail or 'never begun'}"), context=known)
