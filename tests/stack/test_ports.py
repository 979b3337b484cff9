"""A port in use is one line before anything starts."""

from __future__ import annotations

import socket

import pytest

from stack import ports
from stack.refusal import Refused


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_free_ports_pass_and_stay_free() -> None:
    port = free_port()
    for _ in range(2):
        ports.check([("PORT", "127.0.0.1", port)])


def test_a_port_in_use_is_named_with_its_variable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(Refused) as refused:
            ports.check([("PORT", "127.0.0.1", free_port()), ("FLOWER_PORT", "127.0.0.1", port)])
    assert str(refused.value) == (
        f"FLOWER_PORT={port} cannot be used on 127.0.0.1: address already in use; it should be a free port"
    )


def test_two_variables_with_one_port_are_refused() -> None:
    port = free_port()
    with pytest.raises(Refused, match=f"FLOWER_PORT={port}"):
        ports.check([("PORT", "127.0.0.1", port), ("FLOWER_PORT", "127.0.0.1", port)])


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(Refused, match=r"PORT=8000 cannot be used on 192\.0\.2\.1"):
        ports.check([("PORT", "192.0.2.1", 8000)])
