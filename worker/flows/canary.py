"""The canary: when it comes through, broker, worker and database work together. It tidies up on its way."""

from __future__ import annotations

from core.domain import jobs
from worker.work import Work

KEEP_SECONDS = 86_400.0
"""How long done jobs of the schedule stay: a day of heartbeats says all that anybody asks."""


def sing(work: Work) -> None:
    """Succeed, and forget the schedule's old jobs, canaries too."""
    with work.succeed(None) as conn:
        jobs.prune(conn, older_than=KEEP_SECONDS)
