"""A stand-in for Stripe that costs little: `python -m benchmarks.gateway PORT LATENCY_MS`.

One process and plain asyncio protocols, so that it takes no core from what is measured. It answers the POSTs of a
checkout with objects of Stripe's shape and size after a fixed time, and tells at `GET /made` how many it made.
"""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import count
from urllib.parse import parse_qsl

from benchmarks.wire import content_length

LATENCY_MS = 300.0

_NOTHING = (
    "application", "application_fee_amount", "canceled_at", "cancellation_reason", "description",
    "last_payment_error", "latest_charge", "next_action", "on_behalf_of", "payment_method", "processing",
    "receipt_email", "review", "setup_future_usage", "shipping", "source", "statement_descriptor",
    "statement_descriptor_suffix", "transfer_data", "transfer_group",
)  # fmt: skip
_INTENT = json.dumps(
    {
        "object": "payment_intent",
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
        "capture_method": "automatic_async",
        "confirmation_method": "automatic",
        "created": 1767225600,
        "livemode": False,
        "payment_method_configuration_details": {"id": "pmc_1", "parent": None},
        "payment_method_options": {"card": {"installments": None, "request_three_d_secure": "automatic"}},
        "payment_method_types": ["card", "link"],
        "status": "requires_payment_method",
        **dict.fromkeys(_NOTHING),
    }
)[1:]
_CUSTOMER = json.dumps(
    {
        "object": "customer",
        "balance": 0,
        "created": 1767225600,
        "delinquent": False,
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None},
        "livemode": False,
        "preferred_locales": [],
        "tax_exempt": "none",
    }
)[1:]


class Gateway:
    """What all connections share."""

    def __init__(self, latency_ms: float) -> None:
        self.delay = latency_ms / 1000
        self.made = {"/v1/payment_intents": 0, "/v1/customers": 0}
        self._numbers = count(1)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, str]:
        """Status and JSON text of the answer."""
        if path == "/made":
            return 200, json.dumps(self.made)
        if method != "POST" or path not in self.made:
            return 404, '{"error": {"type": "invalid_request_error", "message": "no such object"}}'
        self.made[path] += 1
        form = dict(parse_qsl(body.decode()))
        number = f"{next(self._numbers):024d}"
        if path == "/v1/customers":
            return 200, f'{{"id": "cus_{number}", "email": {json.dumps(form.get("email"))}, {_CUSTOMER}'
        metadata = {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")}
        return 200, (
            f'{{"id": "pi_{number}", "client_secret": "pi_{number}_secret_bench", "amount": {int(form["amount"])}, '
            f'"currency": "{form["currency"]}", "customer": {json.dumps(form.get("customer"))}, '
            f'"metadata": {json.dumps(metadata)}, {_INTENT}'
        )


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection; its requests come one after the other."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._loop = asyncio.get_running_loop()
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to answer through."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TCP server hands out
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request after the gateway's latency."""
        self._read += data
        while True:
            head, found, rest = self._read.partition(b"\r\n\r\n")
            length = content_length(head)
            if not found or len(rest) < length:
                return
            self._read = rest[length:]
            method, path, _version = head[: head.index(b"\r\n")].decode().split()
            status, text = self._gateway.answer(method, path.partition("?")[0], rest[:length])
            wire = (
                f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nRequest-Id: req_bench\r\n"
                f"Content-Length: {len(text)}\r\n\r\n{text}"
            )
            delay = self._gateway.delay if path.startswith("/v1/") else 0.0
            self._loop.call_later(delay, self._send, wire.encode())

    def _send(self, wire: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(wire)


async def serve(port: int, latency_ms: float) -> None:
    """Serve until ended."""
    gateway = Gateway(latency_ms)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(gateway), "127.0.0.1", port, backlog=2048
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
