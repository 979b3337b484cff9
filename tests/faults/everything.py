"""All of the evidence, a process per part: the two throughputs alone, everything else a few at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from stack.program import ROOT
from tests.faults import points
from tests.faults.cases import CASES
from tests.faults.mutants import MUTANTS
from tests.faults.report import Row

AT_ONCE = 3
"""Parts side by side: they mostly wait, for leases, restarts and reconciliations."""
POINTS_PER_PART = 7
MANY = {"postgresql": 10_000, "sqlite": 2_000}
"""Operations under random kills."""
LEAST_FLAPPING_SHARE = 0.5
"""Of the normal throughput, while the broker is killed and started again and again."""


def rows(folder: Path, seed: int) -> Iterator[Row]:
    """Run everything; the rows come as they are done."""
    calm, flapping = (_part(folder, part) for part in _throughput(seed))
    yield from _compared(calm, flapping)
    with ThreadPoolExecutor(AT_ONCE) as together:
        parts = [together.submit(_part, folder, part) for part in _parts(seed)]
        for part in as_completed(parts):
            yield from part.result()


def _throughput(seed: int) -> list[list[str]]:
    where = ["--database", "postgresql", "--broker", "redis", "--operations", "1000", "--seed", str(seed)]
    return [["--case", name, *where] for name in ("calm", "broker-flaps")]


def _compared(calm: list[Row], flapping: list[Row]) -> list[Row]:
    if calm and flapping:
        share = flapping[0].result.rate / calm[0].result.rate
        flapping[0].result.notes.append(f"{share:.0%} of the throughput without faults")
        if share < LEAST_FLAPPING_SHARE:
            flapping[0].result.broken.append(f"at least {LEAST_FLAPPING_SHARE:.0%} is required")
    return calm + flapping


def _parts(seed: int) -> Iterator[list[str]]:
    """The arguments of each part, the longest ones first."""
    for database, operations in MANY.items():
        yield ["--case", "kills", "--database", database, "--operations", str(operations), "--seed", str(seed)]
    for database in MANY:
        for chosen in _chunks(points.names(), POINTS_PER_PART):
            yield ["--case", "crash-points", "--database", database, "--points", *chosen]
    for name in MUTANTS:
        yield ["--case", "mutants", "--points", name]
    for name, case in CASES.items():
        if name not in ("kills", "calm", "broker-flaps"):
            for database in case.databases:
                yield ["--case", name, "--database", database, "--seed", str(seed)]


def _chunks(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _part(folder: Path, arguments: list[str]) -> list[Row]:
    name = "".join(letter if letter.isalnum() else "-" for letter in " ".join(arguments[1:]))[:100]
    results = folder / f"{name}.json"
    command = [sys.executable, "-m", "tests.faults", *arguments, "--results", str(results)]
    with (folder / f"{name}.txt").open("w") as log:
        subprocess.run(command, cwd=ROOT, check=False, stdout=log, stderr=subprocess.STDOUT)
    shown = json.loads(results.read_text()) if results.exists() else []
    return [Row.of(one) for one in shown] or [Row.missing(name, f"{' '.join(command[1:])}")]
