"""The scheduler of `celery beat`: Celery's own, which stops adding ticks while nobody takes them.

It keeps no file: a tick only inserts a job with the key `task:period`, so beat has nothing to remember.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import beat

logger = logging.getLogger(__name__)

FEW = 10
"""Ticks that may wait. Any of them does the work of all those behind it."""


class Scheduler(beat.Scheduler):
    """Sends a due tick unless a few messages wait in its queue: a week without workers leaves no backlog."""

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send one tick; a failure is logged, and the next tick starts with a fresh connection.

        Args:
            entry: a `celery.beat.ScheduleEntry` whose options name the queue.
            producer: the kombu producer to send with.
        """
        try:
            waiting = self._waiting(producer.channel, entry.options["queue"])
            if waiting < FEW:
                self.apply_async(entry, producer=producer, advance=False)
            else:
                logger.info("Tick skipped", extra={"tick": entry.name, "waiting": waiting})
        except Exception as error:  # noqa: BLE001 - each broker's client has its own; the next tick tries again
            logger.warning("Tick not sent", extra={"tick": entry.name, "error": str(error)})
            self.close()  # without publish retries a broken channel is never replaced otherwise

    def _waiting(self, channel: Any, name: str) -> int:
        queue = self.app.amqp.queues[name]
        # not passive: on Redis an empty list does not exist, and a passive declare of it fails
        declared = channel.queue_declare(
            queue=queue.name,
            durable=queue.durable,
            auto_delete=queue.auto_delete,
            arguments=queue.queue_arguments,
        )
        return int(declared.message_count)
