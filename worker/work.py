"""One attempt at a job, as its flow sees it: what to do, and the only ways to write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from core.database import transaction
from core.domain import jobs, leases
from core.domain.leases import Claim
from core.domain.timeline import Note
from core.errors import Permanent, Retryable
from worker.stopping import Stopping

NETWORK_CALL_SECONDS = 25.0
"""The payment door's connect and read timeouts together: the longest that one call can take."""
SPARE_SECONDS = 5.0
"""For the transaction that writes the answer down."""
STOPPING_SECONDS = 5.0
"""So long after the word to stop an attempt may begin a call: with the call and what follows, 35 s at the most."""
MOST_HELD_BACK = 0.5
"""Of a lease shorter than the usual one (tests have them) this share at most is kept for a call."""


Ended = TypeVar("Ended")


class Work:
    """A claimed job and its notes. Every write goes through the fence, so a replaced attempt writes nothing.

    Args:
        claim: the job under our lease.
        crumbs: breadcrumbs of this attempt, written to the timeline with whatever ends it.
        lease_seconds: how long the lease lasts.
        began: `time.monotonic()` before the lease was taken, None for now.
        loaded: what the flow's `load` read for this job together with others, None if nothing.
        stopping: once it is set, an attempt of many calls ends between two of them.
    """

    def __init__(
        self,
        claim: Claim,
        crumbs: Sequence[dict[str, Any]] = (),
        lease_seconds: float = leases.LEASE_SECONDS,
        began: float | None = None,
        loaded: Any = None,
        stopping: Stopping | None = None,
    ) -> None:
        self.claim = claim
        self.loaded = loaded
        self.ended = False
        self._crumbs = crumbs
        self._lease_seconds = lease_seconds
        self._stopping = stopping
        self._leased_at(time.monotonic() if began is None else began)

    @property
    def args(self) -> dict[str, Any]:
        """The ids that the job was accepted with."""
        return self.claim.args

    def check_time(self) -> None:
        """Call before each network call: a live worker never outlives its lease, nor the patience of who stops it.

        Raises:
            Retryable: too little of the lease is left for one more call, or the worker was told to stop a while ago.
        """
        if time.monotonic() > self._last_call_at:
            raise Retryable("too little of the lease was left", delay=0.0, spends_attempt=False)
        if self._stops:
            raise Retryable("the worker stops", delay=0.0, spends_attempt=False)

    @contextmanager
    def step(self) -> Iterator[Connection]:
        """A fenced transaction in the middle of an attempt; it renews the lease.

        Raises:
            leases.Fenced: somebody else has the job.
        """
        began = time.monotonic()  # before the database counts: the lease is never longer than we think
        with transaction() as conn:
            leases.hold(conn, self.claim, self._lease_seconds)
            yield conn
        self._leased_at(began)

    def renew(self) -> None:
        """Call between two network calls where many may follow: renew the lease, and `check_time`.

        Raises:
            Retryable: the worker was told to stop a while ago.
            leases.Fenced: somebody else has the job.
        """
        with self.step():
            pass
        self.check_time()

    @contextmanager
    def succeed(self, result: dict[str, Any] | None) -> Iterator[Connection]:
        """The finishing transaction: the job's end and what the caller writes in it happen together or not at all."""
        with self._end(jobs.SUCCEEDED, result=result) as conn:
            yield conn

    def end_at_once(self, end: Callable[[list[Note]], Ended]) -> Ended:
        """End the job by one statement that checks the fence itself.

        Args:
            end: writes the end with these notes; returns something false if it wrote nothing.

        Returns:
            What `end` returned; if that is false the job has not ended, and must go on.
        """
        written = end(self._notes())
        self.ended = bool(written)
        return written

    @contextmanager
    def fail(self, problem: Permanent) -> Iterator[Connection]:
        """End the job with a final answer that is not what the caller hoped for."""
        with self._end(jobs.FAILED, error=problem.as_problem()) as conn:
            yield conn

    @contextmanager
    def review(self, detail: str) -> Iterator[Connection]:
        """Money is in doubt: a person must look."""
        with self._end(jobs.NEEDS_REVIEW, error=_needs_review(detail)) as conn:
            yield conn

    @contextmanager
    def again(
        self,
        delay: float,
        detail: str,
        spends_attempt: bool = True,
        crashed: bool = False,
        interrupted: bool = False,
    ) -> Iterator[Connection]:
        """Put the job back, due after `delay` seconds, together with what the caller writes."""
        with transaction() as conn:
            leases.retry(conn, self.claim, delay, detail, self._notes(), spends_attempt, crashed, interrupted)
            yield conn
        self.ended = True

    @contextmanager
    def quarantine(self, problem: Permanent) -> Iterator[Connection]:
        """Set the job aside for an operator: trying again would only fail again."""
        with self._end(jobs.QUARANTINED, error=problem.as_problem()) as conn:
            yield conn

    def doubt(self, conn: Connection, detail: str) -> None:
        """Inside `succeed`: keep what was written, but have a person look at it."""
        leases.doubt(conn, self.claim, _needs_review(detail))

    @contextmanager
    def _end(
        self, status: str, result: dict[str, Any] | None = None, error: dict[str, Any] | None = None
    ) -> Iterator[Connection]:
        with transaction() as conn:
            leases.finish(conn, self.claim, status, self._notes(), result, error)
            yield conn
        self.ended = True

    @property
    def may_wait(self) -> bool:
        """Whether the lease is surely still ours, and the worker was not told to stop a while ago."""
        return time.monotonic() < self._leased_until and not self._stops

    @property
    def _stops(self) -> bool:
        return self._stopping is not None and self._stopping.seconds() > STOPPING_SECONDS

    def _leased_at(self, began: float) -> None:
        self._leased_until = began + self._lease_seconds
        held_back = min(NETWORK_CALL_SECONDS + SPARE_SECONDS, self._lease_seconds * MOST_HELD_BACK)
        self._last_call_at = self._leased_until - held_back

    def _notes(self) -> list[Note]:
        claimed = Note("claimed", {"attempt": self.claim.attempt}, self.claim.claimed_at)
        return [claimed] + [Note(crumb["message"], crumb["data"], crumb["at"]) for crumb in self._crumbs]


@dataclass(frozen=True)
class Batched:
    """A flow that has what its jobs read loaded once for all that were claimed together.

    Args:
        flow: what to do with one job.
        load: what each job will find as `work.loaded`, by job id; the flow reads for itself what is missing there.
    """

    flow: Callable[[Work], None]
    load: Callable[[Sequence[Claim]], Mapping[str, Any]]

    def __call__(self, work: Work) -> None:
        """Run one attempt."""
        self.flow(work)


def _needs_review(detail: str) -> dict[str, str | int]:
    title = "An operator must look at this"
    return Permanent(detail, type="needs-review", title=title, status=409).as_problem()
