"""The database behind one face: its transactions, its clock, and what counts as unavailable."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from sqlalchemy import Connection, Engine, event, literal, select
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.pool import QueuePool

from core import database
from core.database import DatabaseUnavailable, Timestamp, now, now_plus, reading, transaction
from core.domain import cursors
from core.errors import Retryable
from tests.core.domain import shop
from tests.core.domain.racing import race

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def empty(database_url: str) -> str:
    """The URL of an empty migrated database."""
    return database_url


def write(conn: Connection, value: int = 1) -> None:
    cursors.move(conn, "walk", {"at": value})


def stands_at() -> int | None:
    with reading() as conn:
        return cursors.place(conn, "walk").get("at")


def backend(conn: Connection) -> int:
    return int(conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def terminate(url: str, pid: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def use_session(monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    """Have the engine that is built next start its sessions with these options as well."""
    monkeypatch.setattr(database, "POSTGRES_SESSION", f"{database.POSTGRES_SESSION} {options}")


# -- transactions


@pytest.mark.usefixtures("empty")
def test_a_transaction_commits_at_its_end_and_rolls_back_on_any_exception() -> None:
    with transaction() as conn:
        write(conn, 1)
    with shop.dying() as conn:
        write(conn, 2)
    assert stands_at() == 1


@pytest.mark.usefixtures("empty")
def test_a_transaction_that_only_reads_keeps_nothing() -> None:
    with reading() as conn:
        write(conn)
    assert stands_at() is None


@pytest.mark.usefixtures("empty")
def test_a_reader_waits_for_no_writer_and_sees_only_what_is_committed() -> None:
    with transaction() as conn:
        write(conn)
        assert stands_at() is None
    assert stands_at() == 1


@pytest.mark.usefixtures("empty")
def test_writers_that_read_first_wait_for_each_other_and_lose_no_update() -> None:
    with transaction() as conn:
        write(conn, 0)

    def add(_: int) -> None:
        for _ in range(3):
            with transaction() as conn:
                conn.execute(select(cursors.cursors).with_for_update()).all()
                write(conn, cursors.place(conn, "walk")["at"] + 1)

    race(20, add)
    assert stands_at() == 60


@on_sqlite
@pytest.mark.usefixtures("empty")
def test_a_sqlite_session_is_durable_strict_and_guards_the_ledger() -> None:
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "recursive_triggers": 1}
    with reading() as conn:
        assert {name: conn.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in wanted} == wanted


@on_postgresql
@pytest.mark.usefixtures("empty")
def test_a_postgresql_session_is_in_utc_and_bounded() -> None:
    wanted = {
        "TimeZone": "UTC", "statement_timeout": "30s", "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "1min",
    }  # fmt: skip
    with reading() as conn:
        assert {name: conn.exec_driver_sql(f"SHOW {name}").scalar_one() for name in wanted} == wanted


# -- time


@pytest.mark.usefixtures("empty")
def test_the_databases_clock_is_aware_and_counts_in_utc() -> None:
    with reading() as conn:
        found, later, computed = conn.execute(
            select(now(), now_plus(90.5), now_plus(literal(60.0) + literal(30.0)))
        ).one()
    assert found.utcoffset() == timedelta(0)
    assert abs(found - datetime.now(UTC)) < timedelta(seconds=30)  # the server is this machine
    assert abs(later - found - timedelta(seconds=90.5)) < timedelta(seconds=1)
    assert abs(computed - found - timedelta(seconds=90)) < timedelta(seconds=1)


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("seconds", [0, -60, 0.001, 86_400 * 400])
def test_any_number_of_seconds_can_be_added(seconds: float) -> None:
    with reading() as conn:
        found, then = conn.execute(select(now(), now_plus(seconds))).one()
    assert abs(then - found - timedelta(seconds=seconds)) < timedelta(seconds=1)


@pytest.mark.usefixtures("empty")
def test_the_clock_moves_within_a_transaction() -> None:
    with reading() as conn:
        seen = {conn.execute(select(now())).scalar_one() for _ in range(500)}
    assert len(seen) > 1


MOMENTS = [
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 1, 1, 9, 0, 0, 2, tzinfo=timezone(timedelta(hours=9))),
    datetime(2025, 12, 31, 20, 0, 1, tzinfo=timezone(timedelta(hours=-5))),
]


@pytest.mark.usefixtures("empty")
def test_times_keep_their_moment_in_utc_and_sort_by_it() -> None:
    with transaction() as conn:
        for number, moment in enumerate(reversed(MOMENTS)):
            row = {"name": str(number), "place": {}, "moved_at": moment}
            conn.execute(cursors.cursors.insert().values(**row))
        found = list(conn.execute(select(cursors.cursors.c.moved_at).order_by(cursors.cursors.c.moved_at)).scalars())
    assert found == MOMENTS
    assert {moment.utcoffset() for moment in found} == {timedelta(0)}


@pytest.mark.usefixtures("empty")
def test_a_time_without_its_timezone_is_refused() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - this is what is refused
    with pytest.raises(StatementError, match="timezone"), transaction() as conn:
        conn.execute(cursors.cursors.insert().values(name="walk", place={}, moved_at=naive))


@pytest.mark.usefixtures("empty")
def test_no_time_is_no_time() -> None:
    with reading() as conn:
        assert conn.execute(select(literal(None, Timestamp()))).scalar_one() is None


# -- unavailable


def unavailable(work: Callable[[Connection], Any] = write) -> DatabaseUnavailable:
    with pytest.raises(DatabaseUnavailable) as refused, transaction() as conn:
        work(conn)
    assert isinstance(refused.value, Retryable)
    assert "postgres@" not in refused.value.detail  # no address, no secret
    return refused.value


@on_sqlite
def test_a_read_only_sqlite_file_can_be_read_and_is_unavailable_for_writing(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction() as conn:
        write(conn)
    monkeypatch.setenv("DATABASE_URL", empty.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true")
    unavailable()
    assert stands_at() == 1


@on_sqlite
@pytest.mark.usefixtures("empty")
def test_a_full_disk_is_unavailable_and_nothing_of_the_transaction_is_kept() -> None:
    def limit(connection: Any, record: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the current size when that is more

    event.listen(database.engine(), "connect", limit)

    def fill(conn: Connection) -> None:
        for number in range(1000):
            cursors.move(conn, f"walk {number}", {"at": "x" * 1000})

    unavailable(fill)
    with reading() as conn:
        assert conn.execute(select(cursors.cursors)).all() == []


@on_sqlite
@pytest.mark.usefixtures("empty")
def test_a_sqlite_file_that_stays_locked_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_SECONDS", 0.05)
    with transaction() as conn:
        write(conn, 1)
        unavailable()
        assert stands_at() is None  # readers do not mind
    assert stands_at() == 1


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Another program that makes the file of `DATABASE_URL` at this moment."""
    file = tmp_path / "new.db"
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{file}")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE made (by_whom)")
        yield connection
    database.dispose()


def test_programs_that_make_a_sqlite_file_together_wait_for_each_other(
    writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def others_turn(seconds: float) -> None:
        waits.append(seconds)
        writer.execute("COMMIT")

    monkeypatch.setattr(time, "sleep", others_turn)
    with transaction() as conn:
        conn.exec_driver_sql("INSERT INTO made VALUES ('us')")
    assert len(waits) == 1


@pytest.mark.usefixtures("writer")
def test_a_sqlite_file_that_another_program_never_finishes_making_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_SECONDS", 0.05)
    unavailable()


@pytest.mark.parametrize("path", ["/nowhere/at/all.db", "/"])
def test_a_sqlite_file_that_cannot_be_opened_is_unavailable(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")
    unavailable()
    with pytest.raises(DatabaseUnavailable):
        stands_at()


def test_a_server_that_does_not_listen_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        monkeypatch.setenv("DATABASE_URL", f"postgresql://postgres:hush@127.0.0.1:{port}/postgres")
        assert "hush" not in unavailable().detail


@on_postgresql
def test_a_database_that_does_not_exist_is_unavailable(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{empty}_not")
    unavailable()


@on_postgresql
@pytest.mark.usefixtures("empty")
def test_a_read_only_server_can_be_read_and_is_unavailable_for_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    use_session(monkeypatch, "-c default_transaction_read_only=on")
    unavailable()
    unavailable(lambda conn: conn.execute(select(cursors.cursors).with_for_update()).all())
    assert stands_at() is None


@on_postgresql
def test_a_connection_that_is_lost_in_a_transaction_is_unavailable_and_the_next_one_works(empty: str) -> None:
    def lose(conn: Connection) -> None:
        write(conn)
        terminate(empty, backend(conn))
        write(conn, 2)

    unavailable(lose)
    assert stands_at() is None
    with transaction() as conn:
        write(conn, 3)
    assert stands_at() == 3


@on_postgresql
def test_a_connection_that_is_lost_at_the_commit_is_unavailable(empty: str) -> None:
    def lose(conn: Connection) -> None:
        write(conn)
        terminate(empty, backend(conn))

    unavailable(lose)
    assert stands_at() is None


@on_postgresql
def test_a_connection_that_is_lost_at_the_rollback_is_unavailable(empty: str) -> None:
    def lose(conn: Connection) -> None:
        write(conn)
        terminate(empty, backend(conn))
        raise RuntimeError

    unavailable(lose)


@on_postgresql
def test_connections_that_died_while_idle_cost_one_transaction_at_most(empty: str) -> None:
    with transaction() as first, transaction() as second:
        pids = [backend(first), backend(second)]
    for pid in pids:
        terminate(empty, pid)
    unavailable()
    with transaction() as conn:
        write(conn)
    assert stands_at() == 1


@on_postgresql
@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("option", ["lock_timeout", "statement_timeout"])
def test_a_row_that_stays_locked_is_unavailable(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_session(monkeypatch, f"-c {option}=100ms")
    with transaction() as conn:
        write(conn)
    with transaction() as holder:
        write(holder, 2)
        unavailable()
    assert stands_at() == 2


@on_postgresql
@pytest.mark.usefixtures("empty")
def test_a_transaction_that_idled_too_long_is_unavailable_and_not_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    use_session(monkeypatch, "-c idle_in_transaction_session_timeout=50ms")

    def idle(conn: Connection) -> None:
        pid = backend(conn)
        url = database.engine().url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as watcher:
            for _ in range(1000):
                if not watcher.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
                    break
                threading.Event().wait(0.01)
        write(conn)

    unavailable(idle)


@on_postgresql
@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(
    "condition",
    ["disk_full", "too_many_connections", "out_of_memory", "cannot_connect_now", "admin_shutdown", "crash_shutdown",
     "connection_failure", "deadlock_detected", "serialization_failure", "query_canceled", "lock_not_available",
     "io_error", "read_only_sql_transaction"],
)  # fmt: skip
def test_a_server_in_trouble_is_unavailable(condition: str) -> None:
    unavailable(lambda conn: conn.exec_driver_sql(f"DO $$ BEGIN RAISE '' USING ERRCODE = '{condition}'; END $$"))


@on_postgresql
@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(
    "condition",
    ["undefined_table", "syntax_error", "division_by_zero", "insufficient_privilege", "check_violation",
     "unique_violation", "program_limit_exceeded", "statement_too_complex", "internal_error", "raise_exception"],
)  # fmt: skip
def test_a_bug_is_not_taken_for_a_server_in_trouble(condition: str) -> None:
    with pytest.raises(DBAPIError), transaction() as conn:
        conn.exec_driver_sql(f"DO $$ BEGIN RAISE '' USING ERRCODE = '{condition}'; END $$")


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(
    "statement", ["SELEC 1", "SELECT * FROM nowhere", "SELECT nothing FROM jobs", "INSERT INTO cursors VALUES (1, 2)"]
)
def test_a_wrong_statement_is_a_bug(statement: str) -> None:
    with pytest.raises(DBAPIError), transaction() as conn:
        conn.exec_driver_sql(statement)
    with pytest.raises(DBAPIError), reading() as conn:
        conn.exec_driver_sql(statement)


@pytest.mark.usefixtures("empty")
def test_a_broken_rule_of_a_table_is_a_bug() -> None:
    with pytest.raises(IntegrityError), transaction() as conn:
        conn.execute(cursors.cursors.insert().values(name="walk", place=None, moved_at=now()))


@on_postgresql
@pytest.mark.usefixtures("empty")
def test_going_on_after_an_error_was_swallowed_is_a_bug() -> None:
    def go_on() -> None:
        with transaction() as conn:
            with suppress(DBAPIError):
                conn.exec_driver_sql("SELECT * FROM nowhere")
            write(conn)

    with pytest.raises(DBAPIError):
        go_on()


# -- the pool


def pool(engine: Engine) -> QueuePool:
    return cast("QueuePool", engine.pool)


@pytest.mark.usefixtures("empty")
def test_when_every_connection_is_in_use_the_next_one_is_unavailable_and_then_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "_pool_size", 20)
    database.configure(2)
    monkeypatch.setattr(pool(database.engine()), "_timeout", 0.05)
    with reading(), reading():
        with pytest.raises(DatabaseUnavailable, match="no database connection"), reading():
            pass
        assert "no database connection" in unavailable().detail
    with reading() as first, reading() as second:
        assert first is not second


@pytest.mark.usefixtures("empty")
def test_a_connection_comes_back_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool(database.engine()), "_timeout", 0.05)
    for face in (transaction, reading):
        for _ in range(30):
            with pytest.raises(RuntimeError), face():
                raise RuntimeError
    assert pool(database.engine()).checkedout() == 0


@pytest.mark.usefixtures("empty")
def test_all_threads_share_one_engine() -> None:
    assert len({id(engine) for engine in race(20, lambda _: database.engine())}) == 1


@pytest.mark.usefixtures("empty")
def test_another_database_has_an_engine_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = database.engine()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    assert database.engine() is not first


@pytest.mark.usefixtures("empty")
def test_disposing_closes_the_connections_and_the_next_use_opens_new_ones() -> None:
    first = database.engine()
    with transaction() as conn:
        write(conn)
    assert pool(first).checkedin() == 1
    database.dispose()
    assert pool(first).checkedin() == 0
    assert database.engine() is not first
    assert stands_at() == 1


def in_a_child(work: Callable[[], str]) -> str:
    """What `work` answers in a forked process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, work().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return told


@on_postgresql
@pytest.mark.usefixtures("empty")
def test_a_forked_child_has_connections_of_its_own_and_leaves_the_parents_alone() -> None:
    with transaction() as conn:
        mine = backend(conn)

    def child() -> str:
        with transaction() as conn:
            write(conn, 7)
            theirs = backend(conn)
        database.dispose()
        return str(theirs)

    assert in_a_child(child) not in ("", str(mine))
    with transaction() as conn:
        assert backend(conn) == mine  # the child closed its own only
    assert stands_at() == 7


@on_sqlite
@pytest.mark.usefixtures("empty")
def test_a_forked_child_opens_the_file_for_itself() -> None:
    with transaction() as conn:
        write(conn)
    mine = id(database.engine())
    assert in_a_child(lambda: f"{id(database.engine()) == mine} {stands_at()}") == "False 1"
