"""Fresh migrated databases for tests: a copied SQLite file, or an emptied PostgreSQL database of this process's own."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from core import database, migrations
from core.domain import schema
from tests import servers


def migrate(url: str) -> None:
    """Bring the database at `url` to the newest schema."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        migrations.upgrade()
        database.dispose()


def sqlite_template(folder: Path) -> Path:
    """A migrated SQLite file to copy."""
    file = folder / "template.db"
    migrate(f"sqlite:///{file}")
    return file


def sqlite_copy(template: Path, folder: Path) -> str:
    """The URL of a fresh copy in `folder`."""
    return f"sqlite:///{shutil.copy(template, folder / 'counterfoil.db')}"


@contextmanager
def postgresql() -> Iterator[str]:
    """A migrated database of its own on the reachable server, dropped at the end."""
    server = make_url(servers.require("postgresql")).set(drivername="postgresql")
    name = f"counterfoil_test_{os.getpid()}_{uuid.uuid4().hex[:8]}"
    admin = server.render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        url = server.set(database=name).render_as_string(hide_password=False)
        migrate(url)
        yield url
    finally:
        database.dispose()
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def empty(url: str) -> None:
    """Delete all rows; the ledger's own guard against that is off for this session only."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for table in schema.metadata.sorted_tables:
            connection.execute(f'DELETE FROM "{table.name}"')
