"""A: checkouts that were accepted beforehand are worked off, so that the worker is measured and nothing else.

While they are accepted the workers stand still (SIGSTOP), so every side starts from a full queue, warm.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.processes import Program, ProgramFailed
from benchmarks.results import Sample, Summary, summaries
from benchmarks.side import Kind, Side
from benchmarks.stage import Numbers, Stage, Unfair
from benchmarks.table import Column, table
from benchmarks.usage import Usage

NAME = "A"
WARM_UP_SECONDS = 90.0
LEAST_RATE = 20.0
"""Jobs per second below which a run is given up."""
HOPELESS = 0.5
"""A peer below this share of the fastest one's first figure is not run again."""

COLUMNS = (
    Column("jobs/s", "rate"),
    Column("worker us/job", "worker_us"),
    Column("database", "database_us"),
    Column("broker", "broker_us"),
    Column("worker MB", "worker_mb"),
    Column("others' cores", "others_cores", "{:.2f}".format),
)


def run(stage: Stage) -> None:
    """Every side once per round, in turns."""
    sides = stage.ours()
    for body in stage.options.bodies:
        sides += stage.peers(body)
    for _ in range(stage.options.size.repetitions):
        for side in sides:
            stage.measure(NAME, side.name, drained, stage, side)
        if not stage.options.every_round:
            sides = _worth_another(stage, sides)


def drained(stage: Stage, side: Side, processes: int | None = None, keep: bool = False) -> Numbers:
    """Work off `stage.options.size.jobs` checkouts.

    Args:
        keep: leave in the database what is there.

    Raises:
        ProgramFailed: a worker ended, or was too slow.
        Unfair: not every checkout was done, or the gateway was asked less often than once for each.
    """
    size = stage.options.size
    if not keep:
        side.empty()
    with ExitStack() as stack:
        workers = [stack.enter_context(program) for program in side.workers(processes)]
        side.accept(side.open_orders(size.warm_up * (processes or 1)))
        until_done(side, "checkouts", workers, None, WARM_UP_SECONDS)
        for program in workers:
            program.pause()
        targets = side.open_orders(size.jobs)
        side.accept(targets)
        side.database.settle()
        made = stage.bed.intents_made()
        roles = {"worker": workers, "broker": [stage.bed.redis.program], "gateway": [stage.bed.gateway]}
        usage = Usage(roles, side.database)
        began = time.time()
        for program in workers:
            program.resume()
        ended = until_done(side, "checkouts", workers, usage, 20 + size.jobs / LEAST_RATE)
        spent, memory = usage.cpu_seconds(), usage.memory_mb()
        finished = side.finished("checkouts", targets)
        asked = stage.bed.intents_made() - made
    if len(finished) != size.jobs or asked < size.jobs:
        raise Unfair(f"{len(finished)} of {size.jobs} checkouts done with {asked} PaymentIntents")
    return {"rate": size.jobs / (ended - began), "posts": asked / size.jobs, **per_job(spent, memory, size.jobs)}


def until_done(
    side: Side, kind: Kind, workers: Sequence[Program], usage: Usage | None, seconds: float, rest: int = 0
) -> float:
    """Wait until nothing accepted is left.

    Args:
        rest: what a peer counts as left although it is not accepted yet: orders whose turn comes later.

    Returns:
        When nothing was left, as Unix time in seconds: seen from outside, so that all sides have the same clock.

    Raises:
        ProgramFailed: a worker ended, or it took longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    while (left := side.unfinished(kind)) > rest:
        if time.monotonic() > deadline:
            raise ProgramFailed(f"{left} {kind} left after {seconds:.0f} s: {workers[0].last_lines()}")
        for program in workers:
            program.check()
        if usage is not None:
            usage.look()
        time.sleep(0.05)
    return time.time()


def per_job(spent: Numbers, memory: Numbers, jobs: int) -> Numbers:
    """CPU microseconds per job and MB by role."""
    costs = {f"{role}_us": spent[role] / jobs * 1e6 for role in spent if role not in ("elapsed", "others")}
    return {
        **costs,
        **{f"{role}_mb": value for role, value in memory.items()},
        "others_cores": spent["others"] / spent["elapsed"],
    }


def show(samples: Sequence[Sample], product: str) -> str:
    """The table, and the ratios that matter."""
    found = summaries(samples, NAME)
    peers = [one for one in found if not one.side.startswith(product)]
    bare, sdk = ([one for one in peers if one.side.endswith(", SDK") is with_sdk] for with_sdk in (False, True))
    ours = next((one for one in found if one.side == product), None)
    lines = [f"A. checkouts accepted beforehand\n\n{table(found, COLUMNS, _best(bare), 'rate')}"]
    for what, field in (("bare job", bare), ("job with the SDK", sdk)):
        best = _best(field)
        if ours and best:
            lines.append(f"{product} against the best peer's {what}: {(ours.median('rate') or 0) / best:.2f}x jobs/s")
    return "\n".join(lines)


def _best(found: Sequence[Summary]) -> float | None:
    return max((one.median("rate") or 0.0 for one in found), default=None)


def _worth_another(stage: Stage, sides: list[Side]) -> list[Side]:
    rates = {one.side: one.median("rate") or 0.0 for one in summaries(stage.samples, NAME)}
    best = {
        sdk: max((rates.get(side.name, 0.0) for side in sides if _sdk(side) is sdk), default=0.0)
        for sdk in (False, True)
    }
    return [
        side for side in sides
        if side is stage.product or rates.get(side.name, 0.0) >= HOPELESS * best[_sdk(side)]
    ]  # fmt: skip


def _sdk(side: Side) -> bool:
    return side.name.endswith(", SDK")
