"""Group commit: what threads hand in while a statement runs is written together by the next statement."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from time import sleep
from typing import Generic, TypeVar

from core.logs import get_logger

logger = get_logger(__name__)

Given = TypeVar("Given")
Made = TypeVar("Made")

MOST = 64
"""Of one statement."""


class _Entry(Generic[Given, Made]):
    """What one thread handed in. Its thread sleeps on `turn` until it is served, or has to serve the others."""

    __slots__ = ("given", "made", "served", "turn")

    def __init__(self, given: Given) -> None:
        self.given = given
        self.made: Made | None = None
        self.served = False
        self.turn = Lock()
        self.turn.acquire()


class Group(Generic[Given, Made]):
    """Threads that write through one statement at a time; the first one that waits leads, the others are carried.

    With nothing else on its way, a thread writes at once, in its own thread.

    Args:
        write: writes all that it is given, or nothing; returns what it made of each, in the same order.
        gather: seconds for which one who waited for the statement before waits for more company.
    """

    def __init__(self, write: Callable[[Sequence[Given]], Sequence[Made]], gather: float = 0.0) -> None:
        self._write = write
        self._gather = gather
        self._lock = Lock()
        self._waiting: deque[_Entry[Given, Made]] = deque()
        self._led = False

    def hand_in(self, given: Given) -> Made | None:
        """Have `given` written; returns when that is done.

        Returns:
            What was made of it. None: the statement failed, perhaps for a neighbour's sake, perhaps after it was
            carried out; so do it again by yourself, in a way that can be repeated.
        """
        entry: _Entry[Given, Made] = _Entry(given)
        with self._lock:
            self._waiting.append(entry)
            leads, self._led = not self._led, True
        if not leads:
            entry.turn.acquire()
        if not entry.served:
            self._lead(0.0 if leads else self._gather)
        return entry.made

    def _lead(self, gather: float) -> None:
        entries: list[_Entry[Given, Made]] = []
        try:
            try:
                if gather:
                    sleep(gather)
            finally:  # this thread's own among them, so that the lead is passed on even if it is interrupted here
                with self._lock:
                    entries += [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST))]
            for entry, made in zip(entries, self._write([entry.given for entry in entries]), strict=True):
                entry.made = made
        except Exception as error:  # noqa: BLE001 - everybody tries again alone, and then says what is wrong
            logger.warning("A group was not written, each tries alone", extra={"error": str(error)})
        finally:
            self._pass_on(entries)

    def _pass_on(self, entries: list[_Entry[Given, Made]]) -> None:
        with self._lock:
            self._led = bool(self._waiting)
            if self._led:
                self._waiting[0].turn.release()  # first, so that the database is at work while the others wake
        for entry in entries:
            entry.served = True
            entry.turn.release()
