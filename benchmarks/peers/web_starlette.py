"""Starlette in front of an async peer (`BENCH_QUEUE`): verify, insert, enqueue."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.peers import async_jobs, signatures

_peer: Any = import_module(f"benchmarks.peers.{os.environ['BENCH_QUEUE']}")


@asynccontextmanager
async def opened(app: Starlette) -> AsyncIterator[None]:
    """Keep the peer's connection while the application runs."""
    async with _peer.sending() as send:
        app.state.send = send
        yield


async def webhook(request: Request) -> JSONResponse:
    """Store a signed event and enqueue its processing."""
    body = await request.body()
    if not signatures.genuine(body, request.headers.get("stripe-signature", "")):
        return JSONResponse({"status": "bad signature"}, 400)
    event = json.loads(body)
    await async_jobs.keep_event(event, body.decode())
    await request.app.state.send("hear", event["id"])
    return JSONResponse({"status": "ok"})


async def checkout(request: Request) -> JSONResponse:
    """Enqueue a checkout; the order is there already."""
    order_id = request.path_params["order_id"]
    await request.app.state.send("charge", order_id)
    return JSONResponse({"order_id": order_id}, 202)


app = Starlette(
    routes=[
        Route("/webhooks/stripe", webhook, methods=["POST"]),
        Route("/orders/{order_id}/checkout", checkout, methods=["POST"]),
    ],
    lifespan=opened,
)
