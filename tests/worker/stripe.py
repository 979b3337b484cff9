"""What tests ask of Stripe's stand-in: pay, refund in the dashboard, look at the witness, arm faults."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3

from core.database import transaction
from core.domain import leases
from core.payments import PaymentRefused, stripe_door
from core.payments.stripe_door import Door


class Stripe:
    """The simulator's API and its control side."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._http = urllib3.PoolManager(retries=False)
        self._headers = {"Authorization": f"Bearer {key}"}

    def post(self, path: str, **params: Any) -> dict[str, Any]:
        """POST to the API, form-encoded; any status."""
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        return self._json(self._http.request("POST", self.url + path, body=urlencode(params), headers=headers))

    def post_keyed(self, path: str, key: str, **params: Any) -> dict[str, Any]:
        """POST with an idempotency key."""
        headers = {
            **self._headers, "Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": key,
        }  # fmt: skip
        return self._json(self._http.request("POST", self.url + path, body=urlencode(params), headers=headers))

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """GET from the API."""
        return self._json(self._http.request("GET", self.url + path, fields=params, headers=self._headers))

    def control(self, path: str, method: str = "POST", **body: Any) -> dict[str, Any]:
        """Ask the control side under /_sim."""
        if method == "GET":
            return self._json(self._http.request("GET", f"{self.url}/_sim{path}"))
        return self._json(self._http.request(method, f"{self.url}/_sim{path}", json=body))

    def pay(self, payment_intent_id: str, card: str = "pm_card_visa") -> dict[str, Any]:
        """Confirm a PaymentIntent, as a customer with that test card would."""
        return self.post(f"/v1/payment_intents/{payment_intent_id}/confirm", payment_method=card)

    def events(self) -> list[dict[str, Any]]:
        """All events, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            after = {"starting_after": found[-1]["id"]} if found else {}
            page = self.get("/v1/events", limit=100, **after)
            found += page["data"]
            if not page["has_more"]:
                return found[::-1]

    def faults(self, *rules: dict[str, Any]) -> None:
        """Put request faults in force, for example `lost("timeout", "after")`."""
        shown = self.control("/faults", seed=1, requests=list(rules))
        assert len(shown["requests"]) == len(rules), shown

    def fired(self) -> int:
        """How often the faults in force have struck."""
        return sum(rule["fired"] for rule in self.control("/faults", "GET")["requests"])

    def later(self, hours: float) -> None:
        """Let time pass at Stripe; a negative number undoes it."""
        self.control(f"/clock?hours={hours}")

    def delete_customer(self, customer_id: str) -> None:
        """Delete a customer, as somebody may in the dashboard."""
        url = f"{self.url}/v1/customers/{customer_id}"
        assert self._json(self._http.request("DELETE", url, headers=self._headers))["deleted"]

    def intents(self) -> list[dict[str, Any]]:
        """All PaymentIntents, newest first."""
        found: list[dict[str, Any]] = self.get("/v1/payment_intents", limit=100)["data"]
        return found

    def refunds(self) -> list[dict[str, Any]]:
        """All refunds, newest first."""
        found: list[dict[str, Any]] = self.get("/v1/refunds", limit=100)["data"]
        return found

    def requests(self, method: str = "POST", path: str = "") -> list[dict[str, Any]]:
        """The request log, oldest first."""
        lines = self.control("/requests", "GET")["requests"]
        return [line for line in lines if line["method"] == method and line["path"].startswith(path)]

    def keys(self, path: str) -> list[str]:
        """The idempotency keys of the POSTs to a path, each once, in the order of their first use."""
        used = [line["idempotency_key"] for line in self.requests("POST", path)]
        return list(dict.fromkeys(key for key in used if key))

    def moved(self, kind: str) -> list[dict[str, Any]]:
        """The witness's movements of one kind: `payment`, `refund`, `refund_reversal` ..."""
        return [movement for movement in self.control("/ledger", "GET")["movements"] if movement["kind"] == kind]

    @staticmethod
    def _json(answer: urllib3.BaseHTTPResponse) -> dict[str, Any]:
        found: dict[str, Any] = answer.json()
        return found


def page_slowly(monkeypatch: pytest.MonkeyPatch, seconds: float, unknown: str) -> None:
    """Lists have one object a page and refuse an unknown customer, and each GET takes so long.

    Meanwhile the sweep looks for leases that ran out.
    """
    get = Door._get

    def slow(self: Door, path: str, **params: Any) -> dict[str, Any]:
        time.sleep(seconds)
        with transaction() as conn:
            leases.expire(conn, 100)
        if params.get("customer") == unknown:
            raise PaymentRefused(f"No such customer: '{unknown}'", "resource_missing", "customer")
        return get(self, path, **params)

    monkeypatch.setattr(stripe_door, "PAGE", 1)
    monkeypatch.setattr(Door, "_get", slow)


def fault(kind: str, when: str = "before", match: str = "*", method: str = "POST", **more: Any) -> dict[str, Any]:
    """A fault plan's rule that strikes once unless `next` says otherwise."""
    return {"kind": kind, "when": when, "match": match, "method": method, "next": 1, **more}
