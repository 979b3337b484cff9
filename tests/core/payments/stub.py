"""A server that answers what it is told to, well-formed or not, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

Reply = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str
    connection: int


@dataclass
class Stub:
    """Answers each request with `reply`; keeps connections open between requests."""

    reply: Reply
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._links: list[socket.socket] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._listener.close()
        for link in self._links:
            link.close()

    def _accept(self) -> None:
        while not self._done.is_set():
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            self._links.append(link)
            threading.Thread(target=self._serve, args=(link, len(self._links)), daemon=True).start()

    def _serve(self, link: socket.socket, number: int) -> None:
        try:
            with link, link.makefile("rb") as stream:
                while line := stream.readline():
                    method, path, _ = line.decode().split(" ")
                    headers: dict[str, str] = {}
                    while (header := stream.readline().decode().strip()) != "":
                        name, _, value = header.partition(":")
                        headers[name.lower()] = value.strip()
                    body = stream.read(int(headers.get("content-length", 0))).decode()
                    self.asked.append(Asked(method, path, headers, body, number))
                    self.reply(link)
        except (OSError, ValueError):
            return  # the client or the test hung up


def answer(status: int = 200, body: Any = None, **headers: str) -> Reply:
    """A whole answer; a header's underscores stand for hyphens."""
    text = body if isinstance(body, str) else json.dumps({"id": "pi_1"} if body is None else body)
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(text.encode())}", "Request-Id: req_1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    whole = "\r\n".join([*lines, "", text]).encode()
    return lambda link: link.sendall(whole)


def refusal(status: int, type: str, code: str | None = None, message: str = "No.", **fields: Any) -> Reply:
    """An error as Stripe words it."""
    headers = {name: fields.pop(name) for name in ("Retry_After", "Idempotent_Replayed") if name in fields}
    return answer(status, {"error": {"type": type, "code": code, "message": message, **fields}}, **headers)


def reset(link: socket.socket) -> None:
    """Hang up rudely."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()
    raise OSError


def hang_up(link: socket.socket) -> None:
    """Hang up politely, without an answer."""
    link.shutdown(socket.SHUT_RDWR)
    raise OSError


def half(link: socket.socket) -> None:
    """Answer half, then hang up."""
    link.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id": "pi_1"')
    hang_up(link)


def garbage(link: socket.socket) -> None:
    """Speak another language."""
    link.sendall(b"EHLO\r\n\r\n")
    hang_up(link)


def silence(link: socket.socket) -> None:
    """Answer nothing."""
