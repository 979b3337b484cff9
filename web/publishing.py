"""The broker's door of the web: one connection, one message, kept open between messages."""

from __future__ import annotations

# Celery needs it, and it cannot be imported any more by a thread that outlives the main one, which flushing does.
import concurrent.futures.thread  # noqa: F401
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.domain.jobs import JobKind


class Channel:
    """Sends job hints by message name through Celery's own settings; web imports no task.

    Celery is imported by the first message, in the publisher's thread, not by the start of the web process.
    """

    def __init__(self) -> None:
        self._app: Any = None
        self._producer: Any = None
        self._declared: set[str] = set()

    def send(self, kind: JobKind, ids: Sequence[str]) -> None:
        """Send one message that carries `ids`.

        Raises:
            Exception: whatever the transport raises; each transport has its own.
        """
        # A shown list of up to 50 ids says nothing to a person; Flower shows this instead.
        shown = f"{kind.name} x{len(ids)} {ids[0]}..{ids[-1]}"
        connected = self._connected()
        # Once for each connection: Celery looks the queue up again for each message, which costs as much as sending it.
        declare: list[Any] | None = [] if kind.queue in self._declared else None
        connected.send_task(
            kind.name,
            args=[list(ids)],
            queue=kind.queue,
            producer=self._producer,
            declare=declare,
            argsrepr=shown,
            kwargsrepr="",
            retry=False,  # an unknown outcome is repeated by the sweep
            ignore_result=True,
            add_to_parent=False,
        )
        self._declared.add(kind.queue)

    def close(self) -> None:
        """Drop the connection; the next message opens another."""
        producer, self._producer = self._producer, None
        self._declared.clear()
        if producer is not None:
            with suppress(Exception):  # it is closed because it is broken: how it breaks further tells nothing
                producer.connection.release()

    def _connected(self) -> Any:
        if self._app is None:
            from celery import Celery

            self._app = Celery("counterfoil", set_as_current=False)
            self._app.config_from_object("celeryconfig")
        if self._producer is None:
            connection = self._app.connection_for_write()
            # Without a bound kombu repeats this for ever, and the publisher could not stop.
            connection.ensure_connection(
                max_retries=1, interval_start=0, timeout=self._app.conf.broker_connection_timeout
            )
            self._producer = self._app.amqp.Producer(connection)
        return self._app
