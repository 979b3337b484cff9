"""A clock that tests can move."""

from __future__ import annotations

import pytest

from tests.core.domain.clocks import DatabaseClock


@pytest.fixture
def clock(database_url: str) -> DatabaseClock:
    """The clock of the test's database."""
    return DatabaseClock(database_url)
