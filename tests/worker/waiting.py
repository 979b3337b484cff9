"""Waiting for what happens elsewhere, with a bound that only a hung test reaches."""

from __future__ import annotations

import time
from collections.abc import Callable

BOUND_SECONDS = 60.0


def eventually(condition: Callable[[], object], what: str) -> None:
    """Poll until the condition holds; fails naming `what` when it never does."""
    deadline = time.monotonic() + BOUND_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)
