"""The bytes of requests: signed Stripe events and checkouts, made before the clock starts."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any, TypedDict

WEBHOOK_SECRET = "whsec_benchmark"  # noqa: S105 - signs nothing but the benchmark's own events
API_KEY = "benchmark-key-of-thirty-two-characters"
API_VERSION = "2026-10-28.endive"
EVENT_BYTES = 2300
"""Size of a typical `payment_intent.succeeded` event."""


class Target(TypedDict):
    """The order that a request is about."""

    order_id: str
    payment_id: str
    intent_id: str
    amount: int


class Plan(TypedDict):
    """What `benchmarks.load` is to do.

    Keys:
        kind: `webhooks` or `checkouts`.
        targets: one request each, in this order; the first `warm_up` are not measured.
        rate: requests per second, or None for as fast as they are answered.
    """

    kind: str
    port: int
    connections: int
    warm_up: int
    rate: float | None
    targets: list[Target]


def requests(plan: dict[str, Any]) -> list[bytes]:
    """The requests of a plan, ready to be written to a socket."""
    make = webhook if plan["kind"] == "webhooks" else checkout
    return [make(target) for target in plan["targets"]]


def webhook(target: Target) -> bytes:
    """A signed event that says the target's PaymentIntent succeeded."""
    body = event(target)
    stamp = str(int(time.time()))
    signature = hmac.new(WEBHOOK_SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return _post("/webhooks/stripe", body, f"Stripe-Signature: t={stamp},v1={signature}\r\n")


def checkout(target: Target) -> bytes:
    """A checkout of the target's order, with a key as a careful client sends it."""
    headers = f"Authorization: Bearer {API_KEY}\r\nIdempotency-Key: checkout-{target['order_id']}\r\n"
    return _post(f"/orders/{target['order_id']}/checkout", b"{}", headers)


def event(target: Target) -> bytes:
    """The event's JSON, filled up to its typical size."""
    intent = {
        "id": target["intent_id"],
        "object": "payment_intent",
        "amount": target["amount"],
        "amount_received": target["amount"],
        "currency": "usd",
        "customer": "cus_bench",
        "client_secret": f"{target['intent_id']}_secret_bench",
        "latest_charge": f"ch_{target['intent_id'][3:]}",
        "livemode": False,
        "metadata": {"order_id": target["order_id"], "payment_id": target["payment_id"]},
        "status": "succeeded",
        "description": "",
    }
    whole = {
        "id": f"evt_{target['intent_id'][3:]}",
        "object": "event",
        "api_version": API_VERSION,
        "created": int(time.time()),
        "data": {"object": intent},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "payment_intent.succeeded",
    }
    intent["description"] = "x" * max(EVENT_BYTES - len(json.dumps(whole)), 0)
    return json.dumps(whole).encode()


def content_length(head: bytes) -> int:
    """The length of the body that an HTTP head announces."""
    at = head.lower().find(b"\r\ncontent-length:")
    return int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def _post(path: str, body: bytes, headers: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body
