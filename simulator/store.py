"""The durable state: one SQLite file, one connection, one transaction per effect."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulator.errors import JSON, no_such
from simulator.schema import SCHEMA, TABLES

LINKS = ("customer", "payment_intent", "charge", "type", "source", "email")
_INSERT = """INSERT INTO objects (id, kind, created, customer, payment_intent, charge, type, source, email, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_UPDATE = """UPDATE objects SET customer = ?, payment_intent = ?, charge = ?, type = ?, source = ?, email = ?, body = ?
WHERE id = ?"""


dumps = json.JSONEncoder(separators=(",", ":")).encode
"""Compact JSON; one encoder, since json.dumps would build one per call."""


def public(item: JSON) -> JSON:
    """The object as an API answer shows it: members that begin with _ are the simulator's own."""
    return {name: value for name, value in item.items() if name[0] != "_"}


class Transaction:
    """The open transaction: reads, and writes that all happen or none."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.execute = connection.execute

    def add(self, item: JSON) -> JSON:
        """Store a new object; its kind is its `object` member."""
        links = [item.get(link) for link in LINKS]
        self.execute(_INSERT, (item["id"], item["object"], item["created"], *links, dumps(item)))
        return item

    def put(self, item: JSON) -> JSON:
        """Store the changed state of an object."""
        self.execute(_UPDATE, (*(item.get(link) for link in LINKS), dumps(item), item["id"]))
        return item

    def find(self, kind: str, object_id: str | None) -> JSON | None:
        """The object, or None."""
        row = self.execute("SELECT body FROM objects WHERE id = ? AND kind = ?", (object_id, kind)).fetchone()
        return json.loads(row[0]) if row else None

    def get(self, kind: str, object_id: str, param: str = "id") -> JSON:
        """The object.

        Raises:
            ApiError: resource_missing: 404 for the addressed object, 400 where `param` names it.
        """
        found = self.find(kind, object_id)
        if found is None or (found.get("deleted") and param != "id"):
            raise no_such(kind, object_id, param)
        return found

    def later(self, due: float, action: str, object_id: str) -> None:
        """Have `action` happen to the object at `due` (simulator clock)."""
        self.execute("INSERT INTO timers (due, action, object) VALUES (?, ?, ?)", (due, action, object_id))


class Store:
    """Opens STATE_DIR/simulator.db. WAL with synchronous=NORMAL survives kill -9 at any instruction."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        # One connection behind one lock: effects are serial, so SQLite never has to say "locked".
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            directory / "simulator.db", isolation_level=None, check_same_thread=False, cached_statements=256
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All of the block, or nothing of it."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Reads of one moment: the lock keeps every writer out."""
        with self._lock:
            yield Transaction(self._connection)

    def clear(self) -> None:
        """Forget everything: the tables are dropped, since two of them refuse deletion."""
        drops = "".join(f"DROP TABLE IF EXISTS {table};" for table in TABLES)
        with self._lock:
            self._connection.executescript(f"BEGIN IMMEDIATE; {drops} {SCHEMA} COMMIT;")

    def close(self) -> None:
        """Close the file, after a transaction that is still under way."""
        with self._lock:
            self._connection.close()
