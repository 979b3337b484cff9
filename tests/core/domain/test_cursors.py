"""Cursors: where a walk stands, moved together with what it found."""

from __future__ import annotations

import pytest

from core.database import reading, transaction
from core.domain import cursors
from tests.core.domain import shop

pytestmark = pytest.mark.usefixtures("database_url")


def test_a_walk_starts_nowhere_and_goes_on_where_it_stopped() -> None:
    with transaction() as conn:
        assert cursors.place(conn, "events") == {}
        cursors.move(conn, "events", {"since": 1})
        cursors.move(conn, "events", {"since": 2, "after": "evt_1"})
        cursors.move(conn, "refunds", {"since": 9})
    with reading() as conn:
        assert cursors.place(conn, "events") == {"since": 2, "after": "evt_1"}
        assert cursors.place(conn, "refunds") == {"since": 9}


def test_a_step_that_was_rolled_back_is_walked_again() -> None:
    with shop.dying() as conn:
        cursors.move(conn, "events", {"since": 1})
    with reading() as conn:
        assert cursors.place(conn, "events") == {}
