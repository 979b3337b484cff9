"""One row per run, as a line of the table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from tests.faults.recovery import percentile
from tests.faults.run import Result

HEAD = " ".join(
    (f"{'case':34} {'on':22} {'ops':>6} {'L':>3} {'C':>3} {'R':>3} {'O':>3} {'F':>3}",
     f"{'T p50':>7} {'T p99':>7} {'of':>5} {'whole':>7} {'ops/s':>6}")
)  # fmt: skip


ENOUGH = 100
"""Recoveries without which a 99th percentile is the longest of them."""
ALONE_SECONDS = 30.0
"""So much longer a job may take that waits for a process which empties itself, beside others that kill theirs."""


@dataclass(frozen=True)
class Row:
    """A run and what it was.

    Args:
        case: its name.
        where: database and broker.
        result: what it showed.
        replay: the command that runs it again.
        wanted: whether the promises should hold (a mutant must break one).
        runs: how many runs it sums up.
    """

    case: str
    where: str
    result: Result
    replay: str
    wanted: bool = True
    runs: int = 1

    @property
    def holds(self) -> bool:
        """Whether it ended as it should."""
        return not self.result.broken and (not self.result.violations) == self.wanted

    @property
    def name(self) -> str:
        """The case, and how often it was run."""
        return f"{self.case} x{self.runs}" if self.runs > 1 else self.case

    @property
    def late(self) -> bool:
        """Whether T is longer than one lease and two sweeps, or a worker to oneself took much longer still."""
        longest, alone = (self.result.recovered(0.99, alone) or 0.0 for alone in (False, True))
        return self.wanted and 0 < self.result.limit < max(longest, alone - ALONE_SECONDS)

    def line(self) -> str:
        """The row, and below it what went wrong and how to see it again."""
        counts = " ".join(f"{self.result.count(letter):>3}" for letter in "LCROF")
        p50, p99, whole = self.result.recovered(0.5), self.result.recovered(0.99), self.result.waited(0.99)
        times = f"{_seconds(p50):>7} {_seconds(p99):>7} {self.result.held_up():>5} {_seconds(whole):>7}"
        rate = f"{self.result.rate:>6.1f}"
        lines = [f"{self.name:34} {self.where:22} {self.result.operations:>6} {counts} {times} {rate}"]
        lines += [f"    T is longer than {self.result.limit:g} s"] if self.late else []
        if twice := self.result.held_up(alone=True):
            longest = _seconds(self.result.recovered(0.99, alone=True))
            lines.append(
                f"    note: {twice} had lost two workers in a row and had one to themselves after {longest} (p99)"
            )
        lines += [f"    note: {note}" for note in self.result.notes]
        lines += [f"    proves nothing: {reason}" for reason in self.result.broken]
        if not self.holds:
            lines += [f"    {violation}" for violation in self.result.violations[:10]]
            lines += ["    nothing was broken, although a guard was missing"] if not self.wanted else []
            lines.append(f"    replay: {self.replay}")
        return "\n".join(lines)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        about = {"case": self.case, "where": self.where, "replay": self.replay, "wanted": self.wanted}
        return {**about, "runs": self.runs, "holds": self.holds, "late": self.late, **self.result.shown()}

    @classmethod
    def of(cls, shown: dict[str, Any]) -> Self:
        """The row that another process showed."""
        return cls(shown["case"], shown["where"], Result.of(shown), shown["replay"], shown["wanted"], shown["runs"])

    @classmethod
    def missing(cls, case: str, replay: str) -> Self:
        """The row of a process that showed nothing."""
        return cls(case, "?", Result(0, 0.0, [], [], broken=["no results"]), replay)


def merged(rows: Sequence[Row]) -> list[Row]:
    """One row for all runs of a case at the same place; what must be run again is named."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.case, row.where), []).append(row)
    return [_one_of(group) for group in groups.values()]


def overall(rows: Sequence[Row]) -> str:
    """T of all rows together, as a share of each row's bound: few rows have the hundred that a percentile needs."""
    if not (shares := _shares(rows)):
        return "nothing had to recover"
    return f"T of all {len(shares)}: p99 {percentile(shares, 0.99):.0%} of its bound, longest {max(shares):.0%}"


def too_late(rows: Sequence[Row]) -> bool:
    """Whether T's 99th percentile is beyond its bound, where there are enough recoveries to have one."""
    shares = _shares(rows)
    return len(shares) >= ENOUGH and (percentile(shares, 0.99) or 0.0) > 1.0


def _shares(rows: Sequence[Row]) -> list[float]:
    results = [row.result for row in rows if row.wanted and row.result.limit]
    return [one.promised / result.limit for result in results for one in result.recovery if not one.alone]


def _one_of(group: Sequence[Row]) -> Row:
    if len(group) == 1:
        return group[0]
    again = [row for row in group if not row.holds] or group
    replay = "; ".join(row.replay for row in again)
    result = Result.sum([row.result for row in group])
    return replace(group[0], result=result, replay=replay, runs=sum(row.runs for row in group))


def markdown(rows: Sequence[Row]) -> str:
    """The table for the documents."""
    head = "| case | on | operations | L | C | R | O | F | T p50 | T p99 | of | to the end, p99 | op/s |"
    return "\n".join((head, "|---|---|" + "---:|" * 11, *map(_markdown, rows), "", overall(rows), ""))


def _markdown(row: Row) -> str:
    result = row.result
    about = (row.name if row.holds else f"**{row.name}**", row.where, f"{result.operations:,}")
    counts = [str(result.count(letter)) for letter in "LCROF"]
    times = (_seconds(result.recovered(0.5)), _seconds(result.recovered(0.99)), str(result.held_up()))
    return "| " + " | ".join((*about, *counts, *times, _seconds(result.waited(0.99)), f"{result.rate:.1f}")) + " |"


def show(rows: Sequence[Row]) -> str:
    """The whole table."""
    return "\n".join(["", HEAD, *(row.line() for row in rows)])


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
