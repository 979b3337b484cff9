"""The request log: one appended line per API request, in the transaction of its effect."""

from __future__ import annotations

import time
from typing import Any

from simulator.faults import Rule
from simulator.messages import Request
from simulator.operation import Operation
from simulator.store import Transaction


def append(
    op: Operation,
    request: Request,
    request_id: str,
    params_hash: str,
    status: int | None,
    fault: Rule | None,
    *,
    replayed: bool = False,
) -> None:
    """Append a line. The status is what was answered, or None where the fault left no answer."""
    op.tx.execute(
        "INSERT INTO requests (request, method, path, idempotency_key, params_hash, status, replayed, fault, created,"
        " recorded) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (request_id, request.method, request.path, request.headers.get("idempotency-key"), params_hash, status,
         replayed, f"{fault.kind} {fault.when}" if fault else None, op.time, time.time()),
    )  # fmt: skip


def lines(tx: Transaction, after: int, key: str | None) -> list[dict[str, Any]]:
    """The lines with an id above `after`, oldest first."""
    rows = tx.execute(
        "SELECT * FROM requests WHERE id > ? AND (? IS NULL OR idempotency_key = ?) ORDER BY id", (after, key, key)
    )
    return [dict(row) | {"replayed": bool(row["replayed"])} for row in rows]
