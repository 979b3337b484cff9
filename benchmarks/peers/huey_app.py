"""huey without results, on a blocking Redis queue."""

from __future__ import annotations

from huey import RedisHuey

from benchmarks.peers import environment, sync_jobs

huey = RedisHuey("peer", url=environment.REDIS, results=False, blocking=True)

charge = huey.task(name="charge")(sync_jobs.charge)
hear = huey.task(name="hear")(sync_jobs.hear)


def send(task: str, id: str) -> None:
    """Enqueue one job."""
    {"charge": charge, "hear": hear}[task](id)
