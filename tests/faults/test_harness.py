"""A short share of the evidence: some crash points, kills, a medley of faults, and a mutant.

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
"""The seed: other crash points every day, and on a failure the command names it."""
SOME = 8


def faults(*arguments: str) -> None:
    command = [sys.executable, "-m", "tests.faults", *arguments]
    ended = subprocess.run(command, cwd=points.ROOT, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, f"\n{ended.stdout}\n{ended.stderr}"


@pytest.fixture
def postgresql() -> None:
    require("redis-server")
    if not servers.POSTGRESQL:
        missing("PostgreSQL's own programs (initdb, postgres) are not installed")


def test_some_crash_points_break_no_promise() -> None:
    chosen = random.Random(TODAY).sample(points.names(), SOME)
    faults("--case", "crash-points", "--together", "--seeds", str(TODAY), "--points", *chosen)


def test_random_kills_break_no_promise() -> None:
    faults("--case", "kills", "--operations", "40", "--seed", str(TODAY))


@pytest.mark.usefixtures("postgresql")
def test_one_fault_after_the_other_breaks_no_promise() -> None:
    faults("--case", "medley", "--database", "postgresql", "--seed", str(TODAY))


def test_the_harness_sees_that_a_guard_is_missing() -> None:
    faults("--case", "mutants", "--points", "unique-reference")


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_every_mutant_still_finds_the_code_that_it_changes(mutant: Mutant, tmp_path: Path) -> None:
    copy(mutant, tmp_path / "tree")
    shutil.rmtree(tmp_path / "tree")
