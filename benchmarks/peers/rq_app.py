"""rq: the job's function is named by its path; results are not kept."""

from __future__ import annotations

from redis import Redis
from rq import Queue

from benchmarks.peers import environment, sync_jobs

queue = Queue("peer", connection=Redis.from_url(environment.REDIS))


def send(task: str, id: str) -> None:
    """Enqueue one job."""
    queue.enqueue({"charge": sync_jobs.charge, "hear": sync_jobs.hear}[task], id, result_ttl=0)
