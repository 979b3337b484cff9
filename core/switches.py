"""The switches that are asked on every call, apart from the settings so that asking costs no import."""

from __future__ import annotations

import os

# The words that pydantic reads as true, so that a switch and the settings never disagree.
_ON = frozenset({"1", "true", "t", "yes", "y", "on"})


def enabled(name: str) -> bool:
    """Whether the variable `name`, for example `REDIS_ENABLED`, is on in the environment right now.

    Reads nothing else and never raises: a word that is neither true nor false counts as off here, and
    `core.settings.load` refuses it.
    """
    value = os.environ.get(name)
    return value is not None and value.strip().lower() in _ON
