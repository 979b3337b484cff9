"""Ports are looked at before anything starts, so that a taken one is a line and not a restart loop."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import ExitStack

from stack.refusal import Refused


def check(wanted: Iterable[tuple[str, str, int]]) -> None:
    """Make sure that each address can be listened on, all at the same time.

    Args:
        wanted: variable, host and port of each listener.

    Raises:
        Refused: an address is in use, by another process or by another variable.
    """
    with ExitStack() as held:
        for variable, host, port in wanted:
            try:
                held.enter_context(_listening(host, port))
            except OSError as error:
                reason = error.strerror or str(error)
                raise Refused(
                    f"{variable}={port} cannot be used on {host}: {reason.lower()}; it should be a free port"
                ) from None


def _listening(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # closed connections of the last run do not count
        listener.bind(address)
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener
