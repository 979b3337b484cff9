"""Every error leaves as RFC 9457 problem+json with a stable type and the request's id."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, request
from werkzeug.exceptions import HTTPException

from core import get_logger, log_error, monitor
from core.errors import Permanent, Retryable, Uncertain
from web.envelope import REQUEST_ID
from web.whole import Whole

logger = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


class Unauthenticated(Permanent):
    """No key, or none that is known (401)."""

    type, title, status = "unauthenticated", "A key is needed", 401


class Forbidden(Permanent):
    """The key may not do this (403)."""

    type, title, status = "forbidden", "The key does not allow this", 403


class Busy(Permanent):
    """No room for this kind of answer right now (503)."""

    type, title, status = "busy", "Too many are waiting", 503


class ValidationFailed(Permanent):
    """Well-formed, but fields are wrong (422); `errors` says which."""

    type, title, status = "validation-failed", "The request has wrong fields", 422

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{error['field']}: {error['problem']}" for error in errors[:3]))
        self.errors = errors


def problem(members: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Whole:
    """An answer from problem members, whose `type` is a slug.

    Args:
        members: type, title, status, detail and any extension members.
        headers: more headers of the answer.
    """
    body = {**members, "type": f"/problems/{members['type']}", "request_id": request.environ.get(REQUEST_ID)}
    return Whole(json.dumps(body), status=members["status"], mimetype=MEDIA_TYPE, headers=headers)


def register(app: Flask) -> None:
    """Answer every exception of `app` with a problem."""
    app.register_error_handler(Permanent, _refused)
    app.register_error_handler(Retryable, _try_again)
    app.register_error_handler(Uncertain, _try_again)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)


def _refused(error: Permanent) -> Whole:
    members: dict[str, Any] = error.as_problem()
    if isinstance(error, ValidationFailed):
        members["errors"] = error.errors
    return problem(members, _REQUIRED.get(error.status))


# What RFC 9110 asks of these statuses.
_REQUIRED = {401: {"WWW-Authenticate": 'Bearer realm="counterfoil"'}, 503: {"Retry-After": "1"}}


def _try_again(error: Retryable | Uncertain) -> Whole:
    """The database was away. After a commit nobody knows whether it happened, so the caller is to repeat itself."""
    log_error(logger, error, context={"path": request.path})
    seconds = max(1, math.ceil(getattr(error, "delay", None) or 1))
    return problem(
        {
            "type": "unavailable",
            "title": "Not available right now",
            "status": 503,
            "detail": "Whether this was stored is not known: repeat the request, with the same Idempotency-Key.",
        },
        {"Retry-After": str(seconds)},
    )


_TYPES = {
    400: ("invalid-request", "The request is not valid"),
    404: ("no-such-route", "There is nothing here"),
    405: ("method-not-allowed", "This method is not offered here"),
    413: ("body-too-large", "The body is too large"),
    415: ("unsupported-media-type", "This media type is not understood"),
}


def _http(error: HTTPException) -> Whole:
    status = error.code or 500
    slug, title = _TYPES.get(status) or (f"http-{status}", HTTPStatus(status).phrase)
    members = {"type": slug, "title": title, "status": status, "detail": error.description or title}
    # The exception's own headers carry what its status requires, for example Allow with a 405.
    required = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return problem(members, required)


def _bug(error: Exception) -> Whole:
    monitor.capture_exception(error, context={"path": request.path, "request_id": request.environ.get(REQUEST_ID)})
    log_error(logger, error, context={"path": request.path})
    return problem(
        {
            "type": "internal-error",
            "title": "Our own fault",
            "status": 500,
            "detail": "Something went wrong here. It was recorded with the request_id.",
        }
    )
