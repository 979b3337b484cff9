"""Request headers that routes understand, as they are documented."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Header:
    """A request header of an operation."""

    name: str
    description: str
    pattern: str
    example: str
    required: bool = False


_KEY = "Names this request: repeated with the same body it gives the same answer and nothing happens twice."
IDEMPOTENCY_KEY = Header("Idempotency-Key", _KEY, r"^[\x20-\x7e]{1,255}$", "checkout-shop-1001")
IDEMPOTENCY_KEY_REQUIRED = Header("Idempotency-Key", _KEY, r"^[\x20-\x7e]{1,255}$", "refund-shop-1001-1", True)
PREFER = Header("Prefer", "Wait for the job's end for up to N seconds, at most 30.", r"wait=\d+", "wait=10")
LAST_EVENT_ID = Header("Last-Event-ID", "Go on after this event of the stream.", r"^\d+$", "42")
STRIPE_SIGNATURE = Header(
    "Stripe-Signature", "Stripe's signature of the body.", r"^t=\d+,.*v1=", "t=1767225600,v1=5257a869e7...", True
)
REQUEST_ID = Header(
    "X-Request-Id", "Names this request in the logs; made when missing.", r"^[A-Za-z0-9._-]{1,64}$", "web-7f3a"
)
