"""Enqueues jobs of a peer: `python -m benchmarks.peers.enqueue MODULE`, `{"task", "ids", "rate"}` as JSON on stdin.

Prints at which Unix time each id was handed over, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any


async def enqueue(peer: Any, task: str, ids: list[str], rate: float | None) -> dict[str, float]:
    """Hand over `ids`, at `rate` per second or as fast as it goes."""
    if hasattr(peer, "sending"):
        async with peer.sending() as send:
            return await _paced(send, task, ids, rate)

    async def send_now(task: str, id: str) -> None:
        peer.send(task, id)

    return await _paced(send_now, task, ids, rate)


async def _paced(
    send: Callable[[str, str], Awaitable[None]], task: str, ids: list[str], rate: float | None
) -> dict[str, float]:
    began, sent = time.monotonic(), {}
    for number, one in enumerate(ids):
        if rate is not None:
            await asyncio.sleep(max(began + number / rate - time.monotonic(), 0.0))
        sent[one] = time.time()
        await send(task, one)
    return sent


if __name__ == "__main__":
    module = import_module(f"benchmarks.peers.{sys.argv[1]}")
    json.dump(asyncio.run(enqueue(module, **json.load(sys.stdin))), sys.stdout)
