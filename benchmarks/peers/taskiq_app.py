"""taskiq on the faster of its Redis brokers: `ListQueueBroker`, which loses what a killed worker had."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from taskiq_redis import ListQueueBroker

from benchmarks.peers import async_jobs, environment

broker = ListQueueBroker(environment.REDIS)  # stores no results unless told to

charge = broker.task(task_name="charge")(async_jobs.charge)
hear = broker.task(task_name="hear")(async_jobs.hear)


@asynccontextmanager
async def sending() -> AsyncIterator[Callable[[str, str], Awaitable[None]]]:
    """What enqueues one job, while this is open."""
    tasks = {"charge": charge, "hear": hear}
    await broker.startup()

    async def send(task: str, id: str) -> None:
        await tasks[task].kiq(id)

    try:
        yield send
    finally:
        await broker.shutdown()
