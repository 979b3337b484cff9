"""The schema's history: it leads to the models exactly, and may be applied twice, twice at once, and undone."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from core import database, migrations, revision
from core.database import DatabaseUnavailable, SchemaOutdated, check_schema, reading, transaction
from core.domain import jobs, ledger, pauses, schema
from tests import servers
from tests.core.domain import shop


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database without a single table."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/{uuid.uuid4().hex}/fresh.db"
        return
    server = make_url(servers.require("postgresql")).set(drivername="postgresql")
    admin = server.render_as_string(hide_password=False)
    name = f"counterfoil_test_{os.getpid()}_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        database.dispose()
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`DATABASE_URL` of a database without tables, of either kind."""
    with new_database(request.param, tmp_path) as url:
        monkeypatch.setenv("DATABASE_URL", url)
        yield url
    database.dispose()


def tables() -> set[str]:
    with reading() as conn:
        return set(inspect(conn).get_table_names())


def alembic(what: Any, *arguments: str) -> None:
    """Run one of Alembic's commands as the program would."""
    with transaction() as conn:
        made = migrations.config()
        made.attributes["connection"] = conn
        what(made, *arguments)


def looks() -> dict[str, Any]:
    """Every table of the database as the server describes it: what `alembic check` compares and what it does not."""
    with reading() as conn:
        inspector = inspect(conn)
        return {
            name: {
                "columns": {one["name"]: (str(one["type"]), one["nullable"]) for one in inspector.get_columns(name)},
                "checks": sorted((str(one["name"]), one["sqltext"]) for one in inspector.get_check_constraints(name)),
                "indexes": sorted(
                    (str(one["name"]), one["column_names"], one["unique"], conditions(one.get("dialect_options", {})))
                    for one in inspector.get_indexes(name)
                ),
                "foreign": sorted(
                    (str(one["name"]), one["referred_table"]) for one in inspector.get_foreign_keys(name)
                ),
                "primary": inspector.get_pk_constraint(name)["constrained_columns"],
                "unique": sorted(str(one["name"]) for one in inspector.get_unique_constraints(name)),
            }
            for name in inspector.get_table_names()
            if name != "alembic_version"
        }


def conditions(options: dict[str, Any]) -> list[str]:
    return sorted(str(value) for name, value in options.items() if name.endswith("_where"))


@pytest.mark.usefixtures("fresh_url")
def test_an_upgrade_makes_every_table_and_a_second_one_changes_nothing() -> None:
    migrations.upgrade()
    assert tables() == {*schema.metadata.tables, "alembic_version"}
    with transaction() as conn:
        shop.paid(conn)
    before = looks()
    migrations.upgrade()
    assert looks() == before
    with reading() as conn:
        assert len(conn.execute(ledger.transfers.select()).all()) == 1


@pytest.mark.usefixtures("fresh_url")
def test_the_migrations_lead_to_the_models() -> None:
    migrations.upgrade()
    alembic(command.check)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_migrations_lead_to_the_models_in_what_alembic_does_not_compare_too(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_database(kind, tmp_path) as migrated, new_database(kind, tmp_path) as modelled:
        monkeypatch.setenv("DATABASE_URL", migrated)
        migrations.upgrade()
        by_migrations = looks()
        monkeypatch.setenv("DATABASE_URL", modelled)
        migrations.upgrade("base")  # makes the folder
        with transaction() as conn:
            schema.metadata.create_all(conn)
        assert looks() == by_migrations
    assert any(one["checks"] for one in by_migrations.values())
    assert any(index[3] for one in by_migrations.values() for index in one["indexes"])


@pytest.mark.usefixtures("fresh_url")
def test_a_downgrade_undoes_everything_and_the_way_up_is_open_again() -> None:
    migrations.upgrade()
    with transaction() as conn:
        shop.paid(conn)
    before = looks()
    alembic(command.downgrade, "base")
    assert tables() == {"alembic_version"}
    migrations.upgrade()
    assert looks() == before
    with transaction() as conn:
        shop.paid(conn)
    with pytest.raises(DBAPIError, match="append-only"), transaction() as conn:
        conn.exec_driver_sql("DELETE FROM ledger_transfers")


@pytest.mark.usefixtures("fresh_url")
def test_a_pause_that_began_before_pauses_had_a_phase_goes_on_and_so_do_the_programs_that_know_none() -> None:
    migrations.upgrade("0001")
    began = "INSERT INTO pauses (name, since, until, spread, refusals, reason) VALUES ({}, {now}, {now}, 5, 1, 'no')"
    with transaction() as conn:
        conn.exec_driver_sql(began.format("'before'", now="'2026-11-28 10:00:00.000000'"))
    migrations.upgrade()
    with transaction() as conn:
        conn.exec_driver_sql(began.format("'after'", now="'2026-11-28 10:00:00.000000'"))
        found = conn.execute(select(pauses.pauses.c.name, pauses.pauses.c.phase).order_by(pauses.pauses.c.name))
        assert [tuple(row) for row in found] == [("after", 0.0), ("before", 0.0)]
    alembic(command.downgrade, "0001")
    alembic(command.upgrade, "head")
    alembic(command.check)


def test_programs_that_upgrade_at_once_all_find_it_done(fresh_url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "DATABASE_URL": fresh_url, "STATE_DIR": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-m", "core.migrations"], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [program.communicate(timeout=60)[1] for program in started]
    assert [(program.returncode, said) for program, said in zip(started, ended, strict=True)] == [(0, ""), (0, "")]
    assert tables() == {*schema.metadata.tables, "alembic_version"}


@pytest.mark.usefixtures("fresh_url")
def test_a_migration_that_fails_leaves_nothing_behind() -> None:
    migrations.upgrade("base")
    before = tables()
    with shop.dying() as conn:
        made = migrations.config()
        made.attributes["connection"] = conn
        command.upgrade(made, "head")
    assert tables() == before
    migrations.upgrade()
    assert len(tables()) > len(before)


@pytest.mark.usefixtures("fresh_url")
def test_alembics_own_command_line_finds_the_database_by_itself() -> None:
    migrations.upgrade("base")
    command.upgrade(migrations.config(), "head")
    assert tables() == {*schema.metadata.tables, "alembic_version"}


def test_an_absent_database_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable):
        migrations.upgrade()


@pytest.mark.parametrize(
    ("url", "said"), [("postgresql://127.0.0.1:1/none", "not available"), ("mysql://x/y", "DATABASE_URL")]
)
def test_the_program_says_in_one_line_why_it_cannot(url: str, said: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "core.migrations"],
        env={**os.environ, "DATABASE_URL": url, "STATE_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode != 0
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_the_revisions_are_those_that_alembic_knows() -> None:
    script = ScriptDirectory.from_config(migrations.config())
    assert [one.revision for one in script.walk_revisions()][::-1] == revision.REVISIONS


@pytest.mark.usefixtures("fresh_url")
def test_a_database_without_the_schema_is_said_with_what_to_do() -> None:
    Path(str(database.engine().url.database)).parent.mkdir(parents=True, exist_ok=True)
    for look in (check_schema, ask_for_jobs):
        with pytest.raises(SchemaOutdated, match=r"run `python -m core\.migrations`"):
            look()
    migrations.upgrade()
    check_schema()
    ask_for_jobs()


@pytest.mark.usefixtures("fresh_url")
def test_an_older_schema_is_outdated_and_a_newer_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    migrations.upgrade()
    with transaction() as conn:
        conn.exec_driver_sql("ALTER TABLE jobs DROP COLUMN traceparent")
    with pytest.raises(DBAPIError):  # with the newest schema it would be a bug
        ask_for_jobs()
    monkeypatch.setattr(revision, "REVISIONS", [*revision.REVISIONS, "9999"])
    for look in (check_schema, ask_for_jobs):
        with pytest.raises(SchemaOutdated):
            look()
    monkeypatch.setattr(revision, "REVISIONS", ["0000"])
    check_schema()


def ask_for_jobs() -> None:
    with reading() as conn:
        conn.execute(select(jobs.jobs))
