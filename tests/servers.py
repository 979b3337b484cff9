"""Real servers for tests: which are reachable, and what it means when one is not.

`TEST_POSTGRES_URL`, `TEST_REDIS_URL` and `TEST_RABBITMQ_URL` name them; unset, the usual local address is tried.
A missing server skips the test and says which; with `REQUIRE_SERVERS=1` it fails instead.
"""

from __future__ import annotations

import os
import shutil
import socket
from functools import cache
from typing import NoReturn
from urllib.parse import urlsplit

import pytest

ADDRESSES = {
    "postgresql": ("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres", 5432),
    "redis": ("TEST_REDIS_URL", "redis://127.0.0.1:6379/9", 6379),
    "rabbitmq": ("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//", 5672),
}


def require(name: str) -> str:
    """The URL of a running server (`postgresql`, `redis`, `rabbitmq`), or the path of a program (`redis-server`).

    Skips the test when there is none, or fails it with `REQUIRE_SERVERS=1`.
    """
    if name not in ADDRESSES:
        return shutil.which(name) or missing(f"{name} is not installed")
    variable, usual, port = ADDRESSES[name]
    url = os.environ.get(variable) or usual
    return url if _listens(url, port) else missing(f"no {name} server answers at {variable} or its usual address")


def missing(reason: str) -> NoReturn:
    """Skip, or fail where every server must be there."""
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def _listens(url: str, port: int) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or port), timeout=2).close()
    except OSError:
        return False
    return True
