"""A job as server-sent events: one for each change, until it has ended (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from time import monotonic

from flask import Response, request

from core.database import DatabaseUnavailable, reading
from core.domain import jobs, timeline
from web import waiting
from web.answers import Event
from web.problems import Busy

MEDIA_TYPE = "text/event-stream"
LOOK_EVERY = 0.5
"""Seconds; the end is noticed sooner, through the watcher."""
HEARTBEAT = 15.0
LIFE = 300.0
"""Seconds, after which the client connects again; a stream holds a server thread."""


def follow(job_id: str) -> Response:
    """The job's events after the request's Last-Event-ID, live. 204 when all have been seen, which ends a client.

    Raises:
        Busy: too many streams are open.
    """
    seen = request.headers.get("Last-Event-ID", "")
    after = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 19 else 0
    with reading() as conn:
        if after and jobs.ended(conn, [job_id]) and not timeline.read(conn, job_id, after):
            return Response(status=204)
    leave = waiting.streams.enter()
    if leave is None:
        raise Busy("too many streams are open: ask for the job without one, or again later")
    response = Response(
        _leaving(_events(job_id, after), leave), mimetype=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"}
    )
    response.call_on_close(leave)  # also when the stream was never begun
    return response


def _leaving(events: Iterator[str], leave: Callable[[], None]) -> Iterator[str]:
    try:
        yield from events
    finally:
        leave()


def _events(job_id: str, after: int) -> Iterator[str]:
    shown, spoke, until = None, monotonic(), monotonic() + LIFE
    while monotonic() < until:
        try:
            with reading() as conn:
                job = jobs.find(conn, job_id)
                new = timeline.read(conn, job_id, after)
        except DatabaseUnavailable:
            return  # the headers are gone, so no problem can be told: the client connects again and is told then
        if job is None:
            return
        if new or job.status != shown:
            shown, spoke = job.status, monotonic()
            after = new[-1].id if new else after
            yield _message(job, new, after)
        elif monotonic() - spoke >= HEARTBEAT:
            spoke = monotonic()
            yield ": still here\n\n"
        if job.status in jobs.ENDED:
            return
        waiting.watcher().wait(job_id, LOOK_EVERY)


def _message(job: jobs.Job, new: list[timeline.Event], last: int) -> str:
    data = {
        "job_id": job.id,
        "status": job.status,
        "attempts": job.attempts,
        "timeline": [Event.model_validate(event).model_dump(mode="json") for event in new],
    }
    return f"id: {last}\ndata: {json.dumps(data)}\n\n"
