"""The HTTP side: the standard library's threaded server, on loopback only.

A thread per connection, because faults need the raw socket (a reset, half a body) and endpoints stay plain code: at 400
keep-alive connections with 300 ms of latency it measured 88 us of CPU per request and 27 MB, against 148 us for
an ASGI callable under granian (which hides the socket) and 65 us under gevent (which needs its own hub in tests).
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from simulator.messages import Answer, Request, json_answer

logger = logging.getLogger(__name__)

LARGEST_BODY = 1_000_000
HANG_UP_SECONDS = 10
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1 and answers with `answer`."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int, answer: Callable[[Request], Answer]) -> None:
        self.answer = answer
        self._change = threading.Condition()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that stopping can end it."""
        with self._change:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The connection is over."""
        super().shutdown_request(request)
        with self._change:
            self._open.discard(request)
            self._change.notify_all()

    def hang_up(self) -> None:
        """End idle and busy connections alike, and wait for the effects under way."""
        with self._change:
            still_open = list(self._open)
        for connection in still_open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                logger.debug("already closed: %s", error)
        with self._change:
            if not self._change.wait_for(lambda: not self._open, HANG_UP_SECONDS):
                logger.warning("%d connections did not end", len(self._open))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""
        logger.debug("connection of %s broke: %r", client_address, sys.exception())


class Connection(BaseHTTPRequestHandler):
    """One connection: reads requests, writes answers, or cuts it as a fault demands."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def serve(self) -> None:
        """Answer one request."""
        body = self._body()
        if body is None:
            return
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            answer = self.server.answer(Request(self.command, path, query, headers, body))
        except Exception:
            # A bug of the simulator: say so loudly and keep the server alive. Nothing was committed.
            logger.exception("%s %s broke the simulator", self.command, path)
            answer = json_answer(500, {"error": {"type": "api_error", "message": "The simulator has a bug."}})
        self._write(answer)

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = serve  # noqa: N815 - the names http.server looks for

    def log_message(self, format: str, *args: Any) -> None:
        """The request log is in the database."""
        logger.debug(format, *args)

    def _body(self) -> bytes | None:
        if "transfer-encoding" in self.headers:
            self.send_error(411)
            return None
        length = self.headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self.send_error(413 if length.isdigit() else 400)
            return None
        return self.rfile.read(int(length))

    def _write(self, answer: Answer) -> None:
        if answer.cut == "reset":
            self._reset()
            return
        head = f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}\r\nDate: {self.date_time_string()}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        head += f"Content-Length: {len(answer.body)}\r\n\r\n"
        whole = head.encode("latin-1", "replace") + answer.body
        if answer.cut == "reset_mid_body":
            self.connection.sendall(whole[: len(whole) - len(answer.body) // 2 - 1])
            self._reset()
            return
        self.connection.sendall(whole)

    def _reset(self) -> None:
        """Close with a TCP reset: zero linger, and past the file objects that would keep the socket open."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
