"""A TCP proxy that breaks connections in the ways that networks do."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

PASS, REFUSE, SWALLOW, MUTE = "pass", "refuse", "swallow", "mute"
"""All well; no connections; connections whose bytes vanish; bytes arrive and their replies do not."""
CHUNK = 65_536
IDLE_SECONDS = 0.5


class Proxy:
    """Listens on a free loopback port and passes everything to `target`, or what `mode` says.

    Args:
        target: loopback port of the real server.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._mode = PASS
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stopped = False
        threading.Thread(target=self._serve, name="proxy", daemon=True).start()

    def set(self, mode: str) -> None:
        """Change what happens to bytes from now on; `refuse` cuts what is open, and so does the way back to `pass`."""
        self._mode = mode
        if mode in (PASS, REFUSE):  # half-dead connections would stay half dead
            self._cut()

    def stop(self) -> None:
        """Close everything."""
        self._stopped = True
        self._listener.close()
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            links, self._open = self._open, set()
        for link in links:
            _close(link)

    def _serve(self) -> None:
        while not self._stopped:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # stopped
            if self._mode == REFUSE:
                _close(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                _close(client)
                continue
            with self._lock:
                self._open |= {client, server}
            for source, drain, replies in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, drain, replies), daemon=True).start()

    def _pump(self, source: socket.socket, drain: socket.socket, replies: bool) -> None:
        try:
            source.settimeout(None)
            while data := source.recv(CHUNK):
                if self._mode == SWALLOW or (replies and self._mode == MUTE):
                    continue
                drain.sendall(data)
        except OSError:
            pass  # cut, by us or by an end of it
        with self._lock:
            self._open -= {source, drain}
        _close(source)
        _close(drain)


def _close(link: socket.socket) -> None:
    with suppress(OSError):  # it was closed already
        link.shutdown(socket.SHUT_RDWR)
    link.close()
