"""Stripe switched off: deterministic test data in Stripe's shapes, and no network.

Nothing is remembered. An id carries the amount and currency that it was made with, so that it can be retrieved.
"""

from __future__ import annotations

import hashlib
import json
import re

from core.payments.backend import Answer, BeforeNext, Listed, Metadata

CREATED = 1_767_225_600
"""One fixed moment (2026-01-01 UTC): the same call gives the same answer."""

fingerprint = "off"

# A refund's id ends with its PaymentIntent's; all fit into 64 characters.
_ID = re.compile(
    r"[a-z]+_test_(?:(?P<part>\d+)_[0-9a-f]{12}_)?(?P<amount>\d+)(?P<currency>[a-z]{3})_(?P<digest>[0-9a-f]{16})"
)


def create_payment_intent(
    amount: int,
    currency: str,
    metadata: Metadata,
    customer_id: str | None,
    idempotency_key: str | None,
) -> Answer:
    """An unconfirmed PaymentIntent; the same key, or the same arguments, give the same one."""
    digest = _digest(idempotency_key, amount, currency, metadata, customer_id)
    made = _intent(f"pi_test_{amount}{currency}_{digest}")
    return {**made, "customer": customer_id, "metadata": metadata or {}}


def create_customer(email: str, name: str | None, metadata: Metadata, idempotency_key: str | None) -> Answer:
    """A customer."""
    made = f"cus_test_{_digest(idempotency_key, email, name, metadata)}"
    return {**_object("customer", made), "email": email, "name": name, "metadata": metadata or {}}


def create_refund(
    payment_intent_id: str,
    amount: int | None,
    reason: str | None,
    metadata: Metadata,
    idempotency_key: str | None,
) -> Answer:
    """A refund that succeeded; of the whole amount unless one is given."""
    whole, currency = _parts(payment_intent_id)
    digest = _digest(idempotency_key, payment_intent_id, amount, reason, metadata)
    tail = f"{whole}{currency}_{payment_intent_id[-16:] if _ID.fullmatch(payment_intent_id) else digest}"
    made = _refund(f"re_test_{whole if amount is None else amount}_{digest[:12]}_{tail}")
    return {**made, "payment_intent": payment_intent_id, "reason": reason, "metadata": metadata or {}}


def retrieve_payment_intent(payment_intent_id: str) -> Answer:
    """The PaymentIntent of that id."""
    return _intent(payment_intent_id)


def cancel_payment_intent(payment_intent_id: str, idempotency_key: str | None) -> Answer:
    """The PaymentIntent, canceled."""
    return {**_intent(payment_intent_id), "status": "canceled"}


def retrieve_refund(refund_id: str) -> Answer:
    """The refund of that id."""
    return _refund(refund_id)


def retrieve_charge(charge_id: str) -> Answer:
    """A charge of that id."""
    amount, currency = _parts(charge_id)
    money = {"amount": amount, "amount_refunded": 0, "currency": currency}
    return {**_object("charge", charge_id), **money, "status": "succeeded", "payment_intent": None}


def retrieve_dispute(dispute_id: str) -> Answer:
    """A dispute of that id."""
    amount, currency = _parts(dispute_id)
    details = {"charge": None, "payment_intent": None, "reason": "general", "status": "needs_response"}
    return {**_object("dispute", dispute_id), "amount": amount, "currency": currency, **details}


def list_payment_intents(
    customer_id: str | None, created_gte: int | None, created_lte: int | None, before_next: BeforeNext
) -> list[Answer]:
    """Nothing is remembered."""
    return []


def list_refunds(payment_intent_id: str | None, created_gte: int | None) -> list[Answer]:
    """Nothing is remembered."""
    return []


def list_disputes(created_gte: int | None) -> list[Answer]:
    """Nothing is remembered."""
    return []


def list_page(of: Listed, starting_after: str | None, created_gte: int | None, limit: int) -> Answer:
    """Nothing is remembered."""
    return {"object": "list", "data": [], "has_more": False}


def list_events(starting_after: str | None, created_gte: int | None, limit: int) -> Answer:
    """Nothing happens."""
    return {"object": "list", "data": [], "has_more": False}


def _digest(key: str | None, *arguments: object) -> str:
    source = f"key {key}" if key else json.dumps(arguments, sort_keys=True, default=str)
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _parts(id: str) -> tuple[int, str]:
    found = _ID.fullmatch(id)
    return (int(found["part"] or found["amount"]), found["currency"]) if found else (0, "usd")


def _object(kind: str, id: str) -> Answer:
    return {"id": id, "object": kind, "created": CREATED, "livemode": False, "metadata": {}, "test_mode": True}


def _refund(id: str) -> Answer:
    amount, currency = _parts(id)
    found = _ID.fullmatch(id)
    intent = f"pi_test_{found['amount']}{currency}_{found['digest']}" if found else None
    money = {"amount": amount, "currency": currency, "payment_intent": intent, "charge": None}
    return {**_object("refund", id), **money, "status": "succeeded", "reason": None}


def _intent(id: str) -> Answer:
    amount, currency = _parts(id)
    money = {"amount": amount, "amount_received": 0, "currency": currency}
    secret = f"{id}_secret_{_digest(id)}"
    state = {"status": "requires_payment_method", "latest_charge": None, "last_payment_error": None}
    return {**_object("payment_intent", id), **money, **state, "client_secret": secret, "customer": None}
