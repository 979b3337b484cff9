"""How soon a worker is back at a broker that was away."""

from __future__ import annotations

from typing import Any

import celery.app.amqp
import kombu

FIRST_RETRY, RETRY_STEP, LONGEST_RETRY = 0.2, 0.3, 5.0
"""Seconds between two tries: kombu's own 2, 4, 6 ... 30 let a broker that was back at once wait for its workers."""


class Connection(kombu.Connection):
    """Like kombu's, but impatient."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Connection:
        """Connect, however often it takes; an interval that the caller names stays."""
        quick = {"interval_start": FIRST_RETRY, "interval_step": RETRY_STEP, "interval_max": LONGEST_RETRY}
        super().ensure_connection(*args, **{**quick, **kwargs})
        return self


class AMQP(celery.app.amqp.AMQP):
    """Celery's, with our connections."""

    Connection = Connection
