from __future__ import annotations

import json
from pathlib import Path

from benchmarks.results import Sample, percentiles, summaries, write_json


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentiles(values) == {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0, "max_ms": 100.0}


def test_percentiles_of_nothing_are_nothing() -> None:
    assert percentiles([]) == {}


def test_a_summary_is_the_median_and_the_spread_around_it() -> None:
    [one] = summaries([Sample("A", "taskiq", {"rate": rate}) for rate in (90.0, 100.0, 120.0)], "A")
    assert (one.median("rate"), one.spread("rate")) == (100.0, 0.3)


def test_a_sample_with_a_problem_does_not_count() -> None:
    samples = [
        Sample("A", "rq", {"rate": 100.0}),
        Sample("A", "rq", problem="a worker ended"),
        Sample("A", "arq", problem="x"),
    ]
    [one] = summaries(samples, "A")
    assert (one.side, len(one.samples)) == ("rq", 1)


def test_every_sample_is_kept_with_its_problem(tmp_path: Path) -> None:
    file = tmp_path / "deeper" / "figures.json"
    write_json(file, {"cores_used": 2}, [Sample("A", "rq", problem="a worker ended")])
    kept = json.loads(file.read_text())
    assert kept["run"] == {"cores_used": 2}
    assert kept["samples"][0]["problem"] == "a worker ended"
