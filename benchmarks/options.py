"""What to run, how large, how often."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import postgres
from benchmarks.processes import ROOT

CASES = ("A", "A-end-to-end", "B", "B-end-to-end", "C", "D", "E", "F")


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Args:
        jobs: checkouts per repetition of A and D.
        warm_up: jobs or requests before the clock starts.
        webhooks: events per repetition of B.
        seconds: length of a paced measurement (C).
        repetitions: of everything.
        connections: of the load generator.
        old: rows of history, smallest first (D).
        processes: worker processes to compare, fewest first (D).
        calls: per facade (E).
    """

    jobs: int
    warm_up: int
    webhooks: int
    seconds: float
    repetitions: int
    connections: int
    old: tuple[int, ...]
    processes: tuple[int, ...]
    calls: int


SIZES = {
    "smoke": Size(40, 10, 60, 1, 1, 8, (200,), (2,), 2_000),
    "medium": Size(1_000, 200, 2_000, 10, 2, 64, (10_000, 1_000_000), (1, 2, 4), 50_000),
    "full": Size(5_000, 400, 10_000, 30, 3, 64, (10_000, 1_000_000, 10_000_000), (1, 2, 4), 200_000),
}


@dataclass(frozen=True)
class Options:
    """A run.

    Args:
        only: words in the names of the sides to run; empty for all.
        bodies: of the peers in case A.
        every_round: also run peers again that were far behind in the first round.
    """

    cases: tuple[str, ...]
    size: Size
    only: tuple[str, ...]
    bodies: tuple[str, ...]
    every_round: bool
    server: str
    cores: int
    json: Path
    chart: Path | None

    def wants(self, side: str) -> bool:
        """Whether the side takes part."""
        return not self.only or any(re.search(rf"\b{re.escape(part)}\b", side, re.IGNORECASE) for part in self.only)


def parse(arguments: Sequence[str] | None = None) -> Options:
    """The command line's options; a wrong one ends the program with a line that says so."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The product and its peers side by side.")
    parser.add_argument("--case", action="append", choices=CASES, help="run only this one (several times for several)")
    parser.add_argument("--size", choices=SIZES, default="medium", help="how much of everything (default: medium)")
    parser.add_argument("--jobs", type=_positive, help="checkouts per repetition, instead of the size's")
    parser.add_argument("--repetitions", type=_positive, help="of everything, instead of the size's")
    parser.add_argument("--old", type=_positive, nargs="+", help="orders of history in D, instead of the size's")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="sides whose name has one of these words")
    parser.add_argument("--body", action="append", choices=("bare", "sdk"), help="the peers' job in A (default: both)")
    parser.add_argument("--every-round", action="store_true", help="run slow peers as often as the others")
    parser.add_argument("--postgres", default=os.environ.get("BENCH_POSTGRES_URL", postgres.USUAL), metavar="URL")
    parser.add_argument("--cores", type=_positive, default=2, help="for everything that is started (default: 2)")
    parser.add_argument("--json", type=Path, default=ROOT / "var" / "benchmarks.json", help="where figures go")
    parser.add_argument("--chart", type=Path, help="where a chart of A and B goes (SVG)")
    given = parser.parse_args(arguments)
    size = SIZES[given.size]
    size = Size(
        **{
            **vars(size),
            "jobs": given.jobs or size.jobs,
            "repetitions": given.repetitions or size.repetitions,
            "old": tuple(sorted(given.old or size.old)),
        }
    )
    return Options(
        cases=tuple(given.case or CASES), size=size, only=tuple(given.only),
        bodies=tuple(given.body or ("bare", "sdk")), every_round=given.every_round, server=given.postgres,
        cores=given.cores, json=given.json, chart=given.chart,
    )  # fmt: skip


def _positive(text: str) -> int:
    number = int(text.replace("_", ""))
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number
