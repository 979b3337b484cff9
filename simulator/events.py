"""Events: the full object at that moment, and one delivery row each, in the transaction that changed it."""

from __future__ import annotations

from typing import Any

from simulator import ids
from simulator.errors import JSON
from simulator.operation import Operation
from simulator.settings import API_VERSION

EARLY_GRACE = 5.0
"""Seconds before the ticker takes over a webhook that was to go out ahead of the API's answer."""


def emit(op: Operation, type: str, item: JSON, before: JSON | None = None) -> None:
    """Record an event about `item`.

    Args:
        op: the effect under way.
        type: for example payment_intent.succeeded.
        item: the object as it is now.
        before: as it was, for previous_attributes.
    """
    data: JSON = {"object": item}
    if before is not None:
        data["previous_attributes"] = _difference(before, item)
    hooked = bool(op.settings.webhook_url)
    event = op.tx.add({
        "id": ids.new("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": op.now,
        "data": data,
        "livemode": False,
        "pending_webhooks": int(hooked),
        "request": {"id": op.request_id, "idempotency_key": op.idempotency_key},
        "type": type,
    })  # fmt: skip
    if hooked:
        _schedule(op, event["id"], type)


def _schedule(op: Operation, event_id: str, type: str) -> None:
    """One delivery row per copy; a webhook fault decides copies, delay and what is wrong with it."""
    fault = op.faults.webhook(type)
    kind = fault.kind if fault else None
    # The answering thread delivers an early one itself; the ticker only if that thread was killed.
    delay = EARLY_GRACE if kind == "early" else fault.delay() if fault else 0.0
    for _ in range(fault.copies if fault else 1):
        row = op.tx.execute(
            "INSERT INTO deliveries (event, due, state, fault) VALUES (?, ?, ?, ?) RETURNING id",
            (event_id, op.time + delay, "dropped" if kind == "drop" else "pending", kind),
        ).fetchone()
        if kind == "early":
            op.early.append(row[0])
        elif kind != "drop" and not delay:
            op.deliveries.append(row[0])


def _difference(before: Any, now: Any) -> JSON:
    """What `before` held where `now` differs, hash by hash, as Stripe's previous_attributes."""
    changed: JSON = {}
    for name in before.keys() | now.keys():
        old, new = before.get(name), now.get(name)
        if old != new:
            changed[name] = _difference(old, new) if isinstance(old, dict) and isinstance(new, dict) else old
    return changed
