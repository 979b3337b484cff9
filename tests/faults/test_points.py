"""The crash points of the source: none is forgotten, none is ambiguous, and prod knows none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import points

PASSES_ONE = "from core.crashpoints import crash_point; crash_point('charge.posted'); print('alive')"


def run(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PASSES_ONE],
        cwd=points.ROOT,
        env={"PATH": os.environ["PATH"], "CRASH_STATE": str(tmp_path), **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def test_every_crash_point_has_a_name_of_its_own_written_as_a_literal() -> None:
    names = [name for name, _ in points.found()]
    assert "?" not in names
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_a_name_says_where_it_is() -> None:
    wrong = [(name, file) for name, file in points.found() if not belongs(name, file)]
    assert wrong == []


def belongs(name: str, file: str) -> bool:
    where = name.partition(".")[0]
    return where in (file.partition("/")[0], Path(file).stem)


def test_web_worker_sweep_schedule_and_reconciliation_have_crash_points() -> None:
    assert {name.partition(".")[0] for name in points.names()} >= {
        "web", "runner", "sweep", "schedule", "charge", "refund", "webhook", "backfill", "reconcile",
    }  # fmt: skip


def test_a_process_dies_at_its_crash_point_once(tmp_path: Path) -> None:
    assert run(tmp_path, CRASH_POINT="charge.posted").returncode == -signal.SIGKILL
    assert run(tmp_path, CRASH_POINT="charge.posted").stdout == "alive\n"


def test_all_points_can_be_armed_together_and_each_disarmed_by_its_file(tmp_path: Path) -> None:
    assert run(tmp_path, CRASH_POINT="*").returncode == -signal.SIGKILL
    assert (tmp_path / "charge.posted.0").exists()
    assert run(tmp_path, CRASH_POINT="*").stdout == "alive\n"


@pytest.mark.parametrize("environment", [{}, {"CRASH_POINT": "charge.frozen"}])
def test_nothing_happens_at_another_point_or_without_one(tmp_path: Path, environment: dict[str, str]) -> None:
    assert run(tmp_path, **environment).stdout == "alive\n"


@pytest.mark.parametrize("program", [["-m", "core.migrations"], ["-c", "import worker"], ["-c", "import web; web.app"]])
def test_no_program_starts_in_prod_with_a_crash_point(tmp_path: Path, program: list[str]) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "APP_ENV": "prod",
        "SECRET_KEY": "k" * 40,
        "SENTRY_ENABLED": "false",
        "REDIS_ENABLED": "false",
        "STRIPE_ENABLED": "false",
        "DATABASE_URL": f"sqlite:///{tmp_path}/none.db",
        "BROKER_URL": "filesystem://",
        "STATE_DIR": str(tmp_path),
        "CRASH_POINT": "charge.posted",
    }
    ended = subprocess.run(
        [sys.executable, *program], cwd=points.ROOT, env=environment, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith("CRASH_POINT is set")
