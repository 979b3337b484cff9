"""Figures: one sample per repetition, and what several of them come to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Args:
        case: for example `A`.
        side: who was measured, and how.
        numbers: by name; units are part of the name (`worker_us` per job, `p95_ms`, `worker_mb`).
        problem: why it does not count, or None.
    """

    case: str
    side: str
    numbers: dict[str, float] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Summary:
    """All good samples of one side in one case."""

    case: str
    side: str
    samples: Sequence[Sample]

    def median(self, name: str) -> float | None:
        """The middle one, None where nobody measured it."""
        found = self._all(name)
        return median(found) if found else None

    def spread(self, name: str) -> float | None:
        """Distance between the largest and the smallest, as a share of the median; None for fewer than two."""
        found = self._all(name)
        middle = self.median(name)
        return (max(found) - min(found)) / middle if len(found) > 1 and middle else None

    def _all(self, name: str) -> list[float]:
        return [sample.numbers[name] for sample in self.samples if name in sample.numbers]


def summaries(samples: Iterable[Sample], case: str) -> list[Summary]:
    """One per side, in the order of their first samples; a side without a good one is left out."""
    by_side: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.case == case:
            by_side.setdefault(sample.side, []).append(sample)
    good = {side: [one for one in found if one.problem is None] for side, found in by_side.items()}
    return [Summary(case, side, found) for side, found in good.items() if found]


def percentiles(values: Iterable[float], unit: str = "ms") -> dict[str, float]:
    """p50, p95, p99 and max (nearest rank), named with their unit; nothing of nothing."""
    ordered = sorted(values)
    if not ordered:
        return {}
    ranks = {
        name: ordered[ceil(share * len(ordered)) - 1] for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return {f"{name}_{unit}": value for name, value in ranks.items()} | {f"max_{unit}": ordered[-1]}


def write_json(path: Path, facts: dict[str, Any], samples: Iterable[Sample]) -> None:
    """Keep every sample, with what a reader must know of the run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run": facts, "samples": [asdict(sample) for sample in samples]}, indent=1) + "\n")
