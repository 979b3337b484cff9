"""Requests that wait for a job: one thread per process asks the database for all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Event, Lock, Thread
from time import monotonic, sleep

from core import get_logger
from core.database import reading
from core.domain import jobs
from web.process import PerProcess

logger = get_logger(__name__)

MAX_WAITS = 16
MAX_STREAMS = 4
"""Of each process. Each holds one of its threads, and enough of them must stay free for everybody else (of 32)."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.010, 0.100
"""Seconds between two looks: short while the youngest wait is young, since most jobs end soon."""
AWAY_PAUSE = 1.0


@dataclass(eq=False)
class _Wait:
    job_id: str
    since: float = field(default_factory=monotonic)
    ended: Event = field(default_factory=Event)


class Watcher:
    """Wakes waiting requests when their job ends."""

    def __init__(self) -> None:
        self._arrived = Condition()
        self._waits: set[_Wait] = set()
        self._thread: Thread | None = None
        self._stopped = False

    def wait(self, job_id: str, seconds: float) -> bool:
        """Whether the job ended within `seconds`."""
        wait = _Wait(job_id)
        with self._arrived:
            self._waits.add(wait)
            if self._thread is None:
                self._thread = Thread(target=self._watch, name="job-watcher", daemon=True)
                self._thread.start()
            self._arrived.notify()
        try:
            return wait.ended.wait(seconds)
        finally:
            with self._arrived:
                self._waits.discard(wait)

    def stop(self) -> None:
        """End the thread, so that no connection of it is in use any more."""
        with self._arrived:
            self._stopped = True
            self._arrived.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._waits or self._stopped)
                if self._stopped:
                    return
                waits = list(self._waits)
            sleep(self._look(waits))

    def _look(self, waits: list[_Wait]) -> float:
        try:
            with reading() as conn:
                ended = jobs.ended(conn, {wait.job_id for wait in waits})
        except Exception as error:  # noqa: BLE001 - this thread serves every request that waits, so it outlives any
            logger.warning("Waiting requests cannot be told", extra={"waits": len(waits), "error": str(error)})
            return AWAY_PAUSE
        for wait in waits:
            if wait.job_id in ended:
                wait.ended.set()
        youngest = monotonic() - max(wait.since for wait in waits)
        return min(max(youngest / 4, SHORTEST_PAUSE), LONGEST_PAUSE)


class Places:
    """A bounded number of places, taken without waiting."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = Lock()
        self._taken: set[object] = set()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return len(self._taken)

    @contextmanager
    def take(self) -> Iterator[bool]:
        """Yield whether there was a place; it is given back at the end."""
        leave = self.enter()
        try:
            yield leave is not None
        finally:
            if leave:
                leave()

    def enter(self) -> Callable[[], None] | None:
        """Take a place. Returns how to give it back, which may be done more than once, or None if there is none."""
        place = object()
        with self._lock:
            if len(self._taken) >= self._count:
                return None
            self._taken.add(place)
        return lambda: self._taken.discard(place)


watcher = PerProcess(Watcher)
waits = Places(MAX_WAITS)
streams = Places(MAX_STREAMS)
