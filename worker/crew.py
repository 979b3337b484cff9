"""Threads (greenlets under gevent) that run calls side by side, cheaper than futures, which nobody here asks."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

from core import get_logger

logger = get_logger(__name__)

Call = Callable[[], None]


class Crew:
    """Starts a thread when none is idle, and keeps it; its caller bounds how many run at once.

    Args:
        name: of its threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        weakref.finalize(self, _dismiss, self._calls, self._threads)

    def run(self, call: Call) -> None:
        """Run `call` in a thread of its own; returns at once.

        Raises:
            RuntimeError: no thread could be started, and the call will not be run.
        """
        if not self._idle.acquire(blocking=False):
            thread = threading.Thread(target=_serve, args=(self._calls, self._idle), name=self._name, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._calls.put(call)


class Countdown:
    """Waits until as many calls are done as were announced."""

    def __init__(self) -> None:
        self._left = 1  # the waiter's own
        self._lock = threading.Lock()
        self._over = threading.Event()

    def announce(self) -> None:
        """One more."""
        with self._lock:
            self._left += 1

    def done(self) -> None:
        """One less."""
        with self._lock:
            self._left -= 1
            over = self._left == 0
        if over:
            self._over.set()

    def wait(self) -> None:
        """Wait for all that were announced; once."""
        self.done()
        self._over.wait()


def _serve(calls: SimpleQueue[Call | None], idle: threading.Semaphore) -> None:
    # Holds no reference to the crew, so that a crew that nobody uses any more is dismissed.
    while (call := calls.get()) is not None:
        try:
            call()
        except BaseException:
            logger.exception("a call raised, which none should")
        del call
        idle.release()


def _dismiss(calls: SimpleQueue[Call | None], threads: list[threading.Thread]) -> None:
    for _ in threads:
        calls.put(None)
