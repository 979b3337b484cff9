"""What happens some time later, and the thread that makes it happen."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable

from simulator import payments
from simulator.api import Api
from simulator.deliveries import Deliverer
from simulator.errors import ApiError
from simulator.operation import Operation
from simulator.resources import disputes, refunds

logger = logging.getLogger(__name__)

TICK = 0.05
"""Seconds between looks at the clock: it can jump, so nobody sleeps until a due time."""

ACTIONS: dict[str, Callable[[Operation, str], object]] = {
    "refund_settle": refunds.settle,
    "refund_fail": refunds.fail,
    "payment_succeeded": lambda op, intent: payments.finish_processing(op, intent, succeeded=True),
    "payment_failed": lambda op, intent: payments.finish_processing(op, intent, succeeded=False),
    "dispute_fraudulent": lambda op, charge: disputes.open_dispute(op, charge, reason="fraudulent"),
    "dispute_product_not_received": lambda op, charge: disputes.open_dispute(op, charge, reason="product_not_received"),
    "inquiry_fraudulent": lambda op, charge: disputes.open_dispute(op, charge, reason="fraudulent", inquiry=True),
}


class Ticker:
    """Runs due timers and hands due webhooks to the deliverer."""

    def __init__(self, api: Api, deliverer: Deliverer) -> None:
        self._api, self._deliverer = api, deliverer
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Begin, with what an earlier life left due."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, after api.stopping was set."""
        self._thread.join()

    def _run(self) -> None:
        while not self._api.stopping.wait(TICK):
            try:
                while self.run_one():
                    pass
                self._deliverer.submit_due()
            except (sqlite3.Error, ApiError):
                # The rows are still due: the next tick tries again.
                logger.exception("a timer or delivery tick broke")

    def run_one(self) -> bool:
        """Run the timer that has been due longest, in one transaction with its removal. False: none is due."""
        with self._api.operation() as op:
            row = op.tx.execute("SELECT * FROM timers WHERE due <= ? ORDER BY due LIMIT 1", (op.time,)).fetchone()
            if row is None:
                return False
            op.tx.execute("DELETE FROM timers WHERE id = ?", (row["id"],))
            try:
                ACTIONS[row["action"]](op, row["object"])
            except ApiError as moot:
                # Somebody (the control API, a capture) was faster: the object is past this step.
                logger.info("%s of %s: %s", row["action"], row["object"], moot)
            return True
