"""What every route that accepts work shares: the key, one transaction, the hint, the wait, the answer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import TypeVar

from flask import Response, g, request
from pydantic import BaseModel
from sqlalchemy import Connection

from core import monitor
from core.crashpoints import crash_point
from core.database import reading, transaction
from core.domain import jobs
from core.errors import Invalid, NotFound
from web import hints, waiting
from web.answers import Answer, JobAccepted
from web.envelope import REQUEST_ID
from web.metrics import ACCEPTED
from web.problems import problem
from web.routing import reply

T = TypeVar("T")

LONGEST_WAIT = 30
"""Seconds."""
TRIES = 3
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# RFC 7240: names are case-insensitive, values may be quoted, parameters may follow.
_WAIT = re.compile(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?', re.IGNORECASE)


def idempotency_key(required: bool = False) -> str | None:
    """The request's Idempotency-Key.

    Raises:
        Invalid: it is not 1 to 255 printable ASCII characters, or it is missing although `required`.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        if required:
            raise Invalid("this request needs an Idempotency-Key: without one, repeating it could act twice",
                          type="idempotency-key-required")  # fmt: skip
        return None
    if not _KEY.fullmatch(key):
        raise Invalid("an Idempotency-Key is 1 to 255 printable ASCII characters", type="idempotency-key-invalid")
    return key


def fingerprint(body: BaseModel) -> str:
    """sha256 (hex) over method, path and the checked body, so that formatting and defaults make no difference."""
    canonical = json.dumps(body.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{request.method} {request.path}\n{canonical}".encode()).hexdigest()


def job_request(body: BaseModel | None = None, key: str | None = None, order_id: str | None = None) -> jobs.Request:
    """What a job keeps of this request.

    Args:
        order_id: the order whose browser asks: its keys are its own, so it can neither take nor see the shop's.
    """
    scope = f"{g.operation.method} {g.operation.path}"
    return jobs.Request(
        id=request.environ[REQUEST_ID],
        traceparent=_traceparent(),
        scope=f"{scope} by the browser of {order_id}" if order_id else scope,
        key=key,
        fingerprint=fingerprint(body) if body is not None else None,
    )


def in_transaction(work: Callable[[Connection], T]) -> T:
    """Run `work` in one writing transaction, again when a request with the same key was faster."""
    for _ in range(TRIES - 1):
        try:
            with transaction() as conn:
                return work(conn)
        except jobs.KeyTaken:
            continue  # it has committed, so the next look finds its job
    with transaction() as conn:
        return work(conn)


def accept(
    work: Callable[[Connection], jobs.Accepted], short: Callable[[], jobs.Accepted | None] = lambda: None
) -> jobs.Accepted:
    """Store a job in one transaction and hint at it.

    Args:
        short: a faster way that is tried first; None from it means that only `work` can tell.
    """
    accepted = short() or in_transaction(work)
    crash_point("web.accepted")
    hints.send(accepted)
    if accepted.fresh:
        ACCEPTED.labels(accepted.kind.name).inc()
        monitor.add_breadcrumb("Job accepted", category="job", data={"job_id": accepted.job_id})
    return accepted


def outcome(accepted: jobs.Accepted, done: type[Answer]) -> Response:
    """Answer with the job's end if it has one, after the wait that the caller prefers; else 202."""
    seconds = preferred_wait()
    applied: dict[str, str] = {}
    if seconds is not None and accepted.status not in jobs.ENDED:
        with waiting.waits.take() as place:
            if place:
                waiting.watcher().wait(accepted.job_id, seconds)
                applied = {"Preference-Applied": f"wait={seconds}"}
    if not applied and accepted.status not in jobs.ENDED:
        return _accepted(accepted, accepted.status, applied)
    with reading() as conn:
        job = jobs.find(conn, accepted.job_id)
    if job is None:
        raise NotFound("there is no such job")
    return _ended(job, done, applied) or _accepted(accepted, job.status, applied)


def preferred_wait() -> int | None:
    """Seconds of `Prefer: wait=N`, capped; None without one. What cannot be read is ignored (RFC 7240)."""
    for preference in ",".join(request.headers.getlist("Prefer")).split(","):
        found = _WAIT.fullmatch(preference)
        if found:
            return min(int(found[1]), LONGEST_WAIT)
    return None


def _accepted(accepted: jobs.Accepted, status: str, headers: dict[str, str]) -> Response:
    url = f"/jobs/{accepted.job_id}"
    answer = JobAccepted(job_id=accepted.job_id, order_id=accepted.order_id, status=status, status_url=url)
    return reply(answer, 202, {"Location": url, **headers})


def _ended(job: jobs.Job, done: type[Answer], headers: dict[str, str]) -> Response | None:
    if job.status == jobs.SUCCEEDED:
        return reply(done.model_validate({"status": job.status, **(job.result or {}), "job_id": job.id}), 200, headers)
    if job.status in jobs.ENDED:
        return problem({**_NO_REASON, **(job.error or {}), "job_id": job.id}, headers)
    return None


_NO_REASON = {
    "type": "internal-error",
    "title": "Our own fault",
    "status": 500,
    "detail": "The job could not be finished and waits for an operator.",
}


def _traceparent() -> str | None:
    sent = request.headers.get("traceparent", "")
    return monitor.traceparent() or (sent if _TRACEPARENT.fullmatch(sent) else None)
