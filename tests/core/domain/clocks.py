"""The database's clock, moved: what the SQL asks for is shifted, the process's own clock stays as it is."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import event, select

from core import database
from core.database import now, reading

FORMAT = "%Y-%m-%d %H:%M:%f"

# A function in a schema that is searched before the system's own hides the one of the same name.
SHIFTED = """
    CREATE SCHEMA IF NOT EXISTS shifted;
    CREATE TABLE IF NOT EXISTS shifted.clock (seconds double precision NOT NULL);
    DELETE FROM shifted.clock;
    INSERT INTO shifted.clock VALUES (0);
    CREATE OR REPLACE FUNCTION shifted.statement_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    $$ SELECT pg_catalog.statement_timestamp() + (SELECT seconds FROM shifted.clock) * interval '1 second' $$;
"""


class DatabaseClock:
    """Moves the clock of the database at `url` (which is `DATABASE_URL`).

    Args:
        url: SQLite or PostgreSQL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._seconds = 0.0
        self._is_sqlite = url.startswith("sqlite")
        if not self._is_sqlite:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(SHIFTED)
        database.dispose()  # what is connected already keeps the old clock
        event.listen(database.engine(), "connect", self._use_shifted)

    def forward(self, seconds: float) -> None:
        """Let this time pass (or come back, when negative)."""
        self._seconds += seconds
        if not self._is_sqlite:
            with psycopg.connect(self._url, autocommit=True) as connection:
                connection.execute("UPDATE shifted.clock SET seconds = %s", (self._seconds,))

    def set(self, moment: datetime) -> None:
        """Make it `moment` now."""
        self.forward((moment - self.now()).total_seconds())

    def now(self) -> datetime:
        """What the database takes for the current time."""
        with reading() as conn:
            return conn.execute(select(now())).scalar_one()

    def _use_shifted(self, connection: Any, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.create_function("strftime", -1, self._strftime)
            return
        connection.execute("SET search_path TO shifted, pg_catalog, public")
        connection.commit()

    def _strftime(self, form: str, origin: str, *modifiers: str) -> str:
        if form != FORMAT:
            raise NotImplementedError(form)
        seconds = sum(float(modifier.removesuffix(" seconds")) for modifier in modifiers)
        if origin == "now":
            start = datetime.now(UTC) + timedelta(seconds=self._seconds)
        else:
            start = datetime.fromisoformat(origin).replace(tzinfo=UTC)
        moment = start + timedelta(seconds=seconds)
        return moment.isoformat(" ", "milliseconds").removesuffix("+00:00")
