"""A-end-to-end: checkouts posted to the web program while workers work: the whole path on the same two cores."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.cases.checkouts import per_job, until_done
from benchmarks.client import Demand, sent
from benchmarks.results import Sample, percentiles, summaries
from benchmarks.side import Side
from benchmarks.stage import Numbers, Stage, Unfair
from benchmarks.table import MILLISECONDS, Column, table
from benchmarks.usage import Usage

NAME = "A-end-to-end"
COLUMNS = (
    Column("done/s", "rate"),
    Column("accept p50 ms", "accept_p50_ms", MILLISECONDS),
    Column("p99 ms", "accept_p99_ms", MILLISECONDS),
    Column("web us", "web_us"),
    Column("worker us", "worker_us"),
    Column("database", "database_us"),
    Column("broker", "broker_us"),
)


def run(stage: Stage) -> None:
    """Every side with a web program, in turns."""
    for _ in range(stage.options.size.repetitions):
        for side in [*stage.ours(), *stage.webs()]:
            stage.measure(NAME, side.name, done, stage, side)


def done(stage: Stage, side: Side) -> Numbers:
    """Post checkouts as fast as they are accepted, and wait until the last one is done.

    Raises:
        Unfair: one is not.
    """
    size = stage.options.size
    side.empty()
    targets = side.open_orders(size.warm_up + size.jobs)
    side.database.settle()
    with ExitStack() as stack:
        workers = [stack.enter_context(program) for program in side.workers()]
        web = side.web()
        stack.enter_context(web.program)
        sent(web, "checkouts", targets[: size.warm_up], Demand(size.connections))
        until_done(side, "checkouts", workers, None, 90, size.jobs if side is not stage.product else 0)
        measured = targets[size.warm_up :]
        usage = Usage({"web": [web.program], "worker": workers, "broker": [stage.bed.redis.program]}, side.database)
        outcome = sent(web, "checkouts", measured, Demand(size.connections))
        ended = until_done(side, "checkouts", workers, usage, 60 + size.jobs / 20)
        spent, memory = usage.cpu_seconds(), usage.memory_mb()
        finished = side.finished("checkouts", measured)
    if len(finished) != len(measured):
        raise Unfair(f"{len(finished)} of {len(measured)} checkouts done")
    accepted = {f"accept_{name}": value for name, value in percentiles(outcome.milliseconds).items()}
    rate = len(measured) / (ended - outcome.began)
    return {"rate": rate, **accepted, **per_job(spent, memory, len(measured))}


def show(samples: Sequence[Sample], product: str) -> str:
    """The table. Peers accept by enqueueing only; the product stores the job first, under an idempotency key."""
    found = summaries(samples, NAME)
    best = max((one.median("rate") or 0.0 for one in found if one.side != product), default=None)
    return f"A. checkouts end to end: posted until the PaymentIntent is stored\n\n{table(found, COLUMNS, best, 'rate')}"
