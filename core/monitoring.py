"""Errors, breadcrumbs, users and traces: to Sentry while `SENTRY_ENABLED` is on, and breadcrumbs to whoever collects.

The only place that knows Sentry. Nothing here ever raises into the caller.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from importlib.util import find_spec
from typing import Any

from core.breadcrumbs import collecting, leave
from core.logs import bind, bound, get_logger
from core.redaction import redact
from core.switches import enabled

__all__ = ["Monitor", "collecting", "monitor"]

logger = get_logger(__name__)

_CONFIGURATION = ("SENTRY_DSN", "SENTRY_ENVIRONMENT", "SENTRY_TRACES_SAMPLE_RATE", "APP_ENV")
_INTEGRATIONS = {
    "flask": ("flask", "FlaskIntegration"),
    "celery": ("celery", "CeleryIntegration"),
    "redis": ("redis", "RedisIntegration"),
    "sqlalchemy": ("sqlalchemy", "SqlalchemyIntegration"),
}
# W3C Trace Context: version, trace id, parent id, flags; all zeros name nothing.
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")

_incoming: ContextVar[str | None] = ContextVar("incoming", default=None)
_untraced = nullcontext()


class Monitor:
    """The facade. Sentry starts at the first use in each process, and again where the environment names another."""

    def start(self) -> None:
        """Start Sentry now rather than at the first error, so that its integrations see everything. For programs."""
        if enabled("SENTRY_ENABLED"):
            _sentry()

    def capture_exception(
        self, error: BaseException | None = None, context: Mapping[str, object] | None = None
    ) -> str | None:
        """Report an error with what led to it.

        Args:
            error: the exception; the one being handled when omitted.
            context: where it happened.

        Returns:
            Sentry's event id, or None when nothing was sent.
        """
        if not enabled("SENTRY_ENABLED") or (sdk := _sentry()) is None:
            return None
        with _harmless("capture_exception"), sdk.new_scope() as scope:
            scope.set_context("context", redact(dict(context or {})))
            scope.set_tags(bound())
            event_id: str | None = sdk.capture_exception(error)
            return event_id
        return None

    def set_user(self, user_id: str | None = None, email: str | None = None, username: str | None = None) -> None:
        """Say whose request or job this is; without arguments, nobody's."""
        if enabled("SENTRY_ENABLED") and (sdk := _sentry()) is not None:
            user = {"id": user_id, "email": email, "username": username}
            with _harmless("set_user"):
                sdk.set_user({name: value for name, value in user.items() if value is not None} or None)

    def add_breadcrumb(self, message: str, category: str = "default", data: Mapping[str, object] | None = None) -> None:
        """Leave a mark that is shown with the next error, and on the job's timeline."""
        leave(message, category, data)
        if enabled("SENTRY_ENABLED") and (sdk := _sentry()) is not None:
            with _harmless("add_breadcrumb"):
                sdk.add_breadcrumb(message=message, category=category, data=redact(dict(data or {})), level="info")

    def trace(self, name: str, op: str = "function") -> AbstractContextManager[None]:
        """Time a stretch of work; nested traces become a tree."""
        if not enabled("SENTRY_ENABLED") or (sdk := _sentry()) is None:
            return _untraced
        return _inside("trace", lambda: _span(sdk, name, op))

    def traceparent(self) -> str | None:
        """What to hand to whoever goes on with this trace (W3C `traceparent`), or None outside any trace."""
        if enabled("SENTRY_ENABLED") and (sdk := _sentry()) is not None:
            with _harmless("traceparent"):
                trace_id, span_id, *sampled = (sdk.get_traceparent() or "").split("-")
                return f"00-{trace_id}-{span_id}-{'01' if sampled == ['1'] else '00'}"
        return _incoming.get()

    @contextmanager
    def continue_trace(self, traceparent: str | None, name: str) -> Iterator[None]:
        """Go on with the trace of whoever handed us `traceparent`; with none or a malformed one, begin a new one.

        Users and breadcrumbs set inside stay inside, and `trace_id` is bound to the log lines.
        """
        found = _TRACEPARENT.fullmatch(traceparent or "")
        with ExitStack() as stack:
            token = _incoming.set(found[0] if found else None)
            stack.callback(_incoming.reset, token)
            if found:
                stack.enter_context(bind(trace_id=found[1]))
            if enabled("SENTRY_ENABLED") and (sdk := _sentry()) is not None:
                begin = partial(_continued, sdk, found, name)
                stack.enter_context(_inside("continue_trace", sdk.isolation_scope, begin))
            yield

    def flush(self, seconds: float = 2.0) -> None:
        """Send what waits, for at most `seconds`; before a process ends."""
        if enabled("SENTRY_ENABLED") and (sdk := _sentry()) is not None:
            with _harmless("flush"):
                sdk.flush(timeout=seconds)


monitor = Monitor()


def _span(sdk: Any, name: str, op: str) -> AbstractContextManager[Any]:
    parent = sdk.get_current_span()
    started: AbstractContextManager[Any] = (
        parent.start_child(op=op, name=name) if parent else sdk.start_transaction(op=op, name=name)
    )
    return started


def _continued(sdk: Any, found: re.Match[str] | None, name: str) -> AbstractContextManager[Any]:
    headers = {}
    if found:
        # Not sampled there does not mean that nobody looks here: only a yes is carried on.
        headers["sentry-trace"] = f"{found[1]}-{found[2]}" + ("-1" if int(found[3], 16) & 1 else "")
    started: AbstractContextManager[Any] = sdk.start_transaction(sdk.continue_trace(headers, op="job", name=name))
    return started


@contextmanager
def _inside(action: str, *openers: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Run the body inside what the SDK opens; an error of the body passes, one of the SDK's is only logged."""
    opened = ExitStack()
    with _harmless(action):
        for opener in openers:
            opened.enter_context(opener())
    try:
        yield
    finally:
        with _harmless(action):
            opened.__exit__(*sys.exc_info())


@contextmanager
def _harmless(action: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, monitoring is no reason to fail
        reason = f"{type(error).__name__}: {error}"
        logger.warning("monitoring failed", extra={"action": action, "reason": reason})


_started: tuple[tuple[object, ...], Any] | None = None
_lock = threading.Lock()


def _sentry() -> Any:
    """The started SDK, or None when it cannot start; a forked child starts its own."""
    identity = (os.getpid(), *map(os.environ.get, _CONFIGURATION))
    found = _started
    return found[1] if found is not None and found[0] == identity else _begin(identity)


def _begin(identity: tuple[object, ...]) -> Any:
    global _started
    with _lock:
        if _started is None or _started[0] != identity:
            try:
                sdk = _initialised()
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, monitoring is no reason to stop
                logger.warning("Sentry could not be started", extra={"reason": f"{type(error).__name__}: {error}"})
                sdk = None
            _started = (identity, sdk)
        return _started[1]


def _initialised() -> Any:
    import sentry_sdk
    from sentry_sdk.integrations.logging import LoggingIntegration

    from core import settings

    found = settings.load()
    sentry_sdk.init(
        dsn=found.sentry_dsn,
        environment=found.sentry_environment,
        traces_sample_rate=found.sentry_traces_sample_rate,
        # No send_default_pii: what the SDK finds about people by itself stays here.
        include_local_variables=False,  # they hold cards, keys and people
        max_request_body_size="never",  # so do bodies
        auto_enabling_integrations=False,
        # Lines become breadcrumbs; only capture_exception makes an event, or each error would be two.
        integrations=[LoggingIntegration(event_level=None), *_present()],
        before_send=_redacted,
        before_send_transaction=_redacted,
    )
    return sentry_sdk


def _present() -> Iterator[Any]:
    from importlib import import_module

    for package, (module, name) in _INTEGRATIONS.items():
        if find_spec(package):
            yield getattr(import_module(f"sentry_sdk.integrations.{module}"), name)()


def _redacted(event: Any, hint: Any) -> Any:
    return redact(event)


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_renew_lock)
