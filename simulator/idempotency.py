"""Idempotency as Stripe does it (docs.stripe.com/api/idempotent_requests).

The first answer of a request that began executing is kept for 24 hours, whatever its status, and replayed to the
same request; another request under that key is refused; a second one while the first executes is a conflict.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from simulator.errors import ApiError, key_in_use
from simulator.operation import Operation

LIFETIME = 24 * 3600
"""Seconds of the simulator's clock."""
LONGEST_KEY = 255


@dataclass(frozen=True)
class Saved:
    """The answer that a key remembers."""

    status: int
    body: str
    request: str


class InFlight:
    """The keys whose requests are executing now. Not durable: a killed simulator executes nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: set[str] = set()

    @contextmanager
    def hold(self, key: str | None) -> Iterator[None]:
        """Keep `key` for the block.

        Raises:
            ApiError: 409 idempotency_key_in_use.
        """
        if key is None:
            yield
            return
        with self._lock:
            if key in self._keys:
                raise key_in_use(key)
            self._keys.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._keys.discard(key)


def check_key(key: str | None) -> None:
    """Refuse a key that is empty or too long.

    Raises:
        ApiError: 400.
    """
    if key is not None and not 0 < len(key) <= LONGEST_KEY:
        raise ApiError(400, f"Idempotency keys must be 1 to {LONGEST_KEY} characters long.", type="idempotency_error")


def fingerprint(params: Any) -> str:
    """A hash of decoded parameters, whatever their order."""
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()


def recall(op: Operation, key: str, path: str, print_: str) -> Saved | None:
    """The saved answer of this very request.

    Raises:
        ApiError: 400 idempotency_error, the key belongs to another request.
    """
    row = op.tx.execute("SELECT * FROM idempotency WHERE key = ? AND created > ?", (key, op.time - LIFETIME)).fetchone()
    if row is None:
        return None
    if row["path"] != path:
        raise ApiError(
            400,
            f"Keys for idempotent requests can only be used for the same endpoint they were first used for "
            f"('{path}' vs '{row['path']}'). Try using a key other than '{key}' if you meant to execute a different "
            "request.",
            type="idempotency_error",
        )
    if row["fingerprint"] != print_:
        raise ApiError(
            400,
            f"Keys for idempotent requests can only be used with the same parameters they were first used with. Try "
            f"using a key other than '{key}' if you meant to execute a different request.",
            type="idempotency_error",
        )
    return Saved(row["status"], row["body"], row["request"])


def save(op: Operation, key: str, path: str, print_: str, saved: Saved) -> None:
    """Remember the answer, in the transaction that holds the effect."""
    op.tx.execute(
        "INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?, ?, ?, ?)",
        (key, path, print_, saved.status, saved.body, saved.request, op.time),
    )
