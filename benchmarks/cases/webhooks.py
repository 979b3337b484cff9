"""B: signed events of 2.3 KB, as fast as the web program takes them; and end to end, until the order is paid."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.cases.checkouts import per_job, until_done
from benchmarks.client import Demand, sent
from benchmarks.results import Sample, Summary, percentiles, summaries
from benchmarks.side import Side
from benchmarks.stage import Numbers, Stage, Unfair
from benchmarks.table import MILLISECONDS, Column, table
from benchmarks.usage import Usage

NAME, END_TO_END = "B", "B-end-to-end"
HINTS_SECONDS = 0.3
"""What leaves after the answer belongs to its cost."""

_WEB = (
    Column("req/s", "rate"),
    Column("p50 ms", "p50_ms", MILLISECONDS),
    Column("p99 ms", "p99_ms", MILLISECONDS),
    Column("web us/req", "web_us"),
    Column("database", "database_us"),
    Column("broker", "broker_us"),
    Column("web MB", "web_mb"),
)
_PAID = (
    Column("paid/s", "rate"),
    Column("post to paid p50 ms", "p50_ms", MILLISECONDS),
    Column("p99 ms", "p99_ms", MILLISECONDS),
    Column("web us", "web_us"),
    Column("worker us", "worker_us"),
    Column("database", "database_us"),
    Column("broker", "broker_us"),
)


def run(stage: Stage) -> None:
    """The web program alone, in turns."""
    for _ in range(stage.options.size.repetitions):
        for side in [*stage.ours(), *stage.webs()]:
            stage.measure(NAME, side.name, taken_in, stage, side)


def run_end_to_end(stage: Stage) -> None:
    """Web program and workers together, in turns."""
    for _ in range(stage.options.size.repetitions):
        for side in [*stage.ours(), *stage.webs()]:
            stage.measure(END_TO_END, side.name, paid, stage, side)


def taken_in(stage: Stage, side: Side, keep: bool = False) -> Numbers:
    """Post events; nobody works on them.

    Args:
        keep: leave in the database what is there.

    Raises:
        Unfair: an event was refused, or is not in the database.
    """
    size = stage.options.size
    if not keep:
        side.empty()
    before = side.events()
    targets = side.open_payments(size.warm_up + size.webhooks)
    side.database.settle()
    web = side.web()
    with web.program:
        sent(web, "webhooks", targets[: size.warm_up], Demand(size.connections))
        usage = Usage({"web": [web.program], "broker": [stage.bed.redis.program]}, side.database)
        outcome = sent(web, "webhooks", targets[size.warm_up :], Demand(size.connections))
        time.sleep(HINTS_SECONDS)
        spent, memory = usage.cpu_seconds(), usage.memory_mb()
    stored = side.events() - before
    if stored != len(targets):
        raise Unfair(f"{stored} of {len(targets)} events stored")
    rate = size.webhooks / outcome.seconds
    return {"rate": rate, **percentiles(outcome.milliseconds), **per_job(spent, memory, size.webhooks)}


def paid(stage: Stage, side: Side) -> Numbers:
    """Post events and wait until the last order is paid.

    Raises:
        Unfair: an order is not.
    """
    size = stage.options.size
    side.empty()
    targets = side.open_payments(size.warm_up + size.webhooks)
    side.database.settle()
    with ExitStack() as stack:
        workers = [stack.enter_context(program) for program in side.workers()]
        web = side.web()
        stack.enter_context(web.program)
        sent(web, "webhooks", targets[: size.warm_up], Demand(size.connections))
        until_done(side, "webhooks", workers, None, 90, len(targets) - size.warm_up)
        measured = targets[size.warm_up :]
        usage = Usage({"web": [web.program], "worker": workers, "broker": [stage.bed.redis.program]}, side.database)
        outcome = sent(web, "webhooks", measured, Demand(size.connections))
        ended = until_done(side, "webhooks", workers, usage, 60 + size.webhooks / 20)
        spent, memory = usage.cpu_seconds(), usage.memory_mb()
        finished = side.finished("webhooks", measured)
    if len(finished) != len(measured):
        raise Unfair(f"{len(finished)} of {len(measured)} orders paid")
    waits = [(finished[one["order_id"]] - at) * 1000 for one, at in zip(measured, outcome.sent_at, strict=True)]
    rate = len(measured) / (ended - outcome.began)
    return {"rate": rate, **percentiles(waits), **per_job(spent, memory, len(measured))}


def show(samples: Sequence[Sample], product: str) -> str:
    """The table of the web program alone."""
    return _shown(samples, product, NAME, "B. webhooks taken in: verified, stored, enqueued", _WEB)


def show_end_to_end(samples: Sequence[Sample], product: str) -> str:
    """The table of events that became paid orders."""
    return _shown(samples, product, END_TO_END, "B. webhooks end to end: posted until the order is paid", _PAID)


def _shown(samples: Sequence[Sample], product: str, case: str, heading: str, columns: Sequence[Column]) -> str:
    found = summaries(samples, case)
    best = max((one.median("rate") or 0.0 for one in found if one.side != product), default=None)
    return f"{heading}\n\n{table(found, columns, best, 'rate')}{_verdict(found, product, best)}"


def _verdict(found: Sequence[Summary], product: str, best: float | None) -> str:
    ours = next((one.median("rate") for one in found if one.side == product), None)
    return f"\n{product} against the best peer: {ours / best:.2f}x" if ours and best else ""
