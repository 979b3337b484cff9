"""procrastinate, whose broker is the database itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from procrastinate import App, PsycopgConnector

from benchmarks.peers import async_jobs, environment

app = App(connector=PsycopgConnector(conninfo=environment.DATABASE, max_size=environment.CONNECTIONS))

charge = app.task(name="charge")(async_jobs.charge)
hear = app.task(name="hear")(async_jobs.hear)


@asynccontextmanager
async def sending() -> AsyncIterator[Callable[[str, str], Awaitable[None]]]:
    """What enqueues one job, while this is open."""
    tasks = {"charge": charge, "hear": hear}

    async def send(task: str, id: str) -> None:
        await tasks[task].defer_async(*(), **{_ARGUMENT[task]: id})

    async with app.open_async():
        yield send


_ARGUMENT = {"charge": "order_id", "hear": "event_id"}
