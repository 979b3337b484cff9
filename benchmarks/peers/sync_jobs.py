"""The jobs for peers with threads, greenlets or processes: psycopg, and urllib3 (the cheapest) or Stripe's client."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import psycopg
import urllib3
from psycopg_pool import ConnectionPool

from benchmarks.peers import environment, rows

if TYPE_CHECKING:
    import stripe

_LOCK_ORDER, _KEEP_PAYMENT, _AWAIT_PAYMENT, _KEEP_EVENT, _READ_EVENT, _LOCK_PAID, _POST_LEDGER, _PAY_ORDER, _CLOSE = (
    rows.percent(statement).encode()
    for statement in (
        rows.LOCK_ORDER, rows.KEEP_PAYMENT, rows.AWAIT_PAYMENT, rows.KEEP_EVENT, rows.READ_EVENT, rows.LOCK_PAID,
        rows.POST_LEDGER, rows.PAY_ORDER, rows.CLOSE_EVENT,
    )
)  # fmt: skip


def charge(order_id: str) -> None:
    """Make a PaymentIntent and keep it."""
    intent = _asked_sdk(order_id) if environment.BODY == "sdk" else _asked(order_id)
    with pool(os.getpid()).connection() as link:
        link.execute(_LOCK_ORDER, (order_id,))
        link.execute(_KEEP_PAYMENT, (order_id, intent["id"], intent["client_secret"], intent["amount"]))
        link.execute(_AWAIT_PAYMENT, (order_id,))


def keep_event(event: dict[str, Any], payload: str) -> None:
    """Store a verified event, once."""
    with pool(os.getpid()).connection() as link:
        link.execute(_KEEP_EVENT, (event["id"], event["type"], payload))


def hear(event_id: str) -> None:
    """Process a stored event: the order is paid, and the ledger says so."""
    with pool(os.getpid()).connection() as link:
        found = link.execute(_READ_EVENT, (event_id,)).fetchone()
        if found is None:
            return
        intent = json.loads(found[0])["data"]["object"]
        paid = link.execute(_LOCK_PAID, (intent["id"],)).fetchone()
        if paid is not None:
            link.execute(_POST_LEDGER, (intent["id"], paid[0], intent["amount_received"]))
            link.execute(_PAY_ORDER, (paid[0],))
        link.execute(_CLOSE, (event_id,))


@cache
def pool(process: int) -> ConnectionPool[psycopg.Connection[Any]]:
    """This process's connections; a forked child gets its own."""
    return ConnectionPool(environment.DATABASE, min_size=1, max_size=environment.CONNECTIONS, timeout=60, open=True)


@cache
def _http(process: int) -> urllib3.PoolManager:
    return urllib3.PoolManager(maxsize=512, retries=False, timeout=30)


@cache
def _client(process: int) -> stripe.StripeClient:
    import stripe

    return stripe.StripeClient(environment.KEY, base_addresses={"api": environment.GATEWAY})


def _asked(order_id: str) -> Any:
    answer = _http(os.getpid()).request(
        "POST",
        f"{environment.GATEWAY}/v1/payment_intents",
        body=urlencode({"amount": environment.AMOUNT, "currency": "usd", "metadata[order_id]": order_id}),
        headers={
            "Authorization": f"Bearer {environment.KEY}",
            "Idempotency-Key": order_id,
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )
    return json.loads(answer.data)


def _asked_sdk(order_id: str) -> Any:
    return _client(os.getpid()).v1.payment_intents.create(
        {"amount": environment.AMOUNT, "currency": "usd", "metadata": {"order_id": order_id}},
        {"idempotency_key": order_id},
    )
