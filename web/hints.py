"""Hints: "these jobs are due", sent by a thread so that the broker never slows or fails a request.

A hint may be lost: the job is a row, and the sweep hints again. So everything here drops rather than waits.
"""

from __future__ import annotations

from itertools import islice
from multiprocessing.util import Finalize
from threading import Condition, Thread
from time import monotonic, sleep
from typing import Protocol

from core import get_logger
from core.crashpoints import crash_point
from core.domain.jobs import QUEUED, Accepted, JobKind
from web.metrics import HINTS_DROPPED, HINTS_SENT, MESSAGES_SENT
from web.process import PerProcess
from web.publishing import Channel

logger = get_logger(__name__)

MOST_IDS = 50
"""Ids in one message."""
LINGER, LONGEST_LINGER = 0.0025, 0.05
"""Seconds that a message waits for more, for each id that the one before carried: sending one costs as much as taking
in a webhook. A lone one leaves at once."""
MOST_WAITING = 10_000
PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Seconds without trying after the first, second ... failure in a row."""
WARN_EVERY = 60.0
FLUSH_SECONDS = 2.0


class Sender(Protocol):
    """What carries a message."""

    def send(self, kind: JobKind, ids: list[str]) -> None:
        """Send one message, or raise anything."""

    def close(self) -> None:
        """Forget the connection."""


class Publisher:
    """Coalesces hints per job kind into messages, and sends them one after the other.

    Under load the sending itself does most of the collecting: what arrives meanwhile is the next message.
    """

    def __init__(self, channel: Sender) -> None:
        self._channel = channel
        self._changed = Condition()
        self._waiting: dict[JobKind, dict[str, None]] = {}
        self._count = 0
        self._sending = False
        self._linger = 0.0
        self._sent_at = float("-inf")
        self._lingering = False
        self._thread: Thread | None = None
        self._failures = 0
        self._warned_at = float("-inf")

    @property
    def failing(self) -> bool:
        """Whether the last message could not be sent."""
        return self._failures > 0

    def hint(self, kind: JobKind, job_id: str) -> None:
        """Queue a hint. Never blocks, never raises; drops it when too many wait."""
        with self._changed:
            if self._count >= MOST_WAITING:
                self._drop(1, "too many wait")
                return
            ids = self._waiting.setdefault(kind, {})
            self._count += job_id not in ids
            ids[job_id] = None
            if self._thread is None:
                self._start()
            # While it lingers for more, each of many requests would wake it only to sleep again.
            if not self._lingering or self._count >= MOST_IDS:
                self._changed.notify_all()

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Send what waits, for at most `seconds`; whether nothing waits any more."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._count and not self._sending, seconds)

    def _start(self) -> None:
        thread = Thread(target=self._run, name="hint-publisher", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads: the job is accepted all the same, and the sweep hints at it
            self._drop(0, str(error))
            return
        self._thread = thread

    def _run(self) -> None:
        while True:
            kind, ids = self._next()
            pause = self._send(kind, ids)
            with self._changed:
                self._sent_at = monotonic()
                self._sending = False
                self._changed.notify_all()
            sleep(pause)

    def _next(self) -> tuple[JobKind, list[str]]:
        with self._changed:
            self._changed.wait_for(lambda: self._count)
            if self._linger and monotonic() - self._sent_at < LONGEST_LINGER:
                self._lingering = True
                self._changed.wait_for(lambda: self._count >= MOST_IDS, self._linger)
                self._lingering = False
            kind, waiting = next(iter(self._waiting.items()))
            ids = list(islice(waiting, MOST_IDS))
            for job_id in ids:
                del waiting[job_id]
            del self._waiting[kind]
            if waiting:
                self._waiting[kind] = waiting  # to the end: every kind gets its turn
            self._count -= len(ids)
            self._sending = True
            many = len(ids) > 1 or self._count > 0
            self._linger = min(LINGER * len(ids), LONGEST_LINGER) if many else 0.0
            return kind, ids

    def _send(self, kind: JobKind, ids: list[str]) -> float:
        """Send one message; returns the seconds to leave the broker alone afterwards."""
        try:
            self._channel.send(kind, ids)
        except Exception as error:  # noqa: BLE001 - each transport has its own; any of them means "not now"
            self._channel.close()
            return self._failed(error, len(ids))
        crash_point("web.hinted")
        self._failures = 0
        HINTS_SENT.labels(kind.name).inc(len(ids))
        MESSAGES_SENT.labels(kind.name).inc()
        return 0.0

    def _failed(self, error: Exception, unsent: int) -> float:
        with self._changed:
            # What waits grows stale meanwhile, and the sweep hints it again: drop it rather than flood later.
            self._drop(unsent + self._count, f"{type(error).__name__}: {error}")
            self._waiting.clear()
            self._count = 0
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        return pause

    def _drop(self, count: int, reason: str) -> None:
        HINTS_DROPPED.inc(count)
        if monotonic() - self._warned_at >= WARN_EVERY:
            self._warned_at = monotonic()
            logger.warning("Hints dropped, the sweep hints again", extra={"count": count, "reason": reason})


def _make() -> Publisher:
    publisher = Publisher(Channel())
    # Unlike atexit this also runs in a process that multiprocessing forked, as application servers do.
    Finalize(None, publisher.flush, exitpriority=10)
    return publisher


publisher = PerProcess(_make)


def send(accepted: Accepted) -> None:
    """Hint at a job that waits: call it after the commit. A repeated request hints again, the first may be lost."""
    if accepted.status == QUEUED:
        publisher().hint(accepted.kind, accepted.job_id)
