"""Flower's news of tasks, several in one message.

Celery does this by itself only in its own event loop, which gevent and the embedded broker do not have: there each of a
task's three events is a message that the task waits for.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from celery.worker.consumer.events import Events
from kombu.common import ignore_errors

EVERY_SECONDS = 0.25
MOST = 10_000
"""Events after which a task sends them itself; with Celery's 24 many a task would wait for that, too."""


class EventsTogether(bootsteps.StartStopStep):
    """Part of a worker's connection to its broker, begun anew with each one."""

    requires = (Events,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        self._dispatcher: Any = None
        self._connected = False
        super().__init__(consumer, **options)

    def start(self, consumer: Any) -> None:
        """From now on, keep the events of tasks and send them every now and then."""
        if consumer.hub:
            return
        before, dispatcher = self._dispatcher, consumer.event_dispatcher
        dispatcher.buffer_group, dispatcher.buffer_limit = frozenset({"task"}), MOST
        if before is not None:  # Celery carries over what it tried to send, and not what came meanwhile
            for group, events in vars(before)["_group_buffer"].items():
                vars(dispatcher)["_group_buffer"][group].extend(events)
        self._dispatcher, self._connected = dispatcher, True
        self._send_and_go_on(consumer, dispatcher)

    def close(self, consumer: Any) -> None:
        """The worker is asked to stop: send what there is while Flower still counts it among the living."""
        self._send(consumer)

    def stop(self, _: Any) -> None:
        """Leave the connection alone: it may be the one that broke."""
        self._connected = False

    def shutdown(self, consumer: Any) -> None:
        """Send what the last tasks said."""
        self._connected = False
        self._send(consumer)

    def _send(self, consumer: Any) -> None:
        if self._dispatcher is not None:
            ignore_errors(consumer, self._dispatcher.flush, errors=False)

    def _send_and_go_on(self, consumer: Any, dispatcher: Any) -> None:
        # Not `call_repeatedly`: gevent's timer cannot cancel it once it has been called.
        if not self._connected or self._dispatcher is not dispatcher:
            return
        try:
            dispatcher.flush(errors=False)  # what could not be sent before is sent with the next connection
        finally:
            consumer.timer.call_after(EVERY_SECONDS, self._send_and_go_on, (consumer, dispatcher))
