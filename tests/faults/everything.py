"""All of the evidence, a process per part: what measures T has the machine to itself, the rest goes two by two."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from stack.program import ROOT
from tests.faults.cases import CASES
from tests.faults.mutants import MUTANTS
from tests.faults.report import Row
from tests.faults.run import Result

AT_ONCE = 2
"""Parts side by side: each waits about half of its time, for leases, restarts and reconciliations."""
SEEDS = 5
"""Of the crash points, on each database, and of the kills on PostgreSQL."""
KILLS = {"postgresql": (2_000, SEEDS), "sqlite": (1_000, 2)}
"""Operations under random kills for each seed, and seeds."""
COMPARED = ("calm", "broker-flaps")
LEAST_FLAPPING_SHARE = 0.5
"""Of the normal throughput, while the broker is killed and started again and again."""


@dataclass(frozen=True)
class Part:
    """What runs in a process of its own.

    Args:
        name: unique, to choose it and for its files.
        arguments: of `python -m tests.faults`.
        alone: nothing else runs beside it.
    """

    name: str
    arguments: tuple[str, ...]
    alone: bool = False


def parts(seed: int) -> list[Part]:
    """All parts in the order in which they are run; those that run alone come first."""
    return [*_throughput(seed), *_kills(seed), *_crash_points(seed), *_cases(seed), *_mutants()]


def chosen(every: Sequence[Part], only: Sequence[str] | None, skip: Sequence[str]) -> list[Part]:
    """The parts whose names begin with one of `only` (all without it) and with none of `skip`."""
    wanted = [part for part in every if only is None or part.name.startswith(tuple(only))]
    return [part for part in wanted if not part.name.startswith(tuple(skip))]


def rows(folder: Path, wanted: Sequence[Part]) -> Iterator[Row]:
    """Run the parts that have no good result in the folder yet; the rows come as they are done."""
    folder.mkdir(parents=True, exist_ok=True)
    normal: float | None = None
    for done in _side_by_side(folder, [part for part in wanted if part.alone], 1):
        name, result = done[0].case, done[0].result
        if name == COMPARED[0]:
            normal = result.rate
        elif name == COMPARED[1] and normal:
            _compare(result, normal)
        yield from done
    for done in _side_by_side(folder, [part for part in wanted if not part.alone], AT_ONCE):
        yield from done


def _side_by_side(folder: Path, wanted: Sequence[Part], at_once: int) -> Iterator[list[Row]]:
    running: set[subprocess.Popen[bytes]] = set()
    with ThreadPoolExecutor(at_once) as together:
        parts = [together.submit(_run, folder, part, running) for part in wanted]
        try:
            for part in as_completed(parts):
                yield part.result()
        except BaseException:  # we are to stop: no other part begins, and those that run clear away what they started
            together.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()
            raise


def _throughput(seed: int) -> Iterator[Part]:
    for name in COMPARED:
        where = ("--database", "postgresql", "--broker", "redis", "--operations", "1000", "--seed", str(seed))
        yield Part(f"{name}-postgresql", ("--case", name, *where), alone=True)


def _kills(seed: int) -> Iterator[Part]:
    for database, (operations, seeds) in KILLS.items():
        for one in range(seed, seed + seeds):
            how = ("--database", database, "--operations", str(operations), "--seed", str(one))
            yield Part(f"kills-{database}-{one}", ("--case", "kills", *how), alone=True)


def _crash_points(seed: int) -> Iterator[Part]:
    for one in range(seed, seed + SEEDS):
        for database in KILLS:
            how = ("--database", database, "--together", "--seeds", str(one))
            yield Part(f"crash-points-{database}-{one}", ("--case", "crash-points", *how), alone=True)


def _cases(seed: int) -> Iterator[Part]:
    for name, case in CASES.items():
        if name not in ("kills", *COMPARED):
            for database in case.databases:
                yield Part(f"{name}-{database}", ("--case", name, "--database", database, "--seed", str(seed)))


def _mutants() -> Iterator[Part]:
    for name in MUTANTS:
        yield Part(f"without-{name}", ("--case", "mutants", "--points", name))


def _compare(flapping: Result, normal: float) -> None:
    share = flapping.rate / normal
    flapping.notes.append(f"{share:.0%} of the throughput without faults")
    if share < LEAST_FLAPPING_SHARE:
        flapping.broken.append(f"at least {LEAST_FLAPPING_SHARE:.0%} is required")


def _run(folder: Path, part: Part, running: set[subprocess.Popen[bytes]]) -> list[Row]:
    results = folder / f"{part.name}.json"
    done = _read(results)
    if done and all(row.holds for row in done):
        return done
    results.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.faults", *part.arguments, "--results", str(results)]
    with (folder / f"{part.name}.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        running.add(process)
        process.wait()
        running.discard(process)
    return _read(results) or [Row.missing(part.name, " ".join(command[1:]))]


def _read(results: Path) -> list[Row]:
    return [Row.of(shown) for shown in json.loads(results.read_text())] if results.exists() else []
