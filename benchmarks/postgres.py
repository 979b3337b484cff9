"""A database of the benchmark's own on a PostgreSQL server that keeps every promise, and what it costs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from benchmarks import machine

USUAL = "postgresql://postgres@127.0.0.1:5432/postgres"
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
TOLD = (*DURABLE, "server_version", "shared_buffers", "max_wal_size", "max_connections", "autovacuum")


class NotDurable(Exception):
    """The server would not survive a crash with all that it acknowledged: nothing measured on it counts."""


class Database:
    """One database and a connection to look into it.

    Args:
        url: its address.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._link = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        self._backends: dict[int, float] = {}

    def run(self, statement: LiteralString) -> None:
        """Execute a statement."""
        self._link.execute(statement)

    def script(self, statements: str) -> None:
        """Execute statements of our own files."""
        self._link.execute(statements.encode())

    def rows(self, statement: LiteralString, values: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        """All rows that a query finds."""
        return self._link.execute(statement, values or None).fetchall()

    def one(self, statement: LiteralString, values: Sequence[object] | Mapping[str, object] = ()) -> Any:
        """The first column of the first row."""
        return self.rows(statement, values)[0][0]

    def copy(self, statement: LiteralString) -> AbstractContextManager[psycopg.Copy]:
        """Bulk loading: `with database.copy("COPY t (a) FROM STDIN") as to: to.write_row((1,))`."""
        return self._link.cursor().copy(statement)

    def tables(self) -> list[str]:
        """Names of its tables, without the migrations' own."""
        found = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> %s",
                          ("alembic_version",))  # fmt: skip
        return [name for (name,) in found]

    def empty(self) -> None:
        """Remove all rows; the ledger's own guard against that is off for this statement."""
        with self._link.transaction():
            self.run("SET LOCAL session_replication_role = replica")
            names = sql.SQL(", ").join(map(sql.Identifier, self.tables()))
            self._link.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(names))

    def settle(self) -> None:
        """Do now what would otherwise fall into somebody's measured time: statistics, and a checkpoint."""
        self.run("ANALYZE")
        self.run("CHECKPOINT")

    def backends(self) -> list[int]:
        """Processes that serve this database's other clients."""
        found = self.rows("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                          " AND pid <> pg_backend_pid()")  # fmt: skip
        return [pid for (pid,) in found]

    def cpu_seconds(self) -> float:
        """CPU time of all backends seen so far: call it now and then, or one that ends in between is missed."""
        self._backends |= {pid: machine.cpu_seconds([pid]) for pid in self.backends()}
        return sum(self._backends.values())

    def close(self) -> None:
        """Disconnect."""
        self._link.close()


@contextmanager
def fresh(server: str, purpose: str) -> Iterator[Database]:
    """A database of its own, dropped at the end."""
    name = f"counterfoil_bench_{os.getpid()}_{purpose}"
    try:  # Ctrl-C may come right after its creation, too
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with closing(Database(_of(server, name))) as database:
            yield database
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def facts(server: str) -> dict[str, str]:
    """The settings that a reader must know.

    Raises:
        NotDurable: one of them trades promises for speed.
    """
    with psycopg.connect(server) as link:
        settings = link.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", (list(TOLD),)
        ).fetchall()
    found: dict[str, str] = dict(settings)
    for name, wanted in DURABLE.items():
        if found[name] != wanted:
            raise NotDurable(f"PostgreSQL runs with {name} = {found[name]}; it should be {wanted}")
    return found


def free_bytes(database: Database) -> int | None:
    """What the server's disk has left; None when its folder is not on this machine."""
    folder = Path(database.one("SELECT current_setting('data_directory')"))
    return shutil.disk_usage(folder).free if folder.exists() else None


def _of(server: str, name: str) -> str:
    parts = conninfo_to_dict(server)
    where = f"{parts.get('host', '127.0.0.1')}:{parts.get('port', 5432)}"
    user = parts.get("user", "postgres")
    who = f"{user}:{parts['password']}" if parts.get("password") else user
    return f"postgresql://{who}@{where}/{name}"
