"""Webhook signatures, Stripe's scheme v1 (docs.stripe.com/webhooks#verify-manually)."""

from __future__ import annotations

import hashlib
import hmac


def sign(payload: bytes, timestamp: int, secret: str) -> str:
    """The Stripe-Signature header of `payload` sent at `timestamp` (Unix seconds)."""
    signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={signed}"
