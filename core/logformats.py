"""How a record leaves the process: one line of JSON for machines, or one readable line, both redacted."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from core.clock import rfc3339
from core.logs import bound
from core.redaction import as_text, hides_personal_data, redact, redact_text

_OWN = frozenset(RESERVED_ATTRS) | {"taskName"}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {9: "\\t", 10: "\\n", 13: "\\r"}


class Json(JsonFormatter):
    """`timestamp` (RFC 3339, UTC), `level`, `logger`, `message`, then bound fields, extras, `exception`, `stack`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        return self.serialize_log_record(_shown(record))


class Text(logging.Formatter):
    """`time LEVEL logger message name=value ...`, with a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """One readable line; control characters cannot forge another."""
        shown = _shown(record)
        head = f"{shown.pop('timestamp')} {shown.pop('level'):8} {shown.pop('logger')}  {shown.pop('message')}"
        below = [str(shown.pop(name)) for name in ("exception", "stack") if name in shown]
        fields = [f"{name}={value}" for name, value in shown.items()]
        return "\n".join(["  ".join([head, *fields]).translate(_CONTROL), *below])


class Output(logging.Handler):
    """Writes to standard error as it is now; whatever it is given, it never raises."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - an argument of the caller's may do anything while it is formatted
            line = f'{{"level": "ERROR", "message": "a log record could not be formatted: {type(error).__name__}"}}'
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # closed, full or absent: there is nowhere left to say so
            return


@cache
def output(log_format: str) -> Output:
    """The handler for `json` or `text`."""
    handler = Output()
    handler.setFormatter(Json() if log_format == "json" else Text())
    return handler


def _shown(record: logging.LogRecord) -> dict[str, Any]:
    personal = hides_personal_data()
    return {
        "timestamp": rfc3339(datetime.fromtimestamp(record.created, UTC)),
        "level": record.levelname,
        "logger": record.name,
        "message": redact_text(_message(record), personal),
        **{name: redact(value, personal, name) for name, value in _extras(record)},
        **{name: redact_text(text, personal) for name, text in _below(record)},
    }


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - the arguments do not fit: both are worth more than the exception
        return " ".join(as_text(part) for part in (record.msg, *(record.args or ())))


def _extras(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    for name, value in bound().items():
        if name not in record.__dict__:  # a vendor's record
            yield name, value
    for name, value in record.__dict__.items():
        if name not in _OWN:
            yield name, value


def _below(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    formatter = logging.Formatter()
    if record.exc_info and record.exc_info[0]:
        yield "exception", formatter.formatException(record.exc_info)
    elif record.exc_text:
        yield "exception", record.exc_text
    if record.stack_info:
        yield "stack", record.stack_info
