"""Resources that callers can only look at: balance transactions and events."""

from __future__ import annotations

from simulator.errors import JSON, no_such
from simulator.operation import Operation

EVENT_DAYS = 30
"""How far back Stripe shows events (docs.stripe.com/api/events)."""


def retrieve_balance_transaction(op: Operation, given: JSON, transaction_id: str) -> JSON:
    """GET /v1/balance_transactions/{id}"""
    return op.tx.get("balance_transaction", transaction_id)


def retrieve_event(op: Operation, given: JSON, event_id: str) -> JSON:
    """GET /v1/events/{id}, of the last 30 days."""
    event = op.tx.get("event", event_id)
    if event["created"] < oldest_event(op):
        raise no_such("event", event_id)
    return with_pending(op, event)


def oldest_event(op: Operation) -> int:
    """The first second still shown, simulator clock."""
    return op.now - EVENT_DAYS * 86_400


def with_pending(op: Operation, event: JSON) -> JSON:
    """The event with the number of webhooks that are still to be delivered."""
    pending = op.tx.execute(
        "SELECT COUNT(*) FROM deliveries WHERE event = ? AND state = 'pending'", (event["id"],)
    ).fetchone()[0]
    return event | {"pending_webhooks": pending}
