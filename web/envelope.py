"""What surrounds every request: its id, its log line, its metrics, the security headers."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Flask, Response, request
from prometheus_client import Counter, Histogram

from core import get_logger, log_request
from core.ids import new_id
from core.logs import bind
from web.metrics import REQUESTS, SECONDS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = get_logger(__name__)

REQUEST_ID = "counterfoil.request_id"
"""Where the WSGI environment of a request has its id."""
_BEGAN = "counterfoil.began"
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
_QUIET = ("/health/", "/metrics", "/static/")
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
}
_SECURITY = list(SECURITY.items())
_UNCACHED = [*_SECURITY, ("Cache-Control", "no-store")]
CORS = {
    # Any origin: a checkout token comes in a header, never by itself like a cookie, so an origin proves nothing.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, X-Request-Id"
    ),
    "Access-Control-Expose-Headers": "Location, Preference-Applied, Retry-After, X-Request-Id",
    "Access-Control-Max-Age": "600",
}


class Numbered:
    """WSGI middleware that gives a request its id, binds it into everything that is logged meanwhile, and adds the
    headers of every answer: here they cost a list, in Flask a look at all headers each.
    """

    def __init__(self, inner: WSGIApplication) -> None:
        self._inner = inner

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Take the caller's X-Request-Id when it is sane, else make one."""
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if given and _SANE_ID.fullmatch(given) else new_id()
        environ[REQUEST_ID] = request_id
        environ[_BEGAN] = perf_counter()

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
            cached = any(name == "Cache-Control" for name, _ in headers)
            ours = [("X-Request-Id", request_id), *(_SECURITY if cached else _UNCACHED)]
            return start_response(status, headers + ours, *error)

        with bind(request_id=request_id):
            return self._inner(environ, start)


def register(app: Flask, browser_paths: frozenset[str]) -> None:
    """Surround every request of `app`.

    Args:
        browser_paths: rules that a page of another origin may call with a checkout token.
    """
    app.wsgi_app = Numbered(app.wsgi_app)  # type: ignore[method-assign]  # Flask's documented place for middleware

    @app.after_request
    def _end(response: Response) -> Response:
        rule = request.url_rule
        if rule is not None and rule.rule in browser_paths:
            response.headers.update(CORS)
            response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(rule.methods or ()))
        _record(rule.rule if rule else "unmatched", response.status_code)
        return response


def _record(rule: str, status: int) -> None:
    seconds = perf_counter() - request.environ[_BEGAN]
    method = request.method if request.method in _METHODS else "other"  # a label that callers invent has no bound
    answered, took = _metrics(method, rule, status)
    answered.inc()
    took.observe(seconds)
    if not logger.isEnabledFor(logging.INFO if status < 500 else logging.ERROR):
        return
    if status >= 400 or not request.path.startswith(_QUIET):
        path = quote(request.path)  # a decoded line break would forge a line of the log
        log_request(logger, method, path, status, duration_ms=round(seconds * 1000, 1))


@cache
def _metrics(method: str, rule: str, status: int) -> tuple[Counter, Histogram]:
    # Looking them up takes as long as counting; rules, methods and statuses are few.
    return REQUESTS.labels(method, rule, status), SECONDS.labels(method, rule)
