"""Connections to Stripe: one pool per process under the SDK, with timeouts that fit a lease.

The SDK's own client opens a session per thread, waits 80 s, and costs twice the CPU.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from fcntl import ioctl
from ipaddress import ip_address
from termios import FIONREAD
from typing import Any, NoReturn
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError

from core import settings

CONNECT_SECONDS, READ_SECONDS = 5.0, 20.0
USUAL_LEASE_SECONDS = 60.0
"""The lease that these times fit into; a shorter one (tests have them) shortens them alike."""
POOL_CONNECTIONS = 512
_ESTABLISHED = b"\x01"  # TCP_ESTABLISHED; once the server has closed its side it is TCP_CLOSE_WAIT
_NOTHING = bytes(4)
"""No unread bytes, which could only be the answer to nothing that we asked."""


class NothingSent(Exception):
    """The connection could not be made: the request never left."""


class AnswerLost(Exception):
    """The request may have arrived; its answer did not."""


class Pool:
    """Sends requests; thread-safe. Not fork-safe: a child builds its own."""

    def __init__(self, base: str, ca_file: str | None = None) -> None:
        share = min(settings.load().lease_seconds / USUAL_LEASE_SECONDS, 1.0)
        options: dict[str, Any] = {
            "maxsize": POOL_CONNECTIONS,
            "timeout": urllib3.Timeout(connect=CONNECT_SECONDS * share, read=READ_SECONDS * share),
            "retries": False,  # retries live in the job's row
            "ca_certs": ca_file,
        }
        proxy = _proxy(base)
        self._base = None if proxy else base
        self._open: urllib3.ProxyManager | urllib3.HTTPConnectionPool
        if proxy:
            self._open = urllib3.ProxyManager(proxy, **options)
        else:  # one host needs no manager, which would look for it at each request
            self._open = urllib3.PoolManager(**options).connection_from_url(base)
            if hasattr(socket, "TCP_INFO"):
                self._open.ConnectionCls = _quick(self._open.ConnectionCls)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: str | bytes | None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send one request and read the whole answer.

        Raises:
            NothingSent: no connection.
            AnswerLost: anything after that.
        """
        where = url if self._base is None else url.removeprefix(self._base)
        try:
            answer = self._open.urlopen(method, where, headers=dict(headers), body=body, redirect=False)
        except HTTPError as error:
            _raise(error)
        return answer.data, answer.status, answer.headers


def _quick(usual: type[Any]) -> type[Any]:
    """Connections that ask the kernel whether the server closed them; polling for it costs greenlets ten times that."""

    class Quick(usual):  # type: ignore[misc]
        @property
        def is_connected(self) -> bool:
            if self.sock is None:
                return False
            state: bytes = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
            return state == _ESTABLISHED and ioctl(self.sock.fileno(), FIONREAD, _NOTHING) == _NOTHING

    return Quick


def _raise(error: HTTPError) -> NoReturn:
    early = isinstance(error, NewConnectionError | ConnectTimeoutError | ProxyError)
    raise (NothingSent if early else AnswerLost)(f"{type(error).__name__}") from error


def _proxy(base: str) -> str | None:
    parts = urlsplit(base)
    host = parts.hostname or ""
    if host == "localhost" or (host.replace(".", "").isdecimal() and ip_address(host).is_loopback):
        return None
    return None if proxy_bypass(host) else getproxies().get(parts.scheme)
