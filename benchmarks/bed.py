"""The test bed: what all sides share in one run, and what is told of it."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from benchmarks import gateway
from benchmarks.broker import Redis
from benchmarks.processes import Program, free_port, listens

_direct = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Bed:
    """Servers and a folder.

    Args:
        server: URL of the PostgreSQL server, where each side gets a database.
        gateway_port: the stand-in for Stripe.
        folder: logs and other leavings, removed at the end.
    """

    server: str
    redis: Redis
    gateway: Program
    gateway_port: int
    folder: Path

    @property
    def gateway_url(self) -> str:
        """What takes the place of https://api.stripe.com."""
        return f"http://127.0.0.1:{self.gateway_port}"

    def intents_made(self) -> int:
        """PaymentIntents that the gateway made so far."""
        with _direct.open(f"{self.gateway_url}/made", timeout=10) as answer:
            return int(json.load(answer)["/v1/payment_intents"])


@contextmanager
def made(server: str, latency_ms: float = gateway.LATENCY_MS) -> Iterator[Bed]:
    """Start it; all of it is gone at the end, however that comes."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="counterfoil-bench-")))
        redis = Redis(folder)
        stack.enter_context(redis.program)
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.gateway", str(port), str(latency_ms)]
        stand_in = stack.enter_context(Program("gateway", command, {}, folder))
        stand_in.wait_for(lambda: listens(port), 10)
        yield Bed(server, redis, stand_in, port, folder)
