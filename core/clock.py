"""Time is timezone-aware UTC. What decides (leases, run_at) uses the database's clock, see `core.database.now`."""

from __future__ import annotations

from datetime import UTC, datetime


def utcnow() -> datetime:
    """This machine's current time."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`2026-01-02T03:04:05.678Z`, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
