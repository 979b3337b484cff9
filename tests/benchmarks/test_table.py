from __future__ import annotations

from benchmarks.results import Sample, summaries
from benchmarks.table import Column, table


def test_the_fastest_comes_first_with_its_ratio_to_the_best() -> None:
    found = summaries([Sample("A", "slow", {"rate": 50.0}), Sample("A", "fast", {"rate": 200.0})], "A")
    lines = table(found, [Column("jobs/s", "rate")], 100.0, "rate").splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["fast", "200", "", "2.00", "1"]
    assert lines[3].startswith("| slow")


def test_a_figure_that_nobody_measured_is_an_empty_cell() -> None:
    found = summaries([Sample("A", "one", {"rate": 50.0})], "A")
    assert "|    |" in table(found, [Column("MB", "worker_mb")], None, "rate").replace("     ", "    ")
