"""`kill -9` inside one process: an attempt ends where it stands, and nothing that follows it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core import crashpoints


class Killed(BaseException):
    """Nothing catches it, as nothing catches a SIGKILL; open transactions roll back, as the database would do."""


KillAt = Callable[..., list[str]]
"""Call it with a crash point (and how often); the list that it returns tells what was killed since."""


def killing(monkeypatch: pytest.MonkeyPatch) -> KillAt:
    """A function that arms a crash point of this process."""

    def kill_at(point: str, times: int = 1) -> list[str]:
        struck: list[str] = []

        def our_turn(name: str) -> bool:
            if len(struck) == times:
                return False
            struck.append(name)
            raise Killed(name)

        monkeypatch.setattr(crashpoints, "_armed", point)
        monkeypatch.setattr(crashpoints, "_our_turn", our_turn)
        return struck

    return kill_at
