"""The one place that knows the Stripe SDK. Its objects become dicts here, its errors ours, and both stop here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import stripe
from stripe import StripeClient

from core import settings
from core.payments import API_VERSION
from core.payments.errors import (
    PaymentBusy,
    PaymentDeclined,
    PaymentError,
    PaymentKeyReused,
    PaymentMisconfigured,
    PaymentRefused,
    PaymentUnknown,
)
from core.payments.stripe_http import AnswerLost, NothingSent, Pool

Answer = dict[str, Any]


PAGE = 100
MOST_PAGES = 50
MISCONFIGURED_DELAY = 30.0

stripe.enable_telemetry = False  # it writes a file, and reports our timings


class _Client(stripe.HTTPClient):
    name = "urllib3"

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._pool = pool

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        try:
            body, status, answered = self._pool.send(method.upper(), url, headers or {}, post_data)
        except (NothingSent, AnswerLost) as error:
            raise stripe.APIConnectionError(str(error)) from error  # type: ignore[no-untyped-call]  # the SDK's
        return body.decode("utf-8", "replace"), status, answered

    def close(self) -> None:
        self._pool.close()


class Door:
    """The calls that we make to Stripe, each tried once.

    Raises, from every method:
        PaymentError: one of its kinds.
    """

    def __init__(self, key: str, base: str | None) -> None:
        pool = Pool(base or stripe.DEFAULT_API_BASE, stripe.ca_bundle_path)
        self._v1 = StripeClient(
            key,
            stripe_version=API_VERSION,
            base_addresses={"api": base} if base else {},
            http_client=_Client(pool),
            max_network_retries=0,
        ).v1

    def create_payment_intent(
        self,
        amount: int,
        currency: str,
        metadata: dict[str, str] | None,
        customer_id: str | None,
        idempotency_key: str | None,
    ) -> Answer:
        """POST /v1/payment_intents, unconfirmed."""
        params = _given(amount=amount, currency=currency, metadata=metadata, customer=customer_id)
        return _written(self._v1.payment_intents.create, params, idempotency_key)

    def create_customer(
        self, email: str, name: str | None, metadata: dict[str, str] | None, idempotency_key: str | None
    ) -> Answer:
        """POST /v1/customers."""
        return _written(self._v1.customers.create, _given(email=email, name=name, metadata=metadata), idempotency_key)

    def create_refund(
        self,
        payment_intent_id: str,
        amount: int | None,
        reason: str | None,
        metadata: dict[str, str] | None,
        idempotency_key: str | None,
    ) -> Answer:
        """POST /v1/refunds."""
        params = _given(payment_intent=payment_intent_id, amount=amount, reason=reason, metadata=metadata)
        return _written(self._v1.refunds.create, params, idempotency_key)

    def cancel_payment_intent(self, payment_intent_id: str, idempotency_key: str | None) -> Answer:
        """POST /v1/payment_intents/{id}/cancel."""

        def cancel(params: Any, options: Any) -> Any:
            return self._v1.payment_intents.cancel(payment_intent_id, params, options)

        return _written(cancel, {}, idempotency_key)

    def retrieve_payment_intent(self, payment_intent_id: str) -> Answer:
        """GET /v1/payment_intents/{id}."""
        return _read(lambda: self._v1.payment_intents.retrieve(payment_intent_id))

    def retrieve_refund(self, refund_id: str) -> Answer:
        """GET /v1/refunds/{id}."""
        return _read(lambda: self._v1.refunds.retrieve(refund_id))

    def retrieve_charge(self, charge_id: str) -> Answer:
        """GET /v1/charges/{id}."""
        return _read(lambda: self._v1.charges.retrieve(charge_id))

    def retrieve_dispute(self, dispute_id: str) -> Answer:
        """GET /v1/disputes/{id}."""
        return _read(lambda: self._v1.disputes.retrieve(dispute_id))

    def list_payment_intents(self, customer_id: str | None, created_gte: int | None) -> list[Answer]:
        """GET /v1/payment_intents, all pages, newest first."""
        return _all(self._v1.payment_intents.list, _given(customer=customer_id, created=_since(created_gte)))

    def list_refunds(self, payment_intent_id: str | None, created_gte: int | None) -> list[Answer]:
        """GET /v1/refunds, all pages, newest first."""
        return _all(self._v1.refunds.list, _given(payment_intent=payment_intent_id, created=_since(created_gte)))

    def list_events(self, starting_after: str | None, created_gte: int | None, limit: int) -> Answer:
        """GET /v1/events, one page, newest first."""
        params = _given(starting_after=starting_after, created=_since(created_gte), limit=limit)
        return _read(lambda: self._v1.events.list(params))


_door: tuple[tuple[int, str, str | None], Door] | None = None


def door() -> Door:
    """This process's door for the current key and address; a forked child builds its own connections."""
    global _door
    found = settings.load()
    secret = found.stripe_secret_key
    if secret is None:
        raise settings.SettingsError("STRIPE_SECRET_KEY is not set; it should be the API key when STRIPE_ENABLED=true")
    identity = (os.getpid(), secret.get_secret_value(), found.stripe_api_base)
    if _door is None or _door[0] != identity:
        _door = (identity, Door(identity[1], identity[2]))
    return _door[1]


def _given(**params: Any) -> Any:
    return {name: value for name, value in params.items() if value is not None}


def _since(created_gte: int | None) -> dict[str, int] | None:
    return None if created_gte is None else {"gte": created_gte}


def _written(call: Callable[[Any, Any], Any], params: Any, idempotency_key: str | None) -> Answer:
    options = {"idempotency_key": idempotency_key} if idempotency_key else {}
    try:
        return _plain(call(params, options))
    except stripe.StripeError as error:
        raise _translated(error, writing=True) from error


def _read(call: Callable[[], Any]) -> Answer:
    try:
        return _plain(call())
    except stripe.StripeError as error:
        raise _translated(error, writing=False) from error


def _all(call: Callable[[Any], Any], params: dict[str, Any]) -> list[Answer]:
    found: list[Answer] = []
    for _ in range(MOST_PAGES):
        after = {"starting_after": found[-1]["id"]} if found else {}
        asked = {**params, "limit": PAGE, **after}
        page = _read(lambda asked=asked: call(asked))  # type: ignore[misc]  # mypy cannot infer a lambda's default
        found += page["data"]
        if not page["has_more"]:
            return found
    raise PaymentBusy(f"a list has more than {PAGE * MOST_PAGES} objects: ask for a shorter span")


def _plain(answer: Any) -> Answer:
    data: Answer = answer.last_response.data  # the parsed body itself; the SDK's objects are no dicts
    return data


def _translated(error: stripe.StripeError, writing: bool) -> PaymentError:
    """Each of Stripe's answers, named by what we do about it."""
    status = error.http_status
    if status is not None and 400 <= status < 500:
        return _client_error(error, status)
    if isinstance(error.__cause__, NothingSent):
        return PaymentBusy(f"Stripe was not reached ({error.__cause__})")
    seen = f"Stripe answered {status}" if status else f"no answer from Stripe ({error.__cause__ or 'unreadable'})"
    if writing:
        return PaymentUnknown(seen, replayed=_header(error, "idempotent-replayed") == "true")
    return PaymentBusy(seen)


def _client_error(error: stripe.StripeError, status: int) -> PaymentError:
    code, told = _code(error), error.error
    detail = error.user_message or (told.message if told else None) or type(error).__name__
    if told and told.type == "idempotency_error":
        return PaymentKeyReused(detail)
    if isinstance(error, stripe.CardError):
        return PaymentDeclined(detail, code, told.decline_code if told else None)
    waiting = {
        401: lambda: PaymentMisconfigured("Stripe does not accept our key (401)", MISCONFIGURED_DELAY, False),
        403: lambda: PaymentMisconfigured("Stripe does not allow our key to do this (403)", MISCONFIGURED_DELAY, False),
        409: lambda: PaymentBusy(f"Stripe is busy with this object ({code})", delay=1.0),
        429: lambda: PaymentBusy("Stripe asks us to slow down", _retry_after(error), spends_attempt=False),
    }
    return waiting[status]() if status in waiting else PaymentRefused(detail, code)


def _code(error: stripe.StripeError) -> str | None:
    return error.code or (error.error.code if error.error else None)  # 409 and 429 fill only the second


def _header(error: stripe.StripeError, name: str) -> str | None:
    return next((value for key, value in (error.headers or {}).items() if key.lower() == name), None)


def _retry_after(error: stripe.StripeError) -> float:
    with suppress(ValueError):  # a date or nonsense: wait the usual second
        return min(max(float(_header(error, "retry-after") or 1), 0.1), 60.0)
    return 1.0
