"""Jobs: what became of accepted work, once or as it happens."""

from __future__ import annotations

from flask import Response, request

from core.database import reading
from core.domain import accounts, jobs, timeline
from core.errors import NotFound
from web import answers, streams
from web.auth import Caller
from web.headers import LAST_EVENT_ID
from web.routing import Routes, Text, reply

routes = Routes("Jobs")


@routes.get(
    "/jobs/<job_id>",
    "Show a job and its timeline, or follow it",
    scope=accounts.READ,
    browser=True,
    headers=(LAST_EVENT_ID,),
    answers={
        200: (answers.Job, Text("text/event-stream", "an event for each change, until the job has ended")),
        204: (),
    },
    problems=(404,),
)
def show_job(caller: Caller, job_id: str) -> Response:
    """Show a job; with `Accept: text/event-stream`, follow it."""
    with reading() as conn:
        job = jobs.find(conn, job_id)
        if job is None or not caller.may_see(job):
            raise NotFound("there is no such job")
        if request.accept_mimetypes.best_match(["application/json", streams.MEDIA_TYPE]) != streams.MEDIA_TYPE:
            return reply(answers.Job.model_validate({**vars(job), "timeline": timeline.read(conn, job_id)}))
    return streams.follow(job_id)
