"""What a key of the cache holds: a JSON array of the value and of the seconds that it took to compute."""

from __future__ import annotations

import json
import math
import random
from typing import Any, NamedTuple

from core.logs import get_logger

logger = get_logger(__name__)


class Seen(NamedTuple):
    """What Redis held under a key."""

    text: str = ""
    hit: bool = False
    value: Any = None
    cost: float = 0.0  # seconds that it took to compute, 0 when it was simply set
    left: float = 0.0  # seconds until it expires

    def nearly_over(self, early: float) -> bool:
        """Whether this caller should compute it again already: the dice decide, loaded by cost and closeness.

        Args:
            early: how eagerly; 0 never.
        """
        return self.left <= -self.cost * early * math.log(1.0 - random.random())  # noqa: S311 - spreads load


def encoded(key: str, value: object, cost: float = 0.0) -> str | None:
    """The text to store, or None, with a warning, for what JSON cannot hold."""
    try:
        return json.dumps([value, round(cost, 6)], allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        logger.warning("a value was not cached: JSON cannot hold it", extra={"key": key, "reason": str(error)})
        return None


def decoded(key: str, text: str | None, left: float) -> Seen:
    """The entry in `text`; content that is not ours is a miss, with a warning.

    Args:
        left: seconds until it expires.
    """
    if text is None:
        return Seen()
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, list) and len(found) == 2 and isinstance(found[1], int | float):
        return Seen(text, True, found[0], found[1], left)
    logger.warning("a cached value is not ours: a miss", extra={"key": key})
    return Seen(text)
