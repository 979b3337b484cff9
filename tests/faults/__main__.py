"""`python -m tests.faults`: run cases under faults, print one table, and say how each failure is replayed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults import everything, evidence
from tests.faults.cases import CASES
from tests.faults.report import HEAD, Row, markdown, merged, overall, show, too_late
from tests.faults.run import PATIENCE


def main() -> int:
    """Run what was asked for; the exit status is 1 when a promise was broken, or when T is too long in general."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    folder = Path(tempfile.mkdtemp(prefix="counterfoil-faults-"))
    folder.chmod(0o755)  # PostgreSQL's user passes through
    results = options.results or (options.out or folder) / "results.json"
    rows: list[Row] = []
    print(HEAD, flush=True)
    for row in _rows(options, folder):
        rows.append(row)
        print(row.line(), flush=True)
        _write(results, rows)
    table = merged(rows)
    if len(rows) > 1:
        print(show(table), flush=True)
    bad, late = [row for row in table if not row.holds], [row for row in table if row.late]
    print(
        f"{len(table) - len(bad)} of {len(table)} rows hold, T is too long in {len(late)}; {overall(table)}; "
        f"results: {results}",
        flush=True,
    )
    if rows and not bad and not late and not options.keep:
        _sweep_up(folder)
    return 1 if bad or not rows or too_late(table) else 0


def _write(results: Path, rows: list[Row]) -> None:
    results.write_text(json.dumps([row.shown() for row in rows], indent=1))
    results.with_suffix(".md").write_text(markdown(merged(rows)))


def _rows(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    if options.case is None:
        wanted = everything.chosen(everything.parts(options.seed), options.only, options.skip)
        yield from everything.rows(options.out or folder / "parts", wanted)
    elif options.case == "crash-points":
        yield from evidence.crash_points(
            folder,
            options.database,
            options.broker,
            options.seeds,
            options.points,
            options.together,
        )
    elif options.case == "mutants":
        yield from evidence.mutants(folder, options.points, options.seeds)
    else:
        yield evidence.one(
            folder,
            options.case,
            options.database,
            options.broker,
            options.seed,
            options.operations,
            options.patience,
        )


def _sweep_up(folder: Path) -> None:
    for kept in folder.glob("*/"):
        shutil.rmtree(kept, ignore_errors=True)
    if not any(folder.iterdir()):  # the results are elsewhere
        folder.rmdir()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--case", choices=[*CASES, "crash-points", "mutants"], help="one case; all without it")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="of crash points and mutants")
    parser.add_argument("--points", nargs="+", help="only these crash points, or mutants")
    parser.add_argument("--together", action="store_true", help="all crash points in one run")
    parser.add_argument("--operations", type=int, help="how many, at least")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--broker", choices=["filesystem", "redis", "rabbitmq"], help="else what suits the case")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds for everything to come to rest")
    parser.add_argument("--only", nargs="+", help="of everything, the parts whose names begin so")
    parser.add_argument("--skip", nargs="+", default=[], help="of everything, not the parts whose names begin so")
    parser.add_argument("--out", type=Path, help="folder for the parts' results: what holds there is not run again")
    parser.add_argument("--results", type=Path, help="file for the figures as JSON, and beside it a table")
    parser.add_argument("--keep", action="store_true", help="keep logs and histories of good runs, too")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        status = main()
    except SystemExit as stop:
        sys.stdout.flush()
        os._exit(stop.code if isinstance(stop.code, int) else 1)  # customers may still wait for answers
    sys.exit(status)
