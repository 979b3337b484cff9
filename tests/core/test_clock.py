"""Time is aware and UTC, and printed to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from core.clock import rfc3339, utcnow


def test_now_is_utc() -> None:
    before = datetime.now(UTC)
    assert before <= utcnow() <= datetime.now(UTC)
    assert utcnow().utcoffset() == timedelta(0)


def test_a_moment_is_printed_in_utc_to_the_millisecond() -> None:
    noon = datetime(2026, 1, 2, 12, 4, 5, 678_999, tzinfo=timezone(timedelta(hours=9)))
    assert rfc3339(noon) == "2026-01-02T03:04:05.678Z"
    assert rfc3339(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00.000Z"
