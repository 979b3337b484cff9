"""Starting: what an import costs, and what happens when a setting is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import databases

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_importing_the_application_imports_nothing_that_is_needed_later_only() -> None:
    later = "celery kombu babel redis stripe sentry_sdk web.openapi"
    code = f"import sys, web, web.factory; print([name for name in {later.split()} if name in sys.modules])"

    assert run("-c", code).stdout == "[]\n"


def test_importing_the_package_reads_no_settings_and_no_database() -> None:
    ended = run("-c", "import web, web.factory", APP_ENV="nonsense", DATABASE_URL="nonsense")

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_wrong_setting_stops_the_start_with_one_line() -> None:
    for program in (("-m", "flask", "--app", "web", "keys", "list"), ("-c", "from web import app")):
        ended = run(*program, DATABASE_URL="nonsense")

        assert ended.returncode != 0
        assert ended.stderr.startswith("DATABASE_URL ")
        assert ended.stderr.count("\n") == 1


def test_both_ways_to_name_the_application_start_it(tmp_path: Path, sqlite_template: Path) -> None:
    environment = {"DATABASE_URL": databases.sqlite_copy(sqlite_template, tmp_path), "STATE_DIR": str(tmp_path)}
    for name in ("web", "web:app", "web:create_app"):
        ended = run("-m", "flask", "--app", name, "keys", "list", "--account", "nobody", **environment)
        assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr


def test_a_database_without_the_schema_stops_the_start_with_one_line(tmp_path: Path) -> None:
    environment = {"DATABASE_URL": f"sqlite:///{tmp_path}/empty.db", "STATE_DIR": str(tmp_path), "LOG_LEVEL": "INFO"}
    for program in (("-m", "flask", "--app", "web", "jobs", "waiting"), ("-c", "from web import app")):
        ended = run(*program, **environment)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == (
            "counterfoil: the database has no schema, or an old one: run `python -m core.migrations`\n"
        )


def test_a_database_that_is_away_does_not_stop_the_start(tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    ended = run("-c", "from web import app; print(app.name)", DATABASE_URL=url, STATE_DIR=str(tmp_path))
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "web"), ended.stderr
