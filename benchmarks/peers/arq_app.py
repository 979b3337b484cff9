"""arq: results not kept, polling often enough to hurt nobody's latency."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import func

from benchmarks.peers import async_jobs, environment

asyncio.set_event_loop(uvloop.new_event_loop())  # arq's worker takes the one that it finds
QUIET = {"version": 1, "disable_existing_loggers": False, "loggers": {"arq": {"level": "WARNING"}}}
REDIS = RedisSettings.from_dsn(environment.REDIS)


async def _charge(context: dict[Any, Any], order_id: str) -> None:
    await async_jobs.charge(order_id)


async def _hear(context: dict[Any, Any], event_id: str) -> None:
    await async_jobs.hear(event_id)


class WorkerSettings:
    """What `arq` reads."""

    functions: ClassVar = [func(_charge, name="charge", keep_result=0), func(_hear, name="hear", keep_result=0)]
    redis_settings = REDIS
    max_jobs = int(os.environ.get("BENCH_CONCURRENCY", "300"))
    poll_delay = 0.05
    keep_result = 0


@asynccontextmanager
async def sending() -> AsyncIterator[Callable[[str, str], Awaitable[None]]]:
    """What enqueues one job, while this is open."""
    pool = await create_pool(REDIS)

    async def send(task: str, id: str) -> None:
        await pool.enqueue_job(task, id)

    try:
        yield send
    finally:
        await pool.aclose()
