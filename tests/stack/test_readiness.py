"""Waiting for a program that says it is ready, with a real server."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from stack import readiness
from tests.stack.test_ports import free_port


class Server(ThreadingHTTPServer):
    """Answers 503 as often as told, then 200."""

    refusals = 0


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.refusals -= 1
        self.send_response(503 if self.server.refusals >= 0 else 200)
        self.end_headers()
        self.wfile.write(b"the beat is late")

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answer) as running:
        thread = Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/health/ready"


def test_it_waits_through_refusals(server: Server) -> None:
    server.refusals = 2
    assert readiness.wait(url(server.server_port), 30, Event()) is None


def test_it_gives_up_and_says_what_stood_in_the_way(server: Server) -> None:
    server.refusals = 1000
    assert readiness.wait(url(server.server_port), 0, Event()) == "503 the beat is late"


def test_nobody_listening_is_an_answer() -> None:
    assert "refused" in (readiness.ask(url(free_port())) or "")


def test_a_stop_ends_the_waiting() -> None:
    stopping = Event()
    stopping.set()
    assert readiness.wait(url(free_port()), 3600, stopping) is not None
