"""A job's timeline: in the order of writing, never changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.database import reading, transaction
from core.domain import timeline
from core.domain.timeline import Note
from core.ids import new_id

pytestmark = pytest.mark.usefixtures("database_url")


def test_events_are_read_in_the_order_of_writing_whatever_their_clocks_say() -> None:
    job_id = new_id()
    late, early = datetime.now(UTC), datetime.now(UTC) - timedelta(hours=1)
    with transaction() as conn:
        timeline.write(conn, [(job_id, Note("first", at=late)), (job_id, Note("second", {"n": 2}, early))])
        timeline.write(conn, [(new_id(), Note("of another job"))])
    with transaction() as conn:
        timeline.write(conn, [(job_id, Note("third"))])
    with reading() as conn:
        found = timeline.read(conn, job_id)
    assert [(event.what, event.data) for event in found] == [("first", None), ("second", {"n": 2}), ("third", None)]
    assert [event.at for event in found[:2]] == [late, early]
    assert found[0].id < found[1].id < found[2].id


def test_a_follower_reads_only_what_is_new() -> None:
    job_id = new_id()
    with transaction() as conn:
        timeline.write(conn, [(job_id, Note(str(number))) for number in range(4)])
        seen = timeline.read(conn, job_id)[1]
        assert [event.what for event in timeline.read(conn, job_id, after=seen.id)] == ["2", "3"]


def test_a_long_line_is_cut_rather_than_refused() -> None:
    job_id = new_id()
    with transaction() as conn:
        timeline.write(conn, [(job_id, Note("x" * 1000))])
        assert [event.what for event in timeline.read(conn, job_id)] == ["x" * 200]


def test_nothing_to_write_writes_nothing() -> None:
    with transaction() as conn:
        timeline.write(conn, [])
        assert timeline.read(conn, new_id()) == []
