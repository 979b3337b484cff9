"""The HTTP client of webhook delivery: http.client over kept connections, half the CPU of a general client's."""

from __future__ import annotations

import http.client
import threading
from urllib.parse import urlsplit

TIMEOUT = 10.0
"""Seconds for connecting, and for each read."""
STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class HookClient:
    """POSTs to one plain http URL, from any thread."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []

    def post(self, body: bytes, headers: dict[str, str]) -> str:
        """Send `body`; returns the status, or the name of the error that kept it from having one."""
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                return self._exchange(kept, body, headers)
            except STALE:
                kept.close()  # the receiver had ended the idle connection: a new one decides
            except (OSError, http.client.HTTPException) as error:
                kept.close()
                return type(error).__name__
        fresh = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT)
        try:
            return self._exchange(fresh, body, headers)
        except (OSError, http.client.HTTPException) as error:
            fresh.close()
            return type(error).__name__

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> str:
        connection.request("POST", self._target, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return str(answer.status)
