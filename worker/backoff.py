"""How long to wait before trying again."""

from __future__ import annotations

import random

LONGEST_DELAY = 300.0


def backoff(attempts: int) -> float:
    """Seconds to wait after so many attempts: 1, 2, 4 ... up to five minutes, give or take a fifth."""
    return min(2.0 ** min(attempts - 1, 16), LONGEST_DELAY) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load


def no_sooner(delay: float) -> float:
    """A delay that somebody asked for, or up to a fifth more: those who were told the same do not come back at once."""
    return delay * random.uniform(1.0, 1.2)  # noqa: S311 - spreads load
