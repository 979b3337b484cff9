"""One row per run, as a line of the table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from tests.faults.run import Result

HEAD = " ".join(
    (f"{'case':34} {'on':22} {'ops':>6} {'L':>3} {'C':>3} {'R':>3} {'O':>3} {'F':>3}",
     f"{'T p50':>7} {'T p99':>7} {'of':>5} {'whole':>7} {'ops/s':>6}")
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A run and what it was.

    Args:
        case: its name.
        where: database and broker.
        result: what it showed.
        replay: the command that runs it again.
        wanted: whether the promises should hold (a mutant must break one).
    """

    case: str
    where: str
    result: Result
    replay: str
    wanted: bool = True

    @property
    def holds(self) -> bool:
        """Whether it ended as it should."""
        return not self.result.broken and (not self.result.violations) == self.wanted

    def line(self) -> str:
        """The row, and below it what went wrong and how to see it again."""
        counts = " ".join(f"{self.result.count(letter):>3}" for letter in "LCROF")
        p50, p99, whole = self.result.recovered(0.5), self.result.recovered(0.99), self.result.waited(0.99)
        times = f"{_seconds(p50):>7} {_seconds(p99):>7} {len(self.result.recovery):>5} {_seconds(whole):>7}"
        rate = f"{self.result.rate:>6.1f}"
        lines = [f"{self.case:34} {self.where:22} {self.result.operations:>6} {counts} {times} {rate}"]
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
        return {**about, "holds": self.holds, **self.result.shown()}

    @classmethod
    def of(cls, shown: dict[str, Any]) -> Self:
        """The row that another process showed."""
        return cls(shown["case"], shown["where"], Result.of(shown), shown["replay"], shown["wanted"])

    @classmethod
    def missing(cls, case: str, replay: str) -> Self:
        """The row of a process that showed nothing."""
        return cls(case, "?", Result(0, 0.0, [], [], broken=["no results"]), replay)


def show(rows: Sequence[Row]) -> str:
    """The whole table."""
    return "\n".join(["", HEAD, *(row.line() for row in rows)])


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
