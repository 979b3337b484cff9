"""A Celery app on a broker of the test's own, and what waits in its queues."""

from __future__ import annotations

import runpy
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from celery import Celery

CONFIG = Path(__file__).resolve().parents[2] / "celeryconfig.py"
QUEUES = ("payments", "webhooks", "statistics", "reconcile", "maintenance")


def celery_app(monkeypatch: pytest.MonkeyPatch, url: str) -> Celery:
    """An app with our settings on the broker at `url`, apart from the process's own."""
    monkeypatch.setenv("BROKER_URL", url)
    app = Celery("test", set_as_current=False)
    read = runpy.run_path(str(CONFIG))
    app.config_from_object({name: value for name, value in read.items() if name.islower() and name[0] != "_"})
    return app


class Broker:
    """Takes messages out as a worker would."""

    def __init__(self, app: Celery) -> None:
        self.app = app

    def messages(self) -> list[tuple[str, str, list[str]]]:
        """Queue, task and ids of every waiting message; they are gone then."""
        with self.app.connection_for_read() as connection:
            return [found for queue in QUEUES for found in self._drain(connection, queue)]

    def hinted(self) -> list[str]:
        """The ids in all waiting messages."""
        return [job_id for _, _, ids in self.messages() for job_id in ids]

    def shown(self) -> list[str]:
        """What Flower shows as the arguments of the waiting messages."""
        with self.app.connection_for_read() as connection:
            return [message.headers["argsrepr"] for queue in QUEUES for message in self._take_all(connection, queue)]

    def _drain(self, connection: Any, queue: str) -> list[tuple[str, str, list[str]]]:
        found = self._take_all(connection, queue)
        return [(queue, message.headers["task"], message.payload[0][0]) for message in found]

    def _take_all(self, connection: Any, name: str) -> list[Any]:
        found = list[Any]()
        queue = connection.SimpleQueue(self.app.amqp.queues[name])
        while True:
            try:
                message = queue.get(block=False)
            except Empty:
                queue.close()
                return found
            message.ack()
            found.append(message)
