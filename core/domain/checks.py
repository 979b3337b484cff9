"""When Stripe is asked about one object by itself: soon after it was made, then less and less often."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select, update

from core.database import now, now_plus

FIRST_CHECK_SECONDS, LAST_CHECK_SECONDS = 600, 86_400
"""An open object is asked about after ten minutes, then whenever its age has doubled, at least daily."""
ASKING_SECONDS = 120
"""One that is being asked about is not due for two leases: should it take its worker away, others come first."""


def first() -> ColumnElement[Any]:
    """When an object that is made now is asked about first."""
    return now_plus(FIRST_CHECK_SECONDS)


def put_off(conn: Connection, table: Table, row_id: str, seconds: float) -> None:
    """It is due in so many seconds, behind all that are due before that."""
    conn.execute(update(table).where(table.c.id == row_id).values(check_at=now_plus(seconds)))


def checked(conn: Connection, table: Table, row_id: str, created_at: datetime) -> None:
    """Stripe was asked: ask again when the object is twice as old, at least daily."""
    age = (conn.execute(select(now())).scalar_one() - created_at).total_seconds()
    _ask_again(conn, table, row_id, age, check_failures=0)


def not_shown(conn: Connection, table: Table, row_id: str) -> int:
    """Stripe failed to show it: ask again, each time after twice as long, at least daily.

    Returns:
        How often in a row it has failed.
    """
    failed = update(table).where(table.c.id == row_id).values(check_failures=table.c.check_failures + 1)
    times = int(conn.execute(failed.returning(table.c.check_failures)).scalar_one())
    _ask_again(conn, table, row_id, FIRST_CHECK_SECONDS * 2.0 ** min(times - 1, 16))
    return times


def _ask_again(conn: Connection, table: Table, row_id: str, seconds: float, **values: Any) -> None:
    delay = min(max(seconds, FIRST_CHECK_SECONDS), LAST_CHECK_SECONDS)
    conn.execute(update(table).where(table.c.id == row_id).values(check_at=now_plus(delay), **values))
