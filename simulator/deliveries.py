"""Webhook delivery: in parallel, signed anew each time, again with backoff until the receiver says 2xx.

The rows are the truth: what a killed simulator had not delivered is taken up by the next one.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from simulator.clock import Clock
from simulator.hook_client import HookClient
from simulator.settings import SimulatorSettings
from simulator.signatures import sign
from simulator.store import Store

logger = logging.getLogger(__name__)

LONGEST_BACKOFF = 60.0
GIVE_UP_AFTER = 3 * 86_400
"""Seconds from the event to its last attempt, as in Stripe's live mode."""
STALE = 3600
"""Seconds by which a stale or future signature is off."""
HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    "Accept": "*/*",
}


class Deliverer:
    """Sends the pending rows of the deliveries table."""

    def __init__(self, settings: SimulatorSettings, store: Store, clock: Clock) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self._http = HookClient(settings.webhook_url)
        self._threads = ThreadPoolExecutor(settings.delivery_threads, "webhook")
        self._lock = threading.Lock()
        self._claimed: set[int] = set()
        self._stopped = False

    def submit(self, deliveries: list[int]) -> None:
        """Send these soon; a row already on its way is not sent twice."""
        for delivery in deliveries:
            if not self._stopped and self._claim(delivery):
                self._threads.submit(self._attempt_claimed, delivery)

    def submit_due(self) -> None:
        """Send what is due by the clock: retries, delayed ones, and those of an earlier life."""
        with self._store.reading() as tx:
            rows = tx.execute(
                "SELECT id FROM deliveries WHERE state = 'pending' AND due <= ? ORDER BY due LIMIT 1000",
                (self._clock.now(),),
            ).fetchall()
        self.submit([row[0] for row in rows])

    def attempt(self, delivery: int) -> None:
        """Send one now, in this thread, and return when it was answered."""
        if self._claim(delivery):
            self._attempt_claimed(delivery)

    def stop(self) -> None:
        """Wait for what is on its way; the rest stays pending."""
        self._stopped = True
        self._threads.shutdown(cancel_futures=True)
        self._http.close()

    def _claim(self, delivery: int) -> bool:
        with self._lock:
            if delivery in self._claimed:
                return False
            self._claimed.add(delivery)
            return True

    def _attempt_claimed(self, delivery: int) -> None:
        try:
            with self._store.reading() as tx:
                row = tx.execute(
                    "SELECT d.*, o.body, o.created FROM deliveries d JOIN objects o ON o.id = d.event"
                    " WHERE d.id = ? AND d.state = 'pending'", (delivery,)
                ).fetchone()  # fmt: skip
            if row is not None:
                self._record(row, self._send(row))
        except Exception:
            # A pool thread's exception would vanish; the row stays pending and is tried again.
            logger.exception("webhook delivery %s broke", delivery)
        finally:
            with self._lock:
                self._claimed.discard(delivery)

    def _send(self, row: Any) -> str:
        """POST it; returns the status, or the name of the error."""
        body = row["body"].encode()
        timestamp, secret = int(self._clock.now()), self._settings.webhook_secret
        if row["attempts"] == 0:  # only the first attempt suffers: what is really Stripe's arrives in the end
            timestamp += {"stale": -STALE, "future": STALE}.get(row["fault"], 0)
            secret = "whsec_forged" if row["fault"] == "forged" else secret
        headers = HEADERS | {"Stripe-Signature": sign(body, timestamp, secret)}
        return self._http.post(body, headers)

    def _record(self, row: Any, outcome: str) -> None:
        now, attempts = self._clock.now(), row["attempts"] + 1
        delivered = outcome.startswith("2")
        state = "delivered" if delivered else "failed" if now - row["created"] > GIVE_UP_AFTER else "pending"
        backoff = min(LONGEST_BACKOFF, self._settings.retry_seconds * 2 ** min(row["attempts"], 20))
        with self._store.transaction() as tx:
            tx.execute(
                "UPDATE deliveries SET state = ?, attempts = ?, due = ?, last_answer = ? WHERE id = ?",
                (state, attempts, now + backoff, outcome, row["id"]),
            )
        if not delivered:
            logger.info("webhook %s attempt %d: %s", row["event"], attempts, outcome)
