"""Marks of what happened, collected for whoever asked: a job's attempt writes them to its timeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from core.clock import utcnow
from core.redaction import hides_personal_data, redact, redact_text

Breadcrumb = dict[str, Any]

_trail: ContextVar[list[Breadcrumb] | None] = ContextVar("trail", default=None)


@contextmanager
def collecting() -> Iterator[list[Breadcrumb]]:
    """Collect this context's breadcrumbs: `message`, `category`, `data` (redacted) and `at`."""
    trail: list[Breadcrumb] = []
    token = _trail.set(trail)
    try:
        yield trail
    finally:
        _trail.reset(token)


def leave(message: str, category: str, data: Mapping[str, object] | None) -> None:
    """Add a breadcrumb to whoever collects; nobody costs next to nothing."""
    trail = _trail.get()
    if trail is not None:
        personal = hides_personal_data()
        kept = redact(dict(data), personal) if data else None
        trail.append({
            "message": redact_text(message, personal), "category": category, "data": kept, "at": utcnow(),
        })  # fmt: skip
