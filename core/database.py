"""The engine, transactions, and the database's own clock. SQLite and PostgreSQL behind one face."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from sqlalchemy import JSON, DateTime, Float, MetaData, Row, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from core import revision, settings
from core.errors import Retryable

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

AnyRow = Row[*tuple[Any, ...]]
JSONDocument = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

SQLITE_BUSY_SECONDS = 30
POOL_TIMEOUT_SECONDS = 10.0
# What PostgreSQL files under "internal error" although it only means: not now (a read-only replica, an idle timeout).
POSTGRES_NOT_NOW = frozenset({"25006", "25P03"})
POSTGRES_LIMIT_EXCEEDED = "54"  # the class of statements that are too large: repeating them cannot help
SQLITE_GENERIC_ERROR = 1  # a statement that is wrong, not a database that is away
POSTGRES_NO_SUCH = frozenset({"42P01", "42703"})  # table, column
POSTGRES_SESSION = (
    "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s"
)


class DatabaseUnavailable(Retryable):
    """The database did not answer, refused to write, or gave up on a lock.

    When it is raised by a commit, whether the transaction happened is unknown.
    """


class SchemaOutdated(DatabaseUnavailable):
    """The database has no schema, or an older one than this program needs."""

    def __init__(self) -> None:
        super().__init__("the database has no schema, or an old one: run `python -m core.migrations`")


class Timestamp(TypeDecorator[datetime]):
    """A timezone-aware UTC moment; SQLite keeps it as text in UTC that sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times; SQLite stores no offset, so give it UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time needs its timezone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Every time that leaves the database is aware and UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock: the only one that decides about leases and run_at."""

    type = Timestamp()
    inherit_cache = True


class now_plus(FunctionElement[datetime]):  # noqa: N801
    """The database's clock plus the given seconds (a number or an SQL expression)."""

    type = Timestamp()
    inherit_cache = True


class later(FunctionElement[datetime]):  # noqa: N801
    """A moment plus the given seconds, both SQL expressions."""

    type = Timestamp()
    inherit_cache = True


class seconds_between(FunctionElement[float]):  # noqa: N801
    """The seconds from a moment to a later one, both SQL expressions."""

    type = Float()
    inherit_cache = True


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    return "statement_timestamp()"  # stable within a statement, so that an index serves `<= now()`


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"


@compiles(now_plus, "postgresql")
def _now_plus_postgresql(element: now_plus, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(statement_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(now_plus, "sqlite")
def _now_plus_sqlite(element: now_plus, compiler: SQLCompiler, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000')"


@compiles(later, "postgresql")
def _later_postgresql(element: later, compiler: SQLCompiler, **kw: Any) -> str:
    moment, seconds = (compiler.process(one, **kw) for one in element.clauses)
    return f"({moment} + make_interval(secs => {seconds}))"


@compiles(later, "sqlite")
def _later_sqlite(element: later, compiler: SQLCompiler, **kw: Any) -> str:
    moment, seconds = (compiler.process(one, **kw) for one in element.clauses)
    return f"(strftime('%Y-%m-%d %H:%M:%f', {moment}, ({seconds}) || ' seconds') || '000')"


@compiles(seconds_between, "postgresql")
def _seconds_between_postgresql(element: seconds_between, compiler: SQLCompiler, **kw: Any) -> str:
    earlier, later = (compiler.process(one, **kw) for one in element.clauses)
    return f"EXTRACT(EPOCH FROM {later} - {earlier})::float8"


@compiles(seconds_between, "sqlite")
def _seconds_between_sqlite(element: seconds_between, compiler: SQLCompiler, **kw: Any) -> str:
    earlier, later = (compiler.process(one, **kw) for one in element.clauses)
    return f"((julianday({later}) - julianday({earlier})) * 86400.0)"


def insert_into(conn: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """The dialect's INSERT, which knows ON CONFLICT; both write it alike."""
    return postgresql.insert(table) if conn.dialect.name == "postgresql" else sqlite.insert(table)


_lock = Lock()
_engines: dict[tuple[int, str], Engine] = {}
_pool_size = 20


def configure(pool_size: int) -> None:
    """Size the connection pool of engines built from now on (a worker's cap on jobs in flight)."""
    global _pool_size
    _pool_size = pool_size


def engine() -> Engine:
    """This process's engine for `DATABASE_URL`. Keyed by process: a forked child must not share sockets."""
    key = (os.getpid(), _url())
    found = _engines.get(key)
    if found is None:
        with _lock:
            found = _engines.get(key) or _engines.setdefault(key, _build(key[1]))
    return found


_found_url: tuple[tuple[str | None, ...], str] | None = None


def _url() -> str:
    # All settings are read again only when one of these changed: this is asked for each statement.
    global _found_url
    named = (os.environ.get("DATABASE_URL"), os.environ.get("STATE_DIR"))
    found = _found_url
    if found is None or found[0] != named:
        found = _found_url = (named, settings.load().database_url)
    return found[1]


def dispose() -> None:
    """Close this process's connections."""
    with _lock:
        for key in [key for key in _engines if key[0] == os.getpid()]:
            _engines.pop(key).dispose()


def _build(url: str) -> Engine:
    if url.startswith("sqlite"):
        built = create_engine(
            url,
            hide_parameters=True,  # an error's text goes to the log, and a webhook's body must not
            connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False},
            pool_size=_pool_size,
            max_overflow=0,
        )
        event.listen(built, "connect", _sqlite_session)
        event.listen(built, "begin", _sqlite_begin)
        return built
    built = create_engine(
        url,
        hide_parameters=True,
        connect_args={
            "connect_timeout": 5,
            "options": POSTGRES_SESSION,
            # A peer that went away silently is noticed within this, not after the kernel's fifteen minutes.
            "tcp_user_timeout": 15_000,
            "keepalives_idle": 10,
        },
        pool_size=_pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
    )
    event.listen(built, "connect", _postgres_ids)
    return built


def _postgres_ids(connection: Any, record: object) -> None:
    from psycopg.types.string import TextLoader

    connection.adapters.register_loader("uuid", TextLoader)  # text as in our tables, past SQLAlchemy too


def _sqlite_session(connection: Any, record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, the driver would say it too late
    _use_wal(connection)
    # Without recursive triggers a REPLACE would delete a row of the ledger behind its trigger's back.
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: sqlite3.Connection) -> None:
    # A new file is switched once, by the first of its programs; SQLite does not make the others wait for that.
    give_up_at = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)
        else:
            return


def _sqlite_begin(connection: Connection) -> None:
    # A plain BEGIN that later writes fails at once when another writer was faster, whatever the busy timeout.
    reading_only = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading_only else "BEGIN IMMEDIATE")


@contextmanager
def transaction() -> Iterator[Connection]:
    """A writing transaction: commits at the end, rolls back on any exception. Never open it across the network.

    Raises:
        DatabaseUnavailable: the database is away, full, read-only or locked for too long.
    """
    with translated(), engine().begin() as connection:
        yield connection


@contextmanager
def reading() -> Iterator[Connection]:
    """A transaction that only reads (on SQLite it waits for no writer).

    Raises:
        DatabaseUnavailable: the database is away.
    """
    with translated(), engine().connect().execution_options(reading=True) as connection:
        yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Raise `DatabaseUnavailable` for what SQLAlchemy raises when the database is away."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable("no database connection became free in time") from error
    except DBAPIError as error:
        if _misses_something(error) and _is_outdated():
            raise SchemaOutdated from error
        if not _is_unavailable(error):
            raise
        raise DatabaseUnavailable(f"the database is not available ({type(error.orig).__name__})") from error


def check_schema() -> None:
    """Look whether the database has this program's schema.

    Raises:
        SchemaOutdated: it has none, or an older one.
        DatabaseUnavailable: the database is away.
    """
    with reading() as connection:
        if revision.outdated(connection):
            raise SchemaOutdated


def _misses_something(error: DBAPIError) -> bool:
    if getattr(error.orig, "sqlstate", None) in POSTGRES_NO_SUCH:
        return True
    return getattr(error.orig, "sqlite_errorcode", None) == SQLITE_GENERIC_ERROR


def _is_outdated() -> bool:
    # With the right schema, a statement that names what is not there is a bug of ours.
    try:
        with engine().connect() as connection:
            return revision.outdated(connection)
    except DBAPIError:
        return False


def _is_unavailable(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or ""
    if isinstance(error, InternalError):
        return state in POSTGRES_NOT_NOW
    if not isinstance(error, OperationalError | InterfaceError) or state.startswith(POSTGRES_LIMIT_EXCEEDED):
        return False
    return getattr(error.orig, "sqlite_errorcode", None) != SQLITE_GENERIC_ERROR
