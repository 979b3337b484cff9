"""From a hint to work: claim what is due, run it side by side, and turn every outcome into a row."""

from __future__ import annotations

import contextvars
import os
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from core import get_logger, logs, monitor, monitoring
from core.crashpoints import crash_point
from core.database import DatabaseUnavailable, reading, transaction
from core.domain import leases
from core.domain.leases import CRASHES_BEFORE_QUARANTINE, Claim, Fenced
from core.errors import Permanent, Retryable, Uncertain
from worker.slots import Slots
from worker.work import Work

logger = get_logger(__name__)

Flow = Callable[[Work], None]
LONGEST_DELAY = 300.0


class Runner:
    """Runs the jobs of this process.

    Args:
        cap: jobs in flight at most.
        lease_seconds: length of the leases it takes.
    """

    def __init__(self, cap: int, lease_seconds: float = leases.LEASE_SECONDS) -> None:
        self.slots = Slots(cap)
        self.lease_seconds = lease_seconds
        self.stopping = threading.Event()
        self._pool = ThreadPoolExecutor(cap, thread_name_prefix="job")  # greenlets once gevent has patched threads

    def run(self, kind: str, ids: Sequence[str], flow: Flow) -> None:
        """Claim what is due among `ids` and run each through `flow`; returns when all of it ended.

        A hint that finds nothing to claim is dropped: the job is done, not due, or somebody else's.
        """
        rest, missed = list(dict.fromkeys(ids)), list[str]()
        running: list[Future[None]] = []
        while rest and not self.stopping.is_set():
            room = self.slots.take(len(rest))
            chunk, rest = rest[:room], rest[room:]
            claims = self._claim(kind, chunk)
            self.slots.give(room - len(claims))
            running += [self._submit(claim, flow) for claim in claims]
            missed += set(chunk) - {claim.job_id for claim in claims}
        wait(running)
        for job_id in self._suspects(missed):
            with self.slots.alone():
                for claim in self._claim(kind, [job_id], alone=True):
                    contextvars.Context().run(attempt, claim, flow, self.lease_seconds)

    def _submit(self, claim: Claim, flow: Flow) -> Future[None]:
        future = self._pool.submit(contextvars.Context().run, attempt, claim, flow, self.lease_seconds)
        future.add_done_callback(lambda _: self.slots.give())
        return future

    def _claim(self, kind: str, ids: Sequence[str], alone: bool = False) -> list[Claim]:
        try:
            with transaction() as conn:
                claims = leases.claim(conn, kind, ids, alone, self.lease_seconds)
        except DatabaseUnavailable as error:
            logger.warning("could not claim, the sweep hints again", extra={"kind": kind, "reason": error.detail})
            return []
        crash_point("runner.claimed")
        return claims

    def _suspects(self, missed: Sequence[str]) -> list[str]:
        if not missed or self.stopping.is_set():
            return []
        try:
            with reading() as conn:
                return leases.suspects(conn, missed)
        except DatabaseUnavailable as error:
            logger.warning("could not look for suspects, the sweep hints again", extra={"reason": error.detail})
            return []


def attempt(claim: Claim, flow: Flow, lease_seconds: float = leases.LEASE_SECONDS) -> None:
    """Run one attempt to one of its ends; never raises. Where even that cannot be written, the lease runs out."""
    bound = {"job_id": claim.job_id, "request_id": claim.request_id, "order_id": claim.order_id}
    with (
        logs.bind(**{name: value for name, value in bound.items() if value}),
        monitor.continue_trace(claim.traceparent, claim.kind),
        monitoring.collecting() as crumbs,
    ):
        work = Work(claim, crumbs, lease_seconds)
        try:
            _outcome(work, flow)
            crash_point("runner.ended")
        except Fenced:
            logger.warning("replaced: the lease ran out and this attempt wrote nothing")
        except DatabaseUnavailable as error:
            logger.warning("the outcome could not be written, the lease will run out", extra={"reason": error.detail})
        except Exception as error:
            monitor.capture_exception(error, context={"job_id": claim.job_id, "kind": claim.kind})
            logger.exception("the outcome could not be written, the lease will run out")


def _outcome(work: Work, flow: Flow) -> None:
    try:
        flow(work)
        if not work.ended:
            raise RuntimeError(f"the flow of {work.claim.kind} left its job open")
    except Fenced:
        raise
    except Retryable as error:
        _put_back(work, error.detail, error.delay, error.spends_attempt)
    except Uncertain as error:
        _put_back(work, error.detail)
    except Permanent as error:
        logger.info("job failed", extra={"reason": error.detail, "type": error.type})
        with work.fail(error):
            pass
    except Exception as error:  # noqa: BLE001 - whatever else it is, it is a bug: count it, then quarantine
        _crashed(work, error)


def _put_back(work: Work, detail: str, delay: float | None = None, spends_attempt: bool = True) -> None:
    chosen = backoff(work.claim.attempt) if delay is None else delay
    logger.info("job put back", extra={"reason": detail, "delay": round(chosen, 3)})
    with work.again(chosen, detail, spends_attempt):
        pass


def _crashed(work: Work, error: Exception) -> None:
    monitor.capture_exception(error, context={"job_id": work.claim.job_id, "kind": work.claim.kind})
    logger.error("a bug stopped the job", exc_info=error, extra={"crashes": work.claim.crashes + 1})
    name = type(error).__name__
    if work.claim.crashes + 1 < CRASHES_BEFORE_QUARANTINE:
        with work.again(backoff(work.claim.crashes + 1), f"bug: {name}", crashed=True):
            pass
        return
    problem = Permanent(f"the job stopped {CRASHES_BEFORE_QUARANTINE} times at {name} and was set aside",
                        type="quarantined", title="The job was set aside", status=500)  # fmt: skip
    with work.quarantine(problem):
        pass


def backoff(attempts: int) -> float:
    """Seconds to wait after so many attempts: 1, 2, 4 ... up to five minutes, give or take a fifth."""
    return min(2.0 ** min(attempts - 1, 16), LONGEST_DELAY) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load


_lock = threading.Lock()
_runner: tuple[int, Runner] | None = None
_cap = 1


def configure(cap: int) -> None:
    """Set the cap of this process's runner before its first job."""
    global _cap, _runner
    _cap, _runner = cap, None


def runner() -> Runner:
    """This process's runner; a forked child gets its own, since threads do not survive a fork."""
    global _runner
    with _lock:
        if _runner is None or _runner[0] != os.getpid():
            _runner = (os.getpid(), Runner(_cap))
        return _runner[1]
