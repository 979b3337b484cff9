"""Values that a forked child must not inherit: threads, locks that another thread may hold, sockets."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """One value per process, made when first asked for and made anew in a forked child."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[int, T] | None = None
        self._lock = (os.getpid(), Lock())

    def __call__(self) -> T:
        """This process's value."""
        made = self._made
        if made is not None and made[0] == os.getpid():
            return made[1]
        if self._lock[0] != os.getpid():
            self._lock = (os.getpid(), Lock())  # the parent's may have been held at the fork, and for ever
        with self._lock[1]:
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), self._make())
            return self._made[1]

    def peek(self) -> T | None:
        """This process's value if it was made."""
        made = self._made
        return made[1] if made is not None and made[0] == os.getpid() else None
