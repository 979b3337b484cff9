"""Real brokers that a test has to itself: a Redis process of its own, and a virtual host of its own on RabbitMQ."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from kombu import Connection

from tests.core.private_redis import PrivateRedis
from tests.servers import require

QUEUES = ("payments", "webhooks", "statistics", "reconcile", "maintenance")


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The URL of an empty Redis."""
    server = PrivateRedis(folder)
    try:
        yield server.url
    finally:
        server.stop()


@contextmanager
def rabbitmq(_: Path) -> Iterator[str]:
    """The URL of an empty virtual host; where none may be made, of the one that tests were given, emptied."""
    url = require("rabbitmq")
    made = f"counterfoil_test_{uuid.uuid4().hex[:12]}"
    if not _rabbitmqctl("add_vhost", made):
        _forget_queues(url)
        yield url
        _forget_queues(url)
        return
    try:
        _rabbitmqctl("set_permissions", "-p", made, urlsplit(url).username or "guest", ".*", ".*", ".*")
        yield urlsplit(url)._replace(path=f"/{made}").geturl()
    finally:
        _rabbitmqctl("delete_vhost", made)


def _rabbitmqctl(*arguments: str) -> bool:
    """Whether the command went well: it needs root, by itself or through sudo."""
    for before in ([], ["sudo", "-n"]):
        command = [*before, "rabbitmqctl", "-q", *arguments]
        if shutil.which(command[0]) and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return True
    return False


def _forget_queues(url: str) -> None:
    with Connection(url) as connection:
        for name in QUEUES:
            connection.default_channel.queue_delete(name)
