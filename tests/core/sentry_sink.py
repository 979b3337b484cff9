"""A stand-in for Sentry: takes envelopes over HTTP and keeps what is in them."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import pytest
import sentry_sdk

from core import monitoring


class Sink:
    """Listens on a free port; `dsn` is what to give an SDK."""

    def __init__(self) -> None:
        self.items: list[tuple[str, dict[str, Any]]] = []
        self.bodies: list[str] = []
        self.status = 200
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.keep(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(sink.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.dsn = f"http://publickey@127.0.0.1:{self._server.server_port}/42"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def keep(self, envelope: bytes) -> None:
        """Take an envelope apart (develop.sentry.dev/sdk/data-model/envelopes)."""
        self.bodies.append(envelope.decode())
        rest = envelope.partition(b"\n")[2]
        while rest.strip():
            head, _, rest = rest.partition(b"\n")
            header = json.loads(head)
            length = header.get("length", len(rest.partition(b"\n")[0]))
            payload, rest = rest[:length], rest[length + 1 :]
            if header["type"] in ("event", "transaction"):
                self.items.append((header["type"], json.loads(payload)))

    def wait(self, type: str, count: int = 1) -> list[dict[str, Any]]:
        """The events or transactions that came, at least `count` of them."""
        deadline = time.monotonic() + 20
        while len(found := [item for kind, item in list(self.items) if kind == type]) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} {type}s came"
            time.sleep(0.005)
        return found

    def events(self, count: int = 1) -> list[dict[str, Any]]:
        """Errors."""
        return self.wait("event", count)

    def transactions(self, count: int = 1) -> list[dict[str, Any]]:
        """Traces."""
        return self.wait("transaction", count)


@contextmanager
def switched_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """Sentry is on and means a sink, without the integrations that patch other packages; afterwards it is off."""
    monkeypatch.setattr(monitoring, "_INTEGRATIONS", {})
    monkeypatch.setattr(monitoring, "_started", None)
    with Sink() as running, sentry_sdk.isolation_scope():
        monkeypatch.setenv("SENTRY_ENABLED", "true")
        monkeypatch.setenv("SENTRY_DSN", running.dsn)
        monkeypatch.setenv("SENTRY_TRACES_SAMPLE_RATE", "1")
        try:
            yield running
        finally:
            sentry_sdk.get_client().close(timeout=2)
            sentry_sdk.get_global_scope().set_client(None)
