"""Structured logging: `get_logger`, fields bound once per request or job, and the seed's helpers.

Works unconfigured, at `LOG_LEVEL` and `LOG_FORMAT`; programs call `configure()`. Everything that leaves is redacted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# What a record or its JSON line holds already; a field of that name is kept with a `_` behind it.
_TAKEN = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message", "asctime", "timestamp", "level", "logger", "exception", "stack",
}  # fmt: skip
_NOTHING: Mapping[str, str] = {}

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=_NOTHING)
_level: int | None = None


class Logger(logging.Logger):
    """A standard logger that takes any `extra`, adds the bound fields, and has `LOG_LEVEL` while vendors have not."""

    def makeRecord(  # noqa: N802 - the standard library's name and arguments
        self,
        name: str,
        level: int,
        fn: str,
        lno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        extra: Any = None,
        sinfo: str | None = None,
    ) -> logging.LogRecord:
        """Build the record; fields that it cannot hold under their own name get another instead of raising."""
        record = super().makeRecord(name, level, fn, lno, msg, args, exc_info, func, None, sinfo)
        for field, value in {**_bound.get(), **_fields(extra)}.items():
            record.__dict__[field + "_" if field in _TAKEN else field] = value
        return record

    def getEffectiveLevel(self) -> int:  # noqa: N802 - the standard library's name
        """The nearest level set on it or a parent, else LOG_LEVEL; the root's is the vendors', or asks for more."""
        logger: logging.Logger | None = self
        while logger is not None and logger.parent is not None:
            if logger.level:
                return logger.level
            logger = logger.parent
        level = _level_of(os.environ.get("LOG_LEVEL", "")) if _level is None else _level
        return min(level, logging.root.level) if logging.root.level < logging.WARNING else level

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Where nobody configured a handler, write as `configure` would, never raw."""
        if self.hasHandlers():
            super().callHandlers(record)
        else:
            _handler(os.environ.get("LOG_FORMAT", "")).handle(record)


def get_logger(name: str) -> logging.Logger:
    """The logger `name`, usually `__name__`."""
    logger = logging.getLogger(name)
    if type(logger) is logging.Logger:
        logger.__class__ = Logger
    return logger


def configure() -> None:
    """Send what programs log to standard error, at LOG_LEVEL and in LOG_FORMAT; vendors from WARNING on. Idempotent.

    Raises:
        SettingsError: a setting is wrong or missing.
    """
    from core import settings
    from core.logformats import Output

    global _level
    found = settings.load()
    _level = _level_of(found.log_level)
    for old in [handler for handler in logging.root.handlers if isinstance(handler, Output)]:
        logging.root.removeHandler(old)
    logging.root.addHandler(_handler(found.log_format))
    logging.root.setLevel(max(_level, logging.WARNING))  # their debug lines hold bodies


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Add `fields`, but those that are None, to every line logged meanwhile in this context (thread or greenlet)."""
    token = _bound.set({**_bound.get(), **{name: str(value) for name, value in fields.items() if value is not None}})
    try:
        yield
    finally:
        _bound.reset(token)


def bound() -> dict[str, str]:
    """The fields bound here."""
    return dict(_bound.get())


def log_request(
    logger: logging.Logger, method: str, path: str, status_code: int, duration_ms: float, **fields: object
) -> None:
    """Log an HTTP request that was answered: an error from 500 on.

    Args:
        duration_ms: milliseconds it took.
        fields: anything else to keep.
    """
    extra = {**fields, "method": method, "path": path, "status_code": status_code, "duration_ms": duration_ms}
    level = logging.ERROR if status_code >= 500 else logging.INFO
    logger.log(level, "%s %s %s", method, path, status_code, extra=extra, stacklevel=2)


def log_db_query(
    logger: logging.Logger, query: str, duration_ms: float, rows: int | None = None, **fields: object
) -> None:
    """Log a database query, for developers.

    Args:
        query: the statement with placeholders, never with its values.
        duration_ms: milliseconds it took.
        rows: how many came back or were changed.
        fields: anything else to keep.
    """
    if logger.isEnabledFor(logging.DEBUG):
        extra = {**fields, "query": query, "duration_ms": duration_ms, "rows": rows}
        logger.debug("Database query executed", extra=extra, stacklevel=2)


def log_error(logger: logging.Logger, error: BaseException, context: Mapping[str, object] | None = None) -> None:
    """Log an error with its traceback.

    Args:
        context: fields that tell where it happened.
    """
    extra = {**(context or {}), "error": str(error), "error_type": type(error).__name__}
    logger.error("%s: %s", type(error).__name__, error, exc_info=error, extra=extra, stacklevel=2)


def _fields(extra: object) -> dict[str, object]:
    if extra is None:
        return {}
    return {str(name): value for name, value in extra.items()} if isinstance(extra, Mapping) else {"extra": extra}


def _level_of(name: str) -> int:
    return {"WARN": logging.WARNING, **logging.getLevelNamesMapping()}.get(name.strip().upper(), 0) or logging.INFO


def _handler(log_format: str) -> logging.Handler:
    from core.logformats import output

    return output("text" if log_format.strip() == "text" else "json")
