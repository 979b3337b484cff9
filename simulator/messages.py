"""A request as it arrived and an answer as it leaves, free of any HTTP server."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.store import dumps


@dataclass(frozen=True)
class Request:
    """One HTTP request; header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def api_key(self) -> str | None:
        """The API key of Bearer or Basic authorization."""
        scheme, _, rest = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return rest.strip() or None
        if scheme.lower() == "basic":
            try:
                return base64.b64decode(rest, validate=True).decode().partition(":")[0] or None
            except (binascii.Error, UnicodeDecodeError):
                return None
        return None


@dataclass
class Answer:
    """One HTTP answer.

    Attributes:
        cut: how the connection dies instead: reset (nothing is sent) or reset_mid_body; None for a whole answer.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    cut: str | None = None


NO_ANSWER = 0
"""The status of an answer that is cut before its first byte."""


def json_answer(status: int, value: Any, headers: dict[str, str] | None = None) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))


def lost() -> Answer:
    """A connection reset without an answer."""
    return Answer(NO_ANSWER, b"", cut="reset")
