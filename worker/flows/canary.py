"""The canary: a job that does nothing. When it comes through, broker, worker and database work together."""

from __future__ import annotations

from worker.work import Work


def sing(work: Work) -> None:
    """Succeed."""
    with work.succeed(None):
        pass
