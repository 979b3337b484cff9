"""Payments through Stripe, or deterministic test data while `STRIPE_ENABLED` is off.

    from core import payment
    intent = payment.create_payment_intent(amount=1050, currency="usd")

Every answer is a plain dict of Stripe's shape. Amounts are integers of minor units.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from core.errors import Permanent
from core.logs import get_logger
from core.money import check_amount, check_currency
from core.payments import disabled
from core.payments.backend import Answer, Backend, BeforeNext, Listed
from core.payments.errors import (
    PaymentBusy,
    PaymentDeclined,
    PaymentError,
    PaymentInvalid,
    PaymentKeyReused,
    PaymentMisconfigured,
    PaymentRefused,
    PaymentThrottled,
    PaymentUnknown,
)
from core.payments.signature import signed_by
from core.payments.status import PaymentStatus
from core.switches import enabled

__all__ = [
    "Payment", "PaymentBusy", "PaymentDeclined", "PaymentError", "PaymentInvalid", "PaymentKeyReused",
    "PaymentMisconfigured", "PaymentRefused", "PaymentStatus", "PaymentThrottled", "PaymentUnknown",
]  # fmt: skip

logger = get_logger(__name__)

API_VERSION = "2026-10-28.endive"


class Payment:
    """The facade. It chooses Stripe or test data at each call, by the environment.

    Raises, from every method that asks Stripe:
        PaymentError: one of its kinds, named by what to do about it.
    """

    api_version = API_VERSION
    """The API version that we pin and parse."""

    def create_payment_intent(
        self,
        amount: int,
        currency: str = "usd",
        metadata: Mapping[str, object] | None = None,
        customer_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Create an unconfirmed PaymentIntent.

        Args:
            amount: minor units of `currency`; an int, positive.
            metadata: kept with the object at Stripe.
            idempotency_key: the same key never creates a second one; stable across retries if you give it.

        Raises:
            PaymentInvalid: the amount or currency cannot be; nothing was sent.
        """
        currency = _checked(amount, currency)
        return self._backend().create_payment_intent(amount, currency, _texts(metadata), customer_id, idempotency_key)

    def create_customer(
        self,
        email: str,
        name: str | None = None,
        metadata: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Create a customer."""
        return self._backend().create_customer(email, name, _texts(metadata), idempotency_key)

    def create_refund(
        self,
        payment_intent_id: str,
        amount: int | None = None,
        reason: str | None = None,
        metadata: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Refund a PaymentIntent.

        Args:
            amount: minor units of its currency, or None for all that is left.
            reason: `duplicate`, `fraudulent`, `requested_by_customer` or None.

        Raises:
            PaymentInvalid: the amount cannot be; nothing was sent.
        """
        if amount is not None:
            _checked(amount, "usd")
        return self._backend().create_refund(payment_intent_id, amount, reason, _texts(metadata), idempotency_key)

    def cancel_payment_intent(self, payment_intent_id: str, idempotency_key: str | None = None) -> Answer:
        """Cancel a PaymentIntent that has not succeeded."""
        return self._backend().cancel_payment_intent(payment_intent_id, idempotency_key)

    def retrieve_payment_intent(self, payment_intent_id: str) -> Answer:
        """The PaymentIntent as it is now."""
        return self._backend().retrieve_payment_intent(payment_intent_id)

    def retrieve_refund(self, refund_id: str) -> Answer:
        """The refund as it is now."""
        return self._backend().retrieve_refund(refund_id)

    def retrieve_charge(self, charge_id: str) -> Answer:
        """The charge as it is now."""
        return self._backend().retrieve_charge(charge_id)

    def retrieve_dispute(self, dispute_id: str) -> Answer:
        """The dispute as it is now."""
        return self._backend().retrieve_dispute(dispute_id)

    def list_payment_intents(
        self,
        customer_id: str | None = None,
        created_gte: int | None = None,
        created_lte: int | None = None,
        before_next: BeforeNext = None,
    ) -> list[Answer]:
        """PaymentIntents, newest first; a list reads its own writes, a search does not.

        Args:
            created_gte: Unix time in seconds.
            created_lte: Unix time in seconds.
            before_next: called before each page but the first; what it raises ends the listing.
        """
        return self._backend().list_payment_intents(customer_id, created_gte, created_lte, before_next)

    def list_refunds(self, payment_intent_id: str | None = None, created_gte: int | None = None) -> list[Answer]:
        """Refunds, newest first.

        Args:
            created_gte: Unix time in seconds.
        """
        return self._backend().list_refunds(payment_intent_id, created_gte)

    def list_disputes(self, created_gte: int | None = None) -> list[Answer]:
        """Disputes, newest first.

        Args:
            created_gte: Unix time in seconds.
        """
        return self._backend().list_disputes(created_gte)

    def list_page(
        self, of: Listed, starting_after: str | None = None, created_gte: int | None = None, limit: int = 100
    ) -> Answer:
        """One page of all objects of a kind, newest first: `data` and `has_more`.

        Args:
            of: the kind; a balance transaction's `source` is the whole charge, refund or dispute that caused it.
            starting_after: id of the last object of the page before.
            created_gte: Unix time in seconds.
            limit: 1 to 100.
        """
        return self._backend().list_page(of, starting_after, created_gte, limit)

    def list_events(
        self, starting_after: str | None = None, created_gte: int | None = None, limit: int = 100
    ) -> Answer:
        """One page of events, newest first: `data` and `has_more`.

        Args:
            starting_after: id of the last event of the page before.
            created_gte: Unix time in seconds.
            limit: 1 to 100.
        """
        return self._backend().list_events(starting_after, created_gte, limit)

    def verify_webhook_signature(self, payload: bytes | str, signature: str | None) -> bool:
        """Whether one of our webhook secrets signed the raw body; the same check in every mode, closed without one."""
        body = payload.encode("utf-8", "replace") if isinstance(payload, str) else payload
        return signed_by(body, signature, _webhook_secrets())

    def livemode(self) -> bool:
        """Whether our key moves real money, by its prefix."""
        return "_live_" in os.environ.get("STRIPE_SECRET_KEY", "").strip()[:8]

    def fingerprint(self) -> str:
        """What names the key in use without showing it.

        Returns:
            The first 8 hex digits of its sha256; `off` while Stripe is off, `none` without a key or the SDK.
        """
        try:
            return self._backend().fingerprint
        except PaymentMisconfigured as error:
            return error.fingerprint

    def _backend(self) -> Backend:
        if not enabled("STRIPE_ENABLED"):
            return disabled
        from core.payments import stripe_door

        return stripe_door.door()


_secrets: tuple[tuple[str | None, ...], tuple[str, ...]] = ((), ())


def _webhook_secrets() -> tuple[str, ...]:
    """The secrets in force, none when the settings are wrong; read again only when one of their variables changed."""
    global _secrets
    named = tuple(map(os.environ.get, ("STRIPE_WEBHOOK_SECRET", "APP_ENV", "STATE_DIR")))
    if _secrets[0] != named:
        from core import settings

        try:
            found = settings.load().stripe_webhook_secrets
        except settings.SettingsError as error:
            logger.error("no webhook can be verified", extra={"reason": str(error)})
            return ()
        _secrets = (named, tuple(secret.get_secret_value() for secret in found))
    return _secrets[1]


def _checked(amount: int, currency: str) -> str:
    try:
        currency = check_currency(currency)
        check_amount(amount, currency)
    except Permanent as error:
        raise PaymentInvalid(error.detail, error.type) from error
    return currency


def _texts(metadata: Mapping[str, object] | None) -> dict[str, str] | None:
    return None if metadata is None else {str(name): str(value) for name, value in metadata.items()}


payment = Payment()
