"""A shop that uses the API, and the hands of the worker and of Stripe that its tests need."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from core.database import now, reading, transaction
from core.domain import accounts, jobs, orders, payments, schema, settlement
from core.domain.jobs import JobKind
from web.openapi import problems_of
from web.problems import MEDIA_TYPE
from web.routing import Operation

WEBHOOK_SECRET = "whsec_of_the_tests"
ORDER: dict[str, Any] = {
    "user": {"email": "ada@example.com", "full_name": "Ada Lovelace"},
    "currency": "usd",
    "items": [{"name": "Tea", "unit_amount": 1250, "quantity": 2}],
}
NOWHERE = "019b7a5e-0d3c-7a10-8a4e-5f1c2b3d4e5f"


class ContractClient(FlaskClient):
    """A test client that holds every answer against what the operation documents."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send a request; an undocumented status, or a body that is not as documented, fails the test."""
        response = super().open(*args, **kwargs)
        check_envelope(response)
        operation = self._operation(response.request.path, response.request.method)
        if operation is not None:
            check_documented(operation, response)
        return response

    def _operation(self, path: str, method: str) -> Operation | None:
        try:
            endpoint, _ = self.application.url_map.bind("localhost").match(path, method)
        except HTTPException:
            return None
        view = self.application.view_functions[endpoint]
        return view if isinstance(view, Operation) and view.method == method else None


def check_envelope(response: TestResponse) -> None:
    """What every answer has."""
    assert response.headers["X-Request-Id"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in response.headers
    if response.status_code >= 400 and response.mimetype != "application/json":
        assert response.mimetype == MEDIA_TYPE
        members = response.get_json()
        assert members["type"].startswith("/problems/")
        assert members["status"] == response.status_code
        assert members["title"]
        assert members["detail"]
        assert members["request_id"] == response.headers["X-Request-Id"]


def check_documented(operation: Operation, response: TestResponse) -> None:
    """The status is documented, and a JSON body fits one of the documented models."""
    status = response.status_code
    assert status in {*operation.answers, *problems_of(operation)}, f"{operation.name} does not document {status}"
    if response.mimetype != "application/json":
        return
    documented = [set(model.model_fields) for model in operation.answers[status] if isinstance(model, type)]
    assert set(response.get_json()) in documented


class Shop:
    """One account's client."""

    def __init__(self, client: FlaskClient, secret: str, account_id: str) -> None:
        self.client = client
        self.account_id = account_id
        self.auth = {"Authorization": f"Bearer {secret}"}

    def get(self, path: str, **headers: str) -> TestResponse:
        """GET with the shop's key."""
        return self.client.get(path, headers={**self.auth, **_dashed(headers)})

    def post(self, path: str, body: Any = None, **headers: str) -> TestResponse:
        """POST JSON with the shop's key; header names in snake case."""
        sent = {} if body is None else {"json": body}
        return self.client.post(path, headers={**self.auth, **_dashed(headers)}, **sent)

    def order(self, **changes: Any) -> dict[str, Any]:
        """Place an order."""
        response = self.post("/orders", {**ORDER, **changes})
        assert response.status_code in (200, 201), response.text
        return dict(response.get_json())

    def paid_order(self, **changes: Any) -> dict[str, Any]:
        """Place an order, check it out, and let Stripe's customer pay it."""
        placed = self.order(**changes)
        assert self.post(f"/orders/{placed['id']}/checkout").status_code == 202
        pay(placed["id"], self.account_id)
        return placed


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def make_key(account_id: str, *scopes: str) -> str:
    """A key's secret."""
    with transaction() as conn:
        return accounts.create_key(conn, account_id, "test", scopes or accounts.SCOPES)[1]


def pay(order_id: str, account_id: str) -> None:
    """Apply to the order's payment what Stripe shows once the customer has paid."""
    with transaction() as conn:
        order = orders.lock(conn, account_id, order_id)
        payment = payments.of_order(conn, order_id)[-1]
        intent = {
            "id": f"pi_{payment.id}",
            "amount": payment.amount,
            "amount_received": payment.amount,
            "currency": payment.currency,
            "status": "succeeded",
            "client_secret": "pi_secret",
        }
        assert settlement.intent_seen(conn, order, payment, intent) is None


def end_job(job_id: str, status: str = jobs.SUCCEEDED, result: Any = None, error: Any = None) -> None:
    """Do what a worker does last."""
    ended = {"status": status, "result": result, "error": error, "finished_at": now()}
    with transaction() as conn:
        conn.execute(update(jobs.jobs).where(jobs.jobs.c.id == job_id).values(**ended))


def counts() -> dict[str, int]:
    """How many rows each table has that a request may write to."""
    names = ("orders", "users", "jobs", "job_events", "payments", "refunds", "webhook_events", "ledger_entries")
    with reading() as conn:
        return {
            name: conn.execute(select(func.count()).select_from(schema.metadata.tables[name])).scalar_one()
            for name in names
            if name in schema.metadata.tables
        }


def sign(payload: bytes, secret: str = WEBHOOK_SECRET, at: int | None = None) -> str:
    """A Stripe-Signature header (docs.stripe.com/webhooks/signature)."""
    moment = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def event(**changes: Any) -> dict[str, Any]:
    """A snapshot event as Stripe sends it."""
    return {
        "id": "evt_1",
        "object": "event",
        "type": "payment_intent.succeeded",
        "api_version": "2026-10-28.endive",
        "created": 1767225600,
        "livemode": False,
        "data": {"object": {"id": "pi_1", "object": "payment_intent"}},
        **changes,
    }


def deliver(client: FlaskClient, payload: Any, **headers: str) -> TestResponse:
    """Deliver a signed webhook: a JSON value, or raw bytes."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return client.post(
        "/webhooks/stripe",
        data=raw,
        content_type="application/json",
        headers={"Stripe-Signature": sign(raw), **_dashed(headers)},
    )


class Recorder:
    """A broker that keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: list[tuple[JobKind, list[str]]] = []

    def send(self, kind: JobKind, ids: Sequence[str]) -> None:
        """Keep a message."""
        self.messages.append((kind, list(ids)))

    def close(self) -> None:
        """Nothing to close."""

    @property
    def ids(self) -> list[str]:
        """Every id that was hinted."""
        return [job_id for _, ids in self.messages for job_id in ids]
