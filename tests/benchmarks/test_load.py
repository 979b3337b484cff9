from __future__ import annotations

import asyncio
from itertools import pairwise

from benchmarks.load import Client, Outcome, Run

STALL = 0.3
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


async def outcome(requests: int, rate: float | None, connections: int) -> Outcome:
    """Against a server that answers one request at a time, the first after a stall."""
    turn, served, open_links = asyncio.Lock(), 0, asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            async with turn:
                await asyncio.sleep(0 if served else STALL)
                served += 1
                writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()
        await writer.wait_closed()
        open_links.release()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    run = Run([REQUEST] * requests, rate)
    links = [await loop.create_connection(lambda: Client(run), "127.0.0.1", port) for _ in range(connections)]
    done = await run.go([client for _, client in links])
    for transport, _ in links:
        transport.close()
        await open_links.acquire()
    server.close()
    return done


def test_every_request_is_answered_once() -> None:
    done = asyncio.run(outcome(30, None, 4))
    assert done.statuses == {"202": 30}
    assert len(done.milliseconds) == len(done.sent_at) == 30


def test_a_stalled_server_cannot_hide_behind_the_clients_that_wait() -> None:
    done = asyncio.run(outcome(20, 100.0, 2))
    waited = [milliseconds for milliseconds in done.milliseconds if milliseconds > STALL * 1000 / 3]
    assert len(waited) >= 10, "requests that were due during the stall count from when they were due"


def test_at_a_rate_requests_are_due_evenly() -> None:
    sent_at = asyncio.run(outcome(20, 100.0, 2)).sent_at
    assert {round(later - earlier, 4) for earlier, later in pairwise(sent_at)} == {0.01}
