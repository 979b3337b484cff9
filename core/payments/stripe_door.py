"""The one place that knows the Stripe SDK. Its answers become dicts here, its errors ours, and both stop here."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from core import settings
from core.monitoring import monitor
from core.payments import API_VERSION
from core.payments.backend import Answer, BeforeNext, Listed, Metadata
from core.payments.errors import PaymentBusy, PaymentMisconfigured
from core.payments.stripe_errors import named
from core.payments.stripe_http import AnswerLost, Pool

if TYPE_CHECKING:
    import stripe

PAGE = 100
MOST_PAGES = 1_000


class Door:
    """The calls that we make to Stripe, each tried once: retries live in the job's row.

    Raises, from every method:
        PaymentError: one of its kinds.
    """

    def __init__(self, key: str, base: str | None) -> None:
        import stripe

        self.fingerprint = hashlib.sha256(key.encode()).hexdigest()[:8]

        stripe.enable_telemetry = False  # it writes a file, and reports our timings
        self._client = stripe.StripeClient(
            key,
            stripe_version=API_VERSION,
            base_addresses={"api": base} if base else {},
            http_client=_http_client(Pool(base or stripe.DEFAULT_API_BASE, stripe.ca_bundle_path)),
            max_network_retries=0,
        )

    def create_payment_intent(
        self,
        amount: int,
        currency: str,
        metadata: Metadata,
        customer_id: str | None,
        idempotency_key: str | None,
    ) -> Answer:
        """POST /v1/payment_intents, unconfirmed."""
        money = {"amount": amount, "currency": currency}
        return self._post("payment_intents", idempotency_key, **money, metadata=metadata, customer=customer_id)

    def create_customer(self, email: str, name: str | None, metadata: Metadata, idempotency_key: str | None) -> Answer:
        """POST /v1/customers."""
        return self._post("customers", idempotency_key, email=email, name=name, metadata=metadata)

    def create_refund(
        self,
        payment_intent_id: str,
        amount: int | None,
        reason: str | None,
        metadata: Metadata,
        idempotency_key: str | None,
    ) -> Answer:
        """POST /v1/refunds."""
        of = {"payment_intent": payment_intent_id}
        return self._post("refunds", idempotency_key, **of, amount=amount, reason=reason, metadata=metadata)

    def cancel_payment_intent(self, payment_intent_id: str, idempotency_key: str | None) -> Answer:
        """POST /v1/payment_intents/{id}/cancel."""
        return self._post(f"payment_intents/{_segment(payment_intent_id)}/cancel", idempotency_key)

    def retrieve_payment_intent(self, payment_intent_id: str) -> Answer:
        """GET /v1/payment_intents/{id}."""
        return self._get(f"payment_intents/{_segment(payment_intent_id)}")

    def retrieve_refund(self, refund_id: str) -> Answer:
        """GET /v1/refunds/{id}."""
        return self._get(f"refunds/{_segment(refund_id)}")

    def retrieve_charge(self, charge_id: str) -> Answer:
        """GET /v1/charges/{id}."""
        return self._get(f"charges/{_segment(charge_id)}")

    def retrieve_dispute(self, dispute_id: str) -> Answer:
        """GET /v1/disputes/{id}."""
        return self._get(f"disputes/{_segment(dispute_id)}")

    def list_payment_intents(
        self, customer_id: str | None, created_gte: int | None, created_lte: int | None, before_next: BeforeNext
    ) -> list[Answer]:
        """GET /v1/payment_intents, all pages, newest first."""
        span = _created(created_gte, created_lte)
        return self._all("payment_intents", before_next, customer=customer_id, created=span)

    def list_refunds(self, payment_intent_id: str | None, created_gte: int | None) -> list[Answer]:
        """GET /v1/refunds, all pages, newest first."""
        return self._all("refunds", payment_intent=payment_intent_id, created=_created(created_gte))

    def list_disputes(self, created_gte: int | None) -> list[Answer]:
        """GET /v1/disputes, all pages, newest first."""
        return self._all("disputes", created=_created(created_gte))

    def list_page(self, of: Listed, starting_after: str | None, created_gte: int | None, limit: int) -> Answer:
        """GET /v1/{of}, one page, newest first."""
        expand = ["data.source"] if of == "balance_transactions" else None
        since = _created(created_gte)
        return self._get(of, starting_after=starting_after, created=since, limit=limit, expand=expand)

    def list_events(self, starting_after: str | None, created_gte: int | None, limit: int) -> Answer:
        """GET /v1/events, one page, newest first."""
        return self._get("events", starting_after=starting_after, created=_created(created_gte), limit=limit)

    def _post(self, path: str, idempotency_key: str | None, **params: Any) -> Answer:
        return self._call("post", path, params | {"idempotency_key": idempotency_key})

    def _get(self, path: str, **params: Any) -> Answer:
        return self._call("get", path, params)

    def _all(self, path: str, before_next: BeforeNext = None, **params: Any) -> list[Answer]:
        found: list[Answer] = []
        for number in range(MOST_PAGES):
            if before_next and number:
                before_next()
            page = self._get(path, **params, limit=PAGE, starting_after=found[-1]["id"] if found else None)
            found += [item | {"test_mode": False} for item in page["data"]]
            if not page["has_more"]:
                return found
        raise PaymentBusy(f"a list has more than {PAGE * MOST_PAGES} objects: ask for a shorter span")

    def _call(self, method: str, path: str, params: Mapping[str, Any]) -> Answer:
        given = {name: value for name, value in params.items() if value is not None}
        try:
            # The SDK's typed services would build its own objects first, at four times the cost.
            answer = self._client.raw_request(method, f"/v1/{path}", **given)
            data: Answer = json.loads(answer.body)
            if not isinstance(data, dict):
                raise AnswerLost("not an object")
        except Exception as error:
            ours = named(error, writing=method == "post")
            if ours is None:
                raise
            if isinstance(ours, PaymentMisconfigured):
                ours.fingerprint = self.fingerprint
            raise ours from error
        return data | {"test_mode": False}


_Identity = tuple[int, str | None, str | None]
_door: tuple[_Identity, Door] | None = None


def door() -> Door:
    """This process's door for the current key and address; a forked child builds its own connections.

    Raises:
        PaymentMisconfigured: the settings are wrong or have no key, or the SDK is not installed.
    """
    global _door
    identity = (os.getpid(), os.environ.get("STRIPE_SECRET_KEY"), os.environ.get("STRIPE_API_BASE"))
    current = _door
    if current is None or current[0] != identity:
        current = _door = (identity, _built())
    return current[1]


def _built() -> Door:
    try:
        found = settings.load()
    except settings.SettingsError as error:
        raise PaymentMisconfigured(str(error)) from error
    if found.stripe_secret_key is None:  # Stripe was switched on and off again between two lines
        raise PaymentMisconfigured("STRIPE_SECRET_KEY is not set; it should be the API key when STRIPE_ENABLED=true")
    try:
        return Door(found.stripe_secret_key.get_secret_value(), found.stripe_api_base)
    except ImportError as error:
        raise PaymentMisconfigured(f"STRIPE_ENABLED=true needs the package stripe: {error}") from error


def _http_client(pool: Pool) -> stripe.HTTPClient:
    import stripe

    class Client(stripe.HTTPClient):
        """Our pool instead of requests, whose session is per thread, waits 80 s, and costs twice the CPU."""

        name = "urllib3"

        def request(
            self,
            method: str,
            url: str,
            headers: Mapping[str, str] | None,
            post_data: Any = None,
            *,
            _usage: list[str] | None = None,
        ) -> tuple[str, int, Mapping[str, str]]:
            body, status, answered = pool.send(method.upper(), url, headers or {}, post_data)
            _leave_crumb(method, url, status, answered)
            return body.decode("utf-8", "replace"), status, answered

    return Client()


def _leave_crumb(method: str, url: str, status: int, headers: Mapping[str, str]) -> None:
    data = {
        "call": f"{method.upper()} {urlsplit(url).path}",
        "status": status,
        "stripe_request_id": headers.get("request-id"),
    }
    monitor.add_breadcrumb("Stripe answered", category="stripe", data=data)


def _segment(id: str) -> str:
    return quote(id, safe="")


def _created(gte: int | None, lte: int | None = None) -> dict[str, int] | None:
    return {name: second for name, second in (("gte", gte), ("lte", lte)) if second is not None} or None
