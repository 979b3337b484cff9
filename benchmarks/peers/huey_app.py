"""huey without results, on a blocking Redis queue."""

from __future__ import annotations

from huey import RedisHuey
from redis import ConnectionPool

from benchmarks.peers import environment, sync_jobs

# Each of 200 threads holds one while it waits; with the usual 100 one gets none now and then, and loses what it took.
pool = ConnectionPool.from_url(environment.REDIS, max_connections=1_000)
huey = RedisHuey("peer", connection_pool=pool, results=False, blocking=True)

charge = huey.task(name="charge")(sync_jobs.charge)
hear = huey.task(name="hear")(sync_jobs.hear)


def send(task: str, id: str) -> None:
    """Enqueue one job."""
    {"charge": charge, "hear": hear}[task](id)
