"""Sends HTTP requests from one process and times each: `python -m benchmarks.load`, its plan as JSON on stdin.

Closed loop (`rate` null): each connection sends its next request when the last one was answered. Open loop: request
n is due at n / rate seconds, and its time counts from then, so a stalled server cannot hide behind waiting clients.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from benchmarks import wire


@dataclass
class Outcome:
    """What came of a plan.

    Args:
        began: Unix time of the first request, in seconds.
        seconds: from the first request to the last answer.
        statuses: answers by HTTP status.
        milliseconds: time of each request, in the order of their answers.
        sent_at: Unix time at which each request was due, in the order of the plan.
    """

    began: float = 0.0
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One keep-alive connection; sends what the run hands it and tells the run when it was answered."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._read = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to send through."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TCP client is handed
        self._transport = transport

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due at `due` (this process's monotonic clock)."""
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Once an answer is whole, hand it in."""
        self._read += data
        head, found, rest = self._read.partition(b"\r\n\r\n")
        if not found or len(rest) < wire.content_length(head):
            return
        self._read = b""
        self._run.answered(self, head[9:12].decode(), self._due)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server went away: nothing that is measured now means anything."""
        self._run.broken(exc)


class Run:
    """One plan at work."""

    def __init__(self, requests: list[bytes], rate: float | None) -> None:
        self._requests = requests
        self._rate = rate
        self._next = 0
        self._idle: deque[Client] = deque()
        self._statuses: Counter[str] = Counter()
        self._times: list[float] = []
        self._sent_at: list[float] = []
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def go(self, clients: list[Client]) -> Outcome:
        """Send all and wait for the answers."""
        self._idle.extend(clients)
        self._epoch = time.time() - time.monotonic()
        began = time.monotonic()
        self._began = began
        if self._rate is None:
            while self._idle and self._next < len(self._requests):
                self._send(time.monotonic())
        else:
            await self._pace(self._rate)
        await self._done
        return Outcome(
            began + self._epoch, time.monotonic() - began, dict(self._statuses), self._times, self._sent_at
        )  # fmt: skip

    async def _pace(self, rate: float) -> None:
        while self._next < len(self._requests) and not self._done.done():
            self._send_due(rate)
            await asyncio.sleep(max(self._began + self._next / rate - time.monotonic(), 0.0005))

    def _send_due(self, rate: float) -> None:
        now = time.monotonic()
        while self._idle and self._next < len(self._requests) and self._began + self._next / rate <= now:
            self._send(self._began + self._next / rate)

    def _send(self, due: float) -> None:
        request = self._requests[self._next]
        self._next += 1
        self._sent_at.append(due + self._epoch)
        self._idle.popleft().send(request, due)

    def answered(self, client: Client, status: str, due: float) -> None:
        """Note an answer, and send what is next."""
        now = time.monotonic()
        self._times.append((now - due) * 1000)
        self._statuses[status] += 1
        self._idle.append(client)
        if len(self._times) == len(self._requests):
            self._done.set_result(None)
        elif self._rate is not None:
            self._send_due(self._rate)
        elif self._next < len(self._requests):
            self._send(now)

    def broken(self, error: Exception | None) -> None:
        """A connection was lost."""
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server closed a connection"))


async def carry_out(plan: dict[str, Any]) -> Outcome:
    """Warm up, then carry out `plan` (see `benchmarks.wire.Plan`)."""
    requests = wire.requests(plan)
    warm_up, measured = requests[: plan["warm_up"]], requests[plan["warm_up"] :]
    loop = asyncio.get_running_loop()
    outcome = Outcome()
    for part, rate in ((warm_up, None), (measured, plan["rate"])):
        if not part:
            continue
        run = Run(part, rate)
        links = [
            await loop.create_connection(partial(Client, run), "127.0.0.1", plan["port"])
            for _ in range(min(plan["connections"], len(part)))
        ]
        outcome = await run.go([client for _, client in links])
        for transport, _ in links:
            transport.close()
    return outcome


if __name__ == "__main__":
    json.dump(asdict(asyncio.run(carry_out(json.load(sys.stdin)))), sys.stdout)
