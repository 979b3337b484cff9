"""Tables of results, in Markdown that is also readable as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.results import Summary

NOISE = 0.15
"""Differences below this share of a figure are noise on a machine of this size."""


MILLISECONDS = "{:,.1f}".format


@dataclass(frozen=True)
class Column:
    """A column of figures.

    Args:
        name: of the number in a sample.
        show: one figure as text.
    """

    heading: str
    name: str
    show: Callable[[float], str] = "{:,.0f}".format


def table(found: Sequence[Summary], columns: Sequence[Column], best: float | None, headline: str) -> str:
    """Rows of medians, ordered by the headline figure, with its spread and its ratio to `best`.

    Args:
        best: what the ratio compares with, for example the best peer's figure; None for no ratio.
        headline: name of the number that matters.
    """
    ordered = sorted(found, key=lambda one: -(one.median(headline) or 0.0))
    heads = ["", *[column.heading for column in columns], "spread", *(["ratio"] if best else []), "runs"]
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for one in ordered:
        value, spread = one.median(headline), one.spread(headline)
        rows.append(
            [
                one.side,
                *[_shown(one.median(column.name), column.show) for column in columns],
                _shown(spread, "{:.0%}".format),
                *([_shown(value and value / best, "{:.2f}".format)] if best else []),
                str(len(one.samples)),
            ]
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(heads))]
    return "\n".join(
        "| "
        + " | ".join(_pad(cell, width, at) for at, (cell, width) in enumerate(zip(row, widths, strict=True)))
        + " |"
        for row in rows
    )


def _shown(value: float | None, show: Callable[[float], str]) -> str:
    return "" if value is None else show(value)


def _pad(cell: str, width: int, at: int) -> str:
    if set(cell) <= {"-", ":"} and cell:
        return cell[0] * (width - 1) + cell[-1]
    return cell.ljust(width) if at == 0 else cell.rjust(width)
