"""Looking before repeating: how long a key may be trusted, what Stripe has with our id on it, and whether it is on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from core import payment
from core.clock import utcnow
from core.database import reading
from core.domain import pauses
from core.domain.leases import Claim
from core.errors import Retryable
from core.payments import PaymentRefused
from core.sightings import KEY_LIFE
from core.switches import enabled

OFF_SECONDS = 30.0


def too_old(epoch_at: datetime) -> bool:
    """Whether Stripe may have forgotten a key of that epoch, so that it protects no more."""
    return utcnow() - epoch_at > KEY_LIFE


def marked(listed: Callable[[], list[dict[str, Any]]], mark: str, our_id: str) -> dict[str, Any] | None:
    """The object whose metadata carries our id; lists read their own writes, search does not.

    Args:
        listed: asks Stripe for the objects of one parent.
        mark: the metadata's name of our id.

    Raises:
        Retryable: Stripe will not list them, so nothing may be concluded.
    """
    try:
        found = listed()
    except PaymentRefused as error:
        if error.code == "resource_missing":  # without the parent there is no child
            return None
        raise Retryable(f"Stripe does not list them: {error.detail}") from error
    return next((seen for seen in found if (seen.get("metadata") or {}).get(mark) == our_id), None)


def stripe_is_on() -> bool:
    """Whether answers come from Stripe and not from test data."""
    return enabled("STRIPE_ENABLED")


def wait_for_stripe(claim: Claim) -> None:
    """Before a call by a kind of job that does not always make one, so that it is claimed while Stripe is paused.

    Args:
        claim: the job that would ask.

    Raises:
        Retryable: Stripe asked us to wait, or refuses our key, or this kind of job, until the moment that is its own.
    """
    own = pauses.of_key(payment.fingerprint())
    with reading() as conn:
        seconds = pauses.left(conn, claim.kind, claim.job_id, own)
    if seconds:
        raise Retryable("Stripe is paused", seconds, spends_attempt=False, exact=True)


def insist_on_stripe(test_mode: bool) -> None:
    """Real money waits for the real Stripe: test data must never speak for it.

    Args:
        test_mode: the payment was made with Stripe off.

    Raises:
        Retryable: Stripe is off.
    """
    if not test_mode and not stripe_is_on():
        raise Retryable("Stripe is switched off, and this is about real money", OFF_SECONDS, spends_attempt=False)
