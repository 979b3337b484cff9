"""From a hint to work: claim what is due, run it side by side, and turn every outcome into a row."""

from __future__ import annotations

import contextvars
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from core import get_logger, logs, monitor, monitoring, payment
from core.crashpoints import crash_point
from core.database import DatabaseUnavailable, reading
from core.domain import jobs, leases, pauses
from core.domain.leases import CRASHES_BEFORE_QUARANTINE, Claim, Fenced
from core.errors import Permanent, Retryable, Uncertain
from core.ids import is_id
from core.payments import PaymentMisconfigured, PaymentThrottled
from worker.backoff import backoff, no_sooner
from worker.crew import Countdown, Crew
from worker.slots import Slots
from worker.stopping import Stopping
from worker.work import Batched, Work

logger = get_logger(__name__)

Flow = Callable[[Work], None]

FIRST_LOOK, LONGEST_LOOK = 0.5, 3.0
"""Seconds, on average, until what the database did not take is written again; half as many more each time."""


class Runner:
    """Runs the jobs of this process.

    Args:
        cap: jobs in flight at most.
        lease_seconds: length of the leases it takes.
        stopping: once it is set, nothing more is claimed.
    """

    def __init__(self, cap: int, lease_seconds: float = leases.LEASE_SECONDS, stopping: Stopping | None = None) -> None:
        self.slots = Slots(cap)
        self.lease_seconds = lease_seconds
        self.stopping = stopping or Stopping()
        self._crew = Crew("job")
        self._lock = threading.Lock()
        self._waiting: set[str] = set()

    def run(self, kind: str, ids: Iterable[object], flow: Flow) -> None:
        """Claim what is due among `ids` and run each through `flow`; returns when all of it ended.

        A hint that finds nothing to claim is dropped: the job is done, not due, or somebody else's. Unless these are
        suspects, which the sweep hints apart from the others: each of them has the process to itself.
        """
        # One text that is no id would make PostgreSQL refuse the others with it.
        wanted = [one for one in dict.fromkeys(ids) if isinstance(one, str) and is_id(one)]
        with self._lock:  # hinted again and again, a suspect would fill all of the pool with those who wait for it
            wanted = [job_id for job_id in wanted if job_id not in self._waiting]
        if not self._run_together(kind, wanted, flow):
            self._run_alone(kind, self._suspects(kind, wanted), flow)

    def _run_together(self, kind: str, rest: list[str], flow: Flow) -> bool:
        running, found = Countdown(), False
        while rest and not self.stopping.is_set():
            room = self.slots.take(len(rest))
            chunk, rest = rest[:room], rest[room:]
            began, started = time.monotonic(), 0
            try:
                claims = self._claim(kind, chunk)
                loaded = _load(flow, claims)
                for claim in claims:
                    self._start(claim, flow, began, loaded.get(claim.job_id), running)
                    started += 1
            finally:
                self.slots.give(room - started)
            found = found or bool(claims)
        running.wait()
        return found

    def _run_alone(self, kind: str, ids: list[str], flow: Flow) -> None:
        with self._lock:
            mine = [job_id for job_id in ids if job_id not in self._waiting]
            self._waiting.update(mine)
        if not mine:
            return
        try:
            with self.slots.alone():  # emptied once for all of the message, and each of them runs by itself
                for job_id in mine:
                    began = time.monotonic()
                    for claim in self._claim(kind, [job_id], alone=True):
                        contextvars.Context().run(attempt, claim, flow, self.lease_seconds, began, None, self.stopping)
        finally:
            with self._lock:
                self._waiting.difference_update(mine)

    def _start(self, claim: Claim, flow: Flow, began: float, loaded: Any, running: Countdown) -> None:
        def call() -> None:
            try:
                context = contextvars.Context()
                context.run(attempt, claim, flow, self.lease_seconds, began, loaded, self.stopping)
            finally:
                self.slots.give()
                running.done()

        running.announce()
        try:
            self._crew.run(call)
        except BaseException:
            running.done()
            raise

    def _claim(self, kind: str, ids: Sequence[str], alone: bool = False) -> list[Claim]:
        if self.stopping.is_set():  # said while we waited for a slot
            return []
        try:
            claims = leases.take(kind, ids, alone, self.lease_seconds, _own_pause(kind))
        except DatabaseUnavailable as error:
            logger.warning("could not claim, the sweep hints again", extra={"kind": kind, "reason": error.detail})
            return []
        crash_point("runner.claimed")
        return claims

    def _suspects(self, kind: str, ids: Sequence[str]) -> list[str]:
        if not ids or self.stopping.is_set():
            return []
        own = _own_pause(kind)
        try:
            with reading() as conn:
                return leases.suspects(conn, ids, own)
        except DatabaseUnavailable as error:
            logger.warning("could not look for suspects, the sweep hints again", extra={"reason": error.detail})
            return []


def _own_pause(kind: str) -> str:
    """The pause of this process's key; none for a kind that needs no Stripe, so that the SDK is not loaded for it."""
    return pauses.of_key(payment.fingerprint()) if kind in jobs.NEED_STRIPE else ""


def _load(flow: Flow, claims: Sequence[Claim]) -> Mapping[str, Any]:
    if not claims or not isinstance(flow, Batched):
        return {}
    try:
        return flow.load(claims)
    except Exception as error:  # noqa: BLE001 - each job reads for itself then, and a bug shows in its own outcome
        logger.warning("could not read for all of them together", extra={"reason": f"{type(error).__name__}"})
        return {}


def attempt(
    claim: Claim,
    flow: Flow,
    lease_seconds: float = leases.LEASE_SECONDS,
    began: float | None = None,
    loaded: Any = None,
    stopping: Stopping | None = None,
) -> None:
    """Run one attempt to one of its ends; never raises. Where even that cannot be written, the lease runs out.

    Args:
        claim: the job under our lease.
        flow: what to do.
        lease_seconds: how long the lease lasts.
        began: `time.monotonic()` before the lease was taken.
        loaded: what was read for this job together with others, None if nothing.
        stopping: set when the worker is asked to stop.
    """
    bound = {"job_id": claim.job_id, "request_id": claim.request_id, "order_id": claim.order_id}
    with (
        logs.bind(**{name: value for name, value in bound.items() if value}),
        monitor.continue_trace(claim.traceparent, claim.kind),
        monitoring.collecting() as crumbs,
    ):
        work = Work(claim, crumbs, lease_seconds, began, loaded, stopping)
        try:
            end = _outcome(work, flow)
            if end is not None:
                _write(end, work)
            crash_point("runner.ended")
        except Fenced:
            logger.warning("replaced: the lease ran out and this attempt wrote nothing")
        except DatabaseUnavailable as error:
            logger.warning("the outcome could not be written, the lease will run out", extra={"reason": error.detail})
        except Exception as error:
            monitor.capture_exception(error, context={"job_id": claim.job_id, "kind": claim.kind})
            logger.exception("the outcome could not be written, the lease will run out")


End = Callable[[], None]
"""Writes an attempt's end in one transaction."""


def _outcome(work: Work, flow: Flow) -> End | None:
    """Run the flow; returns what is left to write, None if it ended the job itself."""
    try:
        flow(work)
        if not work.ended:
            raise RuntimeError(f"the flow of {work.claim.kind} left its job open")
    except Fenced:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it decides how the attempt ends
        return _end_of(work, error)
    return None


def _end_of(work: Work, error: Exception) -> End:
    if isinstance(error, PaymentThrottled | PaymentMisconfigured):
        return partial(_refused, work, error)
    if isinstance(error, Retryable):
        interrupted = isinstance(error, DatabaseUnavailable)
        return partial(
            _put_back, work, error.detail, error.delay, error.spends_attempt, error.exact, interrupted=interrupted
        )
    if isinstance(error, Uncertain):
        return partial(_put_back, work, error.detail)
    if isinstance(error, Permanent):
        return partial(_failed, work, error)
    # Whatever else it is, it is a bug: count it, then quarantine.
    monitor.capture_exception(error, context={"job_id": work.claim.job_id, "kind": work.claim.kind})
    logger.error("a bug stopped the job", exc_info=error, extra={"crashes": work.claim.crashes + 1})
    return partial(_crashed, work, type(error).__name__)


def _write(end: End, work: Work) -> None:
    """Write an end, if need be when the database is back: that a lease runs out takes much longer than its restart.

    Raises:
        Fenced: the lease is no longer ours; after a try whose answer was lost, perhaps because it was carried out.
        DatabaseUnavailable: the database stayed away while the lease was ours, or for too long after the word to stop.
    """
    look = FIRST_LOOK
    while True:
        try:
            return end()
        except DatabaseUnavailable as error:
            if not work.may_wait:
                raise
            logger.warning("the outcome waits for the database", extra={"reason": error.detail})
        time.sleep(look * random.uniform(0.5, 1.5))  # noqa: S311 - spreads those who wait, decides nothing
        look = min(look * 1.5, LONGEST_LOOK)


def _put_back(
    work: Work,
    detail: str,
    delay: float | None = None,
    spends_attempt: bool = True,
    exact: bool = False,
    interrupted: bool = False,
) -> None:
    chosen = backoff(work.claim.attempt) if delay is None else delay if exact else no_sooner(delay)
    with work.again(chosen, detail, spends_attempt, interrupted=interrupted):
        pass
    logger.info("job put back", extra={"reason": detail, "delay": round(chosen, 3)})


def _failed(work: Work, error: Permanent) -> None:
    with work.fail(error):
        pass
    logger.info("job failed", extra={"reason": error.detail, "type": error.type})


def _refused(work: Work, error: PaymentThrottled | PaymentMisconfigured) -> None:
    """Put the job back, and let those wait with it that would be refused, too; said once a pause, not once a job."""
    throttled = isinstance(error, PaymentThrottled)
    paused = _refused_too(error, work.claim.kind)
    with work.again(no_sooner(error.delay), error.detail, spends_attempt=False) as conn:
        news = pauses.pause(conn, paused, error.delay, error.detail, widen=throttled)
    logger.info("job put back", extra={"reason": error.detail, "delay": error.delay})
    if not news:
        return
    if throttled:
        logger.warning("Stripe asks us to slow down: what needs it waits", extra={"delay": error.delay})
        return
    logger.error("Stripe refuses our configuration", extra={"waiting": paused, "reason": error.detail})
    monitor.capture_exception(error, context={"job_id": work.claim.job_id, "kind": work.claim.kind})


def _refused_too(error: PaymentThrottled | PaymentMisconfigured, kind: str) -> str:
    if isinstance(error, PaymentThrottled):
        return pauses.STRIPE
    return pauses.of_key(error.fingerprint) if error.everywhere else kind


def _crashed(work: Work, bug: str) -> None:
    if work.claim.crashes + 1 < CRASHES_BEFORE_QUARANTINE:
        with work.again(backoff(work.claim.crashes + 1), f"bug: {bug}", crashed=True):
            pass
        return
    problem = Permanent(f"the job stopped {CRASHES_BEFORE_QUARANTINE} times at {bug} and was set aside",
                        type="quarantined", title="The job was set aside", status=500)  # fmt: skip
    with work.quarantine(problem):
        pass


_lock = threading.Lock()
_runner: tuple[int, Runner] | None = None
_cap, _lease_seconds = 1, leases.LEASE_SECONDS
stopping = Stopping()
"""Set when the worker was asked to stop; its forked children hear it too."""


def configure(cap: int, lease_seconds: float = leases.LEASE_SECONDS) -> None:
    """Set the cap and the leases of this process's runner, and of its children's, before the first job."""
    global _cap, _lease_seconds, _runner, stopping
    _cap, _lease_seconds, _runner, stopping = cap, lease_seconds, None, Stopping()


def runner() -> Runner:
    """This process's runner; a forked child gets its own, since threads do not survive a fork."""
    global _runner
    with _lock:
        if _runner is None or _runner[0] != os.getpid():
            _runner = (os.getpid(), Runner(_cap, _lease_seconds, stopping))
        return _runner[1]
