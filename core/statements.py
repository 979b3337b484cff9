"""The door for a hot PostgreSQL statement: a transaction of its own, always prepared, nothing compiled in between.

SQLAlchemy costs eight times as much as the statement itself; what runs once or twice for every job goes through here.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple, cast

from sqlalchemy import ClauseElement, Connection, Executable, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from core.database import POOL_TIMEOUT_SECONDS, engine, translated

if TYPE_CHECKING:
    import psycopg

# Every hot statement finds its rows by key. What PostgreSQL plans for empty tables it keeps, and while they grow for
# the first time, before anything has counted them, it would read them from end to end for every statement.
_BY_KEY = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off"
MOST_CONNECTIONS = 8
"""A statement has its connection for a millisecond or two, so a few serve thousands of statements a second."""


def is_postgresql() -> bool:
    """Whether `DATABASE_URL` names PostgreSQL: on SQLite the plain transaction stays."""
    return engine().dialect.name == "postgresql"


def run_statement(sql: LiteralString, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one PostgreSQL statement as a transaction of its own.

    Args:
        sql: with `%(name)s` placeholders, the same text each time (`prepared` makes it of a statement of SQLAlchemy's);
            longer than 4,096 characters it is parsed anew each time.
        params: their values. Text is an unknown literal that takes the type of its place, a dict is jsonb.

    Returns:
        Its rows; ids are text, moments aware.

    Raises:
        DatabaseUnavailable: as from a transaction; whether the statement happened is then unknown.
    """
    import psycopg

    built = engine()
    with translated():
        try:
            return _pool(built).run(sql, params)
        except psycopg.Error as error:
            raise DBAPIError.instance(
                sql, None, error, psycopg.Error, hide_parameters=True, dialect=built.dialect
            ) from error


def run_within(conn: Connection, sql: LiteralString, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one PostgreSQL statement in the transaction of `conn`, past SQLAlchemy.

    Args:
        sql: as for `run_statement`.
        params: their values; a dict is jsonb.

    Raises:
        DBAPIError: what the driver raised, for `transaction` to translate.
    """
    import psycopg

    # As text: the connection is SQLAlchemy's, which writes JSON so, and has no dumper for it.
    given = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in params.items()}
    cursor: psycopg.Cursor[tuple[Any, ...]] = cast("Any", conn.connection.driver_connection).cursor()
    try:
        cursor.execute(sql, given, prepare=True)
        return cursor.fetchall() if cursor.description else []
    except psycopg.Error as error:
        raise DBAPIError.instance(
            sql, None, error, psycopg.Error, hide_parameters=True, dialect=conn.dialect
        ) from error


def first_within(conn: Connection, statement: Callable[[], Executable], **values: Any) -> Sequence[Any] | None:
    """The first row of a hot statement in the transaction of `conn`: on PostgreSQL prepared, past SQLAlchemy.

    Args:
        statement: makes it, the same each time, with a parameter for each of `values`; a module's function, asked once.
    """
    if conn.dialect.name != "postgresql":
        return conn.execute(_made(statement), values).first()
    sql, fixed = _prepared(statement)
    rows = run_within(conn, sql, {**fixed, **values})
    return rows[0] if rows else None


@cache
def _made(statement: Callable[[], Executable]) -> Executable:
    return statement()


@cache
def _prepared(statement: Callable[[], Executable]) -> tuple[LiteralString, dict[str, Any]]:
    return prepared(statement())


def columns(rows: Sequence[NamedTuple]) -> dict[str, list[Any]]:
    """What many rows, at least one, give to a statement for all of them: each field as one array under its name."""
    return {name: list(values) for name, values in zip(rows[0]._fields, zip(*rows, strict=True), strict=True)}


def prepared(statement: Executable) -> tuple[LiteralString, dict[str, Any]]:
    """A PostgreSQL statement's SQL and the values that it has already, so that hot and plain callers share one source.

    Returns:
        What to call `run_statement` with: the text, and the parameters to be completed by those named in the statement.
    """
    made = cast("ClauseElement", statement).compile(dialect=engine().dialect)
    return str(made), dict(made.params)


class Pool:
    """Autocommit connections; for threads and greenlets. Belongs to one engine, and so to one process.

    Args:
        built: the engine whose address and session options they share.
        size: how many at most.
    """

    def __init__(self, built: Engine, size: int) -> None:
        self._engine = built
        self._room = BoundedSemaphore(size)
        self._idle: deque[psycopg.Cursor[tuple[Any, ...]]] = deque()  # used as a stack: what is spare stays unopened
        self._closed = False

    def run(self, sql: LiteralString, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one statement on a connection that nobody else has meanwhile."""
        if not self._room.acquire(timeout=POOL_TIMEOUT_SECONDS):
            raise PoolTimeout
        try:
            cursor = self._taken()
            try:
                cursor.execute(sql, params, prepare=True)
                rows = cursor.fetchall() if cursor.description else []
            except BaseException:
                self._doubtful(cursor)
                raise
            self._give(cursor)
            return rows
        finally:
            self._room.release()

    def close(self) -> None:
        """Close what is idle now, and what is in use when it comes back."""
        self._closed = True
        self._close_idle()

    def _give(self, cursor: psycopg.Cursor[tuple[Any, ...]]) -> None:
        self._idle.append(cursor)
        if self._closed:
            self._close_idle()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().connection.close()

    def _taken(self) -> psycopg.Cursor[tuple[Any, ...]]:
        try:
            return self._idle.pop()
        except IndexError:
            return _connected(self._engine).cursor()

    def _doubtful(self, cursor: psycopg.Cursor[tuple[Any, ...]]) -> None:
        from psycopg.pq import TransactionStatus

        if cursor.connection.info.transaction_status == TransactionStatus.IDLE:
            self._give(cursor)  # the statement was wrong, not the connection
            return
        lost = cursor.connection.broken
        cursor.connection.close()
        if lost:  # the server went away: the others are as dead
            self._close_idle()


def _connected(built: Engine) -> psycopg.Connection[tuple[Any, ...]]:
    from psycopg.types.json import JsonbDumper
    from psycopg.types.string import TextLoader

    opened = built.raw_connection()  # the engine opens it, so that it is like all the others
    connection = cast("psycopg.Connection[tuple[Any, ...]]", opened.driver_connection)
    opened.detach()
    connection.adapters.register_loader("uuid", TextLoader)
    connection.adapters.register_dumper(dict, JsonbDumper)
    try:
        connection.autocommit = True
        connection.execute(_BY_KEY)
    except BaseException:
        connection.close()
        raise
    return connection


_lock = Lock()
_pools: dict[Engine, Pool] = {}


def _pool(built: Engine) -> Pool:
    found = _pools.get(built)
    if found is None:
        with _lock:
            found = _pools.get(built)
            if found is None:
                size = min(cast("QueuePool", built.pool).size(), MOST_CONNECTIONS)
                found = _pools[built] = Pool(built, size)
                event.listen(built, "engine_disposed", _dispose)
    return found


def _dispose(built: Engine) -> None:
    pool = _pools.pop(built, None)
    if pool is not None:
        pool.close()
