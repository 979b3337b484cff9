"""The one cap on jobs in flight of this process, and the gate for a job that must run alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock

GATHER_SECONDS = 0.05
"""For who had to wait: so long at most until a share of the slots is free, for one claim costs as much as many."""
SHARE = 8


class Slots:
    """Counts jobs in flight.

    Args:
        cap: how many may run side by side.
    """

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self._busy = 0
        self._alone = 0  # jobs that run alone or wait to: nobody new comes in before them
        self._changed = Condition()
        self._enough = 1  # free slots that the one at the turnstile waits for
        self._turnstile = Lock()  # the others wait here, so that a slot given back wakes one and not a crowd

    def take(self, wanted: int) -> int:
        """Take between 1 and `wanted` slots, as many as are free; waits for the first, and then a moment for more."""
        with self._turnstile, self._changed:
            if not self._is_open():
                self._enough = max(min(wanted, self.cap // SHARE), 1)
                while not self._changed.wait_for(self._has_enough, GATHER_SECONDS) and not self._is_open():
                    pass
            taken = min(wanted, self.cap - self._busy)
            self._busy += taken
            return taken

    def give(self, count: int = 1) -> None:
        """Give slots back."""
        with self._changed:
            self._busy -= count
            if self._alone or self._has_enough():
                self._changed.notify_all()

    def _is_open(self) -> bool:
        return self._busy < self.cap and not self._alone

    def _has_enough(self) -> bool:
        return self.cap - self._busy >= self._enough and not self._alone

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the process to oneself: waits until nothing runs, and nothing starts meanwhile."""
        with self._turnstile, self._changed:  # behind who waits there: many who want to be alone starve nobody
            self._alone += 1
        taken = 0
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._busy == 0)
                taken = self._busy = self.cap  # a second one waits for us
            yield
        finally:
            with self._changed:
                self._busy -= taken
                self._alone -= 1
                self._changed.notify_all()
