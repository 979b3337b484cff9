"""dramatiq with its default middleware."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import environment, sync_jobs

broker = RedisBroker(url=environment.REDIS)
dramatiq.set_broker(broker)

charge = dramatiq.actor(sync_jobs.charge, actor_name="charge")
hear = dramatiq.actor(sync_jobs.hear, actor_name="hear")


def send(task: str, id: str) -> None:
    """Enqueue one job."""
    {"charge": charge, "hear": hear}[task].send(id)
