"""Flower's news of tasks, several in one message.

Celery does this by itself only in its own event loop, which prefork has and threads and greenlets have not: there each
of a task's three events is a message that the task waits for.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from celery.worker.consumer.events import Events
from kombu.common import ignore_errors

EVERY_SECONDS = 0.25
"""Celery sends them earlier when there are 24."""


class EventsTogether(bootsteps.StartStopStep):
    """Part of a worker's connection to its broker, begun anew with each one."""

    requires = (Events,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        self._repeated: Any = None
        super().__init__(consumer, **options)

    def start(self, consumer: Any) -> None:
        """From now on, keep the events of tasks and send them every now and then."""
        if consumer.hub:
            return
        consumer.event_dispatcher.buffer_group = frozenset({"task"})
        self._repeated = consumer.timer.call_repeatedly(EVERY_SECONDS, consumer.event_dispatcher.flush)

    def stop(self, consumer: Any) -> None:
        """Leave the connection alone: it may be the one that broke."""
        if self._repeated is not None:
            consumer.timer.cancel(self._repeated)
            self._repeated = None

    def shutdown(self, consumer: Any) -> None:
        """Send what is left."""
        self.stop(consumer)
        if consumer.event_dispatcher:
            ignore_errors(consumer, consumer.event_dispatcher.flush)
