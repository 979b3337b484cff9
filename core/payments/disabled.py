"""Stripe switched off: deterministic test data of Stripe's shapes, and no network."""

from __future__ import annotations

import hashlib
import json
from typing import Any

Answer = dict[str, Any]


def create_payment_intent(
    amount: int,
    currency: str,
    metadata: dict[str, str] | None,
    customer_id: str | None,
    idempotency_key: str | None,
) -> Answer:
    """An unconfirmed PaymentIntent; the same key, or the same arguments, give the same one."""
    made = _id("pi", idempotency_key, amount, currency, metadata, customer_id)
    return _intent(made, amount=amount, currency=currency, metadata=metadata or {}, customer=customer_id)


def create_customer(
    email: str, name: str | None, metadata: dict[str, str] | None, idempotency_key: str | None
) -> Answer:
    """A customer."""
    made = _id("cus", idempotency_key, email, name, metadata)
    return {**_object("customer", made), "email": email, "name": name, "metadata": metadata or {}}


def create_refund(
    payment_intent_id: str,
    amount: int | None,
    reason: str | None,
    metadata: dict[str, str] | None,
    idempotency_key: str | None,
) -> Answer:
    """A refund that succeeded."""
    made = _id("re", idempotency_key, payment_intent_id, amount, reason, metadata)
    return {**_refund(made), "payment_intent": payment_intent_id, "amount": amount, "reason": reason,
            "metadata": metadata or {}}  # fmt: skip


def retrieve_payment_intent(payment_intent_id: str) -> Answer:
    """A PaymentIntent of that id; nothing is remembered, so its amount is 0."""
    return _intent(payment_intent_id)


def cancel_payment_intent(payment_intent_id: str, idempotency_key: str | None) -> Answer:
    """The PaymentIntent, canceled."""
    return _intent(payment_intent_id, status="canceled")


def retrieve_refund(refund_id: str) -> Answer:
    """A refund of that id; nothing is remembered, so its amount is None."""
    return _refund(refund_id)


def retrieve_charge(charge_id: str) -> Answer:
    """A charge of that id."""
    return {**_object("charge", charge_id), "status": "succeeded", "payment_intent": None}


def retrieve_dispute(dispute_id: str) -> Answer:
    """A dispute of that id."""
    return {**_object("dispute", dispute_id), "status": "needs_response", "amount": 0, "currency": "usd"}


def list_payment_intents(customer_id: str | None, created_gte: int | None) -> list[Answer]:
    """Nothing is remembered."""
    return []


def list_refunds(payment_intent_id: str | None, created_gte: int | None) -> list[Answer]:
    """Nothing is remembered."""
    return []


def list_events(starting_after: str | None, created_gte: int | None, limit: int) -> Answer:
    """Nothing happens."""
    return {"object": "list", "data": [], "has_more": False}


def _id(prefix: str, key: str | None, *arguments: object) -> str:
    source = key or json.dumps(arguments, sort_keys=True)
    return f"{prefix}_test_{hashlib.sha256(source.encode()).hexdigest()[:24]}"


def _object(kind: str, id: str) -> Answer:
    return {"id": id, "object": kind, "livemode": False, "test_mode": True}


def _refund(id: str) -> Answer:
    return {**_object("refund", id), "status": "succeeded", "amount": None, "currency": "usd", "metadata": {}}


def _intent(id: str, **known: Any) -> Answer:
    return {
        **_object("payment_intent", id),
        "amount": 0, "amount_received": 0, "currency": "usd", "status": "requires_payment_method",
        "client_secret": f"{id}_secret_test", "customer": None, "latest_charge": None, "last_payment_error": None,
        "metadata": {}, **known,
    }  # fmt: skip
