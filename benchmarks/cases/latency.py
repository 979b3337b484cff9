"""C: how long a job takes when there is room, and how long accepting takes when there is little.

At 50 jobs/s a job's time counts from handing it over (for the product: from sending its HTTP request) to the moment
that the database wrote it down as done. Accepting is asked for at 80 % of what the web program can take at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import gateway
from benchmarks.cases.checkouts import until_done
from benchmarks.client import Demand, sent
from benchmarks.results import Sample, percentiles, summaries
from benchmarks.side import Side
from benchmarks.stage import Numbers, Stage, Unfair
from benchmarks.table import MILLISECONDS, Column, table

NAME, ACCEPT = "C", "C-accept"
RATE = 50.0
SHARE = 0.8
FIELD = ("Celery threads", "Celery gevent", "taskiq", "dramatiq threads", "huey threads", "arq", "procrastinate")
PERCENTILES = tuple(
    Column(f"{name} ms", f"{name}_ms", MILLISECONDS) for name in ("p50", "p95", "p99", "max")
)  # fmt: skip


def run(stage: Stage) -> None:
    """Every side in turns, then the product's web program alone and beside its worker."""
    for _ in range(stage.options.size.repetitions):
        for side in [*stage.ours(), *(side for side in stage.peers() if side.name in FIELD)]:
            stage.measure(NAME, side.name, paced, stage, side)
        for side in stage.ours():
            for name, working in (("web alone", False), ("worker beside it", True)):
                stage.measure(ACCEPT, f"{side.name}, {name}", accepted, stage, side, working)


def paced(stage: Stage, side: Side) -> Numbers:
    """Hand over 50 checkouts a second and see when each is done.

    Raises:
        Unfair: one is not.
    """
    size = stage.options.size
    side.empty()
    targets = side.open_orders(size.warm_up + int(RATE * size.seconds))
    warm_up, measured = targets[: size.warm_up], targets[size.warm_up :]
    with ExitStack() as stack:
        workers = [stack.enter_context(program) for program in side.workers()]
        if side is stage.product:
            web = side.web()
            stack.enter_context(web.program)
            sent(web, "checkouts", warm_up, Demand(size.connections))
            until_done(side, "checkouts", workers, None, 90)
            side.database.settle()
            outcome = sent(web, "checkouts", measured, Demand(size.connections, rate=RATE))
            at = dict(zip((one["order_id"] for one in measured), outcome.sent_at, strict=True))
        else:
            side.accept(warm_up)
            until_done(side, "checkouts", workers, None, 90, len(measured))
            side.database.settle()
            at = side.accept(measured, RATE)
        until_done(side, "checkouts", workers, None, 60)
        finished = side.finished("checkouts", measured)
    if len(finished) != len(measured):
        raise Unfair(f"{len(finished)} of {len(measured)} checkouts done")
    return percentiles((finished[order_id] - began) * 1000 for order_id, began in at.items())


def accepted(stage: Stage, side: Side, working: bool) -> Numbers:
    """Find the most checkouts per second that the web program accepts, then ask for 80 % of them.

    Args:
        working: have the workers do the jobs meanwhile.
    """
    size = stage.options.size
    side.empty()
    targets = side.open_orders(size.warm_up + size.jobs)
    side.database.settle()
    with ExitStack() as stack:
        if working:
            for program in side.workers():
                stack.enter_context(program)
        web = side.web()
        stack.enter_context(web.program)
        most = sent(web, "checkouts", targets, Demand(size.connections, size.warm_up))
        ceiling = size.jobs / most.seconds
        paced_targets = side.open_orders(max(int(ceiling * SHARE * size.seconds), 1))
        outcome = sent(web, "checkouts", paced_targets, Demand(4 * size.connections, rate=ceiling * SHARE))
    return {"ceiling": ceiling, "rate": len(paced_targets) / outcome.seconds, **percentiles(outcome.milliseconds)}


def show(samples: Sequence[Sample], product: str) -> str:
    """Both tables."""
    jobs, accepting = summaries(samples, NAME), summaries(samples, ACCEPT)
    columns = (Column("ceiling req/s", "ceiling"), Column("asked req/s", "rate"), *PERCENTILES)
    best = min((one.median("p95_ms") or 0.0 for one in jobs if one.side != product), default=None)
    return (
        f"C. from handed over to done at {RATE:.0f} jobs/s, {gateway.LATENCY_MS:.0f} ms of it the gateway's\n\n"
        f"{table(jobs, PERCENTILES, best, 'p95_ms')}\n\n"
        f"C. accepting checkouts at {SHARE:.0%} of the ceiling\n\n{table(accepting, columns, None, 'rate')}"
    )
