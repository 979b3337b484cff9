"""A shop and its customers: what the shop's server and a customer's browser do, over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import urllib3
from urllib3.exceptions import HTTPError

from tests.e2e.service import Service
from tests.worker.stripe import Stripe

T = TypeVar("T")

BOUND_SECONDS = 60.0
"""Only what is stuck takes so long."""
TOTAL = 2500


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP; `body` is its JSON."""

    status: int
    headers: dict[str, str]
    body: Any


class Shop:
    """One account of a service.

    Args:
        service: where it runs.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.stripe = Stripe(service.stripe, "sk_test_simulator")
        self._browser = Stripe(service.stripe, "pk_test_simulator")
        self._http = urllib3.PoolManager(retries=False, timeout=30.0)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Call the API with the shop's key; header names have `_` for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Authorization": f"Bearer {self.service.api_key}"} | sent
        answer = self._http.request(method, self.service.web + path, json=body, headers=sent)
        shown = answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.data.decode()
        return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, shown)

    def get(self, path: str) -> Any:
        """GET what is there."""
        reply = self.ask("GET", path)
        assert reply.status == 200, reply
        return reply.body

    def order(self, email: str = "grace@example.com") -> dict[str, Any]:
        """A fresh order of `TOTAL`."""
        tea = {"name": "Tea", "unit_amount": TOTAL // 2, "quantity": 2}
        reply = self.ask("POST", "/orders", {"user": {"email": email}, "currency": "usd", "items": [tea]})
        assert reply.status == 201, reply
        placed: dict[str, Any] = reply.body
        return placed

    def checkout(self, order_id: str, **headers: str) -> Reply:
        """Ask for the order's PaymentIntent."""
        return self.ask("POST", f"/orders/{order_id}/checkout", **headers)

    def ready_to_pay(self) -> tuple[str, str]:
        """A fresh order that was checked out: its id, and the client_secret."""
        order_id = self.order()["id"]
        reply = self.checkout(order_id, Prefer="wait=30")
        assert reply.status == 200, reply
        return order_id, reply.body["client_secret"]

    def pay(self, client_secret: str, card: str = "pm_card_visa") -> dict[str, Any]:
        """Confirm as Stripe.js does in the browser: publishable key and client_secret."""
        intent = client_secret.partition("_secret_")[0]
        path = f"/v1/payment_intents/{intent}/confirm"
        return self._browser.post(path, payment_method=card, client_secret=client_secret)

    def refund(self, order_id: str, key: str, **body: Any) -> Reply:
        """Ask for a refund and wait for it."""
        return self.ask("POST", f"/orders/{order_id}/refunds", body, Idempotency_Key=key, Prefer="wait=30")

    def until(self, order_id: str, status: str) -> dict[str, Any]:
        """The order, once it has that status."""

        def look() -> dict[str, Any] | None:
            order: dict[str, Any] = self.get(f"/orders/{order_id}")
            return order if order["status"] == status else None

        return eventually(look, f"order {order_id} is {status}")

    def job_done(self, job_id: str) -> dict[str, Any]:
        """The job, once it has come to an end."""

        def look() -> dict[str, Any] | None:
            job: dict[str, Any] = self.get(f"/jobs/{job_id}")
            return job if job["finished_at"] else None

        return eventually(look, f"job {job_id} is done")

    def follow(self, job_id: str) -> Iterator[dict[str, Any]]:
        """The job's server-sent events, until the stream ends."""
        headers = {"Authorization": f"Bearer {self.service.api_key}", "Accept": "text/event-stream"}
        stream = self._http.request("GET", f"{self.service.web}/jobs/{job_id}", headers=headers, preload_content=False)
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        for line in stream:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))

    def moved(self, order_id: str) -> list[tuple[str, int]]:
        """What the witness saw of the order's money, in order: kind and minor units, fees aside."""
        intents = {payment["payment_intent_id"] for payment in self.get(f"/orders/{order_id}")["payments"]}
        seen = self.stripe.control("/ledger", "GET")["movements"]
        ours = [one for one in seen if one["payment_intent"] in intents and one["kind"] != "fee"]
        return [(one["kind"], one["amount"]) for one in ours]


def eventually(look: Callable[[], T | None], what: str) -> T:
    """What `look` finds, asked again and again; somebody who does not answer yet counts as nothing found."""
    deadline = time.monotonic() + BOUND_SECONDS
    while True:
        try:
            found = look()
        except (HTTPError, AssertionError):
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)
