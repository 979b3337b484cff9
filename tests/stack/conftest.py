"""Fixtures of the stack's tests."""

from __future__ import annotations

import pytest

from tests.stack.processes import Transcript


@pytest.fixture
def transcript() -> Transcript:
    """Where a stack under test speaks."""
    return Transcript()
