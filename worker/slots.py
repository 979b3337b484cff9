"""The one cap on jobs in flight of this process, and the gate for a job that must run alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


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

    def take(self, wanted: int) -> int:
        """Take between 1 and `wanted` slots, as many as are free; waits for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._busy < self.cap and not self._alone)
            taken = min(wanted, self.cap - self._busy)
            self._busy += taken
            return taken

    def give(self, count: int = 1) -> None:
        """Give slots back."""
        with self._changed:
            self._busy -= count
            self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the process to oneself: waits until nothing runs, and nothing starts meanwhile."""
        with self._changed:
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
