"""A short share of the evidence: some crash points, kills on both databases, a medley of faults, and three mutants.

`make faults` runs all of it. A failure shows the command that replays it.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults import points, servers
from tests.faults.mutants import MUTANTS, Mutant, copy
from tests.servers import missing, require

pytestmark = pytest.mark.timeout(400)
TODAY = int(time.time() // 86_400)
"""The seed: another dozen of crash points every day, and on a failure the command names it."""
A_DOZEN = 12


def faults(*arguments: str) -> None:
    command = [sys.executable, "-m", "tests.faults", *arguments]
    ended = subprocess.run(command, cwd=points.ROOT, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, f"\n{ended.stdout}\n{ended.stderr}"


@pytest.fixture
def postgresql() -> None:
    require("redis-server")
    if not servers.POSTGRESQL:
        missing("PostgreSQL's own programs (initdb, postgres) are not installed")


def test_a_dozen_crash_points_break_no_promise() -> None:
    chosen = random.Random(TODAY).sample(points.names(), A_DOZEN)
    faults("--case", "crash-points", "--together", "--seeds", str(TODAY), "--points", *chosen)


def test_random_kills_on_sqlite_break_no_promise() -> None:
    faults("--case", "kills", "--operations", "60", "--seed", str(TODAY))


@pytest.mark.usefixtures("postgresql")
def test_random_kills_on_postgresql_and_redis_break_no_promise() -> None:
    faults("--case", "kills", "--database", "postgresql", "--operations", "60", "--seed", str(TODAY))


@pytest.mark.usefixtures("postgresql")
def test_one_fault_after_the_other_breaks_no_promise() -> None:
    faults("--case", "medley", "--database", "postgresql", "--seed", str(TODAY))


@pytest.mark.parametrize("guard", ["unique-reference", "refund-bound"])
def test_the_harness_sees_that_a_guard_is_missing(guard: str) -> None:
    faults("--case", "mutants", "--points", guard)


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_every_mutant_still_finds_the_code_that_it_changes(mutant: Mutant, tmp_path: Path) -> None:
    copy(mutant, tmp_path / "tree")
    shutil.rmtree(tmp_path / "tree")
