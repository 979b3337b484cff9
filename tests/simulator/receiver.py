"""A real webhook receiver: keeps what it is sent and answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

SECRET = "whsec_of_the_tests"


@dataclass(frozen=True)
class Hook:
    """One webhook as it arrived."""

    body: bytes
    signature: str

    @property
    def event(self) -> dict[str, Any]:
        """The parsed payload."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.event["type"])


class Receiver(ThreadingHTTPServer):
    """Listens on a free loopback port; `answer` decides each status."""

    daemon_threads = True

    def __init__(self) -> None:
        self.hooks: list[Hook] = []
        self.answer: Callable[[Hook], int] = lambda hook: 200
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"http://127.0.0.1:{self.server_address[1]}/webhooks/stripe"

    @property
    def types(self) -> list[str]:
        """The types of what arrived, in order of arrival."""
        return [hook.type for hook in self.hooks]

    def wait_for(self, *types: str) -> list[Hook]:
        """The hooks so far, once each of `types` has arrived (given twice: twice)."""
        eventually(lambda: not Counter(types) - Counter(self.types), lambda: self.types)
        return list(self.hooks)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        hook = Hook(body, self.headers["Stripe-Signature"])
        self.server.hooks.append(hook)
        self.send_response(self.server.answer(hook) if self.server.url.endswith(self.path) else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def eventually(true: Callable[[], bool], seen: Callable[[], object] = lambda: "", seconds: float = 15) -> None:
    """Poll until `true()`, or fail showing `seen()`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it never happened: {seen()}"
        time.sleep(0.01)
