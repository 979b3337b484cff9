"""What every test may ask for: a clean environment, and a real database of either kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import database
from tests import databases

OURS = (
    "APP_ENV", "DATABASE_URL", "BROKER_URL", "REDIS_", "SENTRY_", "STRIPE_", "BOOTSTRAP_API_KEY", "SECRET_KEY", "LOG_",
    "HOST", "PORT", "SIMULATOR_", "FLOWER_PORT", "STATE_DIR", "LEASE_",
)  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test starts from an environment without settings, and writes below its own folder."""
    for name in os.environ:
        if name.startswith(OURS) and name != "HOSTNAME":
            monkeypatch.delenv(name)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    return databases.sqlite_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A migrated PostgreSQL database of this process's own."""
    with databases.postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """`DATABASE_URL` of an empty migrated database; the test runs once on each kind."""
    if request.param == "sqlite":
        url = databases.sqlite_copy(request.getfixturevalue("sqlite_template"), tmp_path)
    else:
        url = request.getfixturevalue("postgresql_url")
        databases.empty(url)
    monkeypatch.setenv("DATABASE_URL", url)
    yield url
    database.dispose()
