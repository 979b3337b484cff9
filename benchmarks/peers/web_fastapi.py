"""FastAPI in front of an async peer (`BENCH_QUEUE`): the same as with Starlette."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

from benchmarks.peers import web_starlette

app = FastAPI(lifespan=web_starlette.opened)


@app.post("/webhooks/stripe")
async def webhook(request: Request) -> JSONResponse:
    """Store a signed event and enqueue its processing."""
    return await web_starlette.webhook(request)


@app.post("/orders/{order_id}/checkout")
async def checkout(request: Request) -> JSONResponse:
    """Enqueue a checkout."""
    return await web_starlette.checkout(request)
