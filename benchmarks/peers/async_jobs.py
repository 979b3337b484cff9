"""The jobs for peers with an event loop: asyncpg, and aiohttp (both the cheapest) or Stripe's client."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import aiohttp
import asyncpg

from benchmarks.peers import environment, rows

if TYPE_CHECKING:
    import stripe

_LOCK_ORDER, _KEEP_PAYMENT, _AWAIT_PAYMENT, _KEEP_EVENT, _READ_EVENT, _LOCK_PAID, _POST_LEDGER, _PAY_ORDER, _CLOSE = (
    rows.numbered(statement)
    for statement in (
        rows.LOCK_ORDER, rows.KEEP_PAYMENT, rows.AWAIT_PAYMENT, rows.KEEP_EVENT, rows.READ_EVENT, rows.LOCK_PAID,
        rows.POST_LEDGER, rows.PAY_ORDER, rows.CLOSE_EVENT,
    )
)  # fmt: skip


async def charge(order_id: str) -> None:
    """Make a PaymentIntent and keep it."""
    intent = await (_asked_sdk(order_id) if environment.BODY == "sdk" else _asked(order_id))
    async with (await pool()).acquire() as link, link.transaction():
        await link.fetchrow(_LOCK_ORDER, order_id)
        await link.execute(_KEEP_PAYMENT, order_id, intent["id"], intent["client_secret"], intent["amount"])
        await link.execute(_AWAIT_PAYMENT, order_id)


async def keep_event(event: dict[str, Any], payload: str) -> None:
    """Store a verified event, once."""
    await (await pool()).execute(_KEEP_EVENT, event["id"], event["type"], payload)


async def hear(event_id: str) -> None:
    """Process a stored event: the order is paid, and the ledger says so."""
    async with (await pool()).acquire() as link, link.transaction():
        found = await link.fetchrow(_READ_EVENT, event_id)
        if found is None:
            return
        intent = json.loads(found[0])["data"]["object"]
        paid = await link.fetchrow(_LOCK_PAID, intent["id"])
        if paid is not None:
            await link.execute(_POST_LEDGER, intent["id"], paid[0], intent["amount_received"])
            await link.execute(_PAY_ORDER, paid[0])
        await link.execute(_CLOSE, event_id)


_opening: asyncio.Task[asyncpg.Pool] | None = None


async def pool() -> asyncpg.Pool:
    """This process's connections."""
    global _opening
    if _opening is None:
        _opening = asyncio.get_running_loop().create_task(_open())
    return await asyncio.shield(_opening)


async def _open() -> asyncpg.Pool:
    return await asyncpg.create_pool(environment.DATABASE, min_size=1, max_size=environment.CONNECTIONS)


@cache
def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers={"Authorization": f"Bearer {environment.KEY}"},
        timeout=aiohttp.ClientTimeout(total=30),
    )


@cache
def _client() -> stripe.StripeClient:
    import stripe

    return stripe.StripeClient(environment.KEY, base_addresses={"api": environment.GATEWAY})


async def _asked(order_id: str) -> Any:
    async with _http().post(
        f"{environment.GATEWAY}/v1/payment_intents",
        data={"amount": str(environment.AMOUNT), "currency": "usd", "metadata[order_id]": order_id},
        headers={"Idempotency-Key": order_id},
    ) as answer:
        return json.loads(await answer.read())


async def _asked_sdk(order_id: str) -> Any:
    return await _client().v1.payment_intents.create_async(
        {"amount": environment.AMOUNT, "currency": "usd", "metadata": {"order_id": order_id}},
        {"idempotency_key": order_id},
    )
