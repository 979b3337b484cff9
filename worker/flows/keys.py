"""How long an idempotency key may be trusted."""

from __future__ import annotations

from datetime import timedelta

KEY_LIFE = timedelta(hours=23)
"""Stripe keeps a key for at least 24 h (docs.stripe.com/api/idempotent_requests); stay below."""
