"""The product as a side of a comparison: the image's programs, and as many jobs in flight as hide the gateway."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from benchmarks.bed import Bed
from benchmarks.orders import Orders
from benchmarks.postgres import Database
from benchmarks.processes import Program, free_port, listens, run
from benchmarks.side import Kind, Web
from benchmarks.wire import API_KEY, WEBHOOK_SECRET, Target

NAME = "Counterfoil"
PROCESSES = 2
"""One for each core, as the peers have."""
JOB_KIND = {"checkouts": "payments.create", "webhooks": "webhooks.process"}
_LEFT = """
SELECT (SELECT count(*) FROM jobs WHERE status = 'queued' AND kind = %(kind)s)
     + (SELECT count(*) FROM jobs WHERE status = 'running' AND kind = %(kind)s)
"""
_FINISHED = {
    "checkouts": """
        SELECT order_id::text, extract(epoch FROM finished_at) FROM jobs
        WHERE order_id = ANY(%s::uuid[]) AND kind = 'payments.create' AND status = 'succeeded'
        """,
    "webhooks": "SELECT order_id::text, extract(epoch FROM posted_at) FROM ledger_transfers"
    " WHERE order_id = ANY(%s::uuid[])",
}


class Product:
    """Counterfoil on a database and a Redis.

    Args:
        concurrency: jobs in flight of each worker process.
        log_level: WARNING as in production.
    """

    why = "2 x 400 greenlets, beat beside them, ids of up to 50 jobs a message; web: 2 x 32 threads"

    def __init__(
        self, bed: Bed, database: Database, concurrency: int = 400, log_level: str = "WARNING", name: str = NAME
    ) -> None:
        self.name = name
        self.database = database
        self.concurrency = concurrency
        self.orders = Orders(database)
        self._log_level = log_level
        self._bed = bed

    @staticmethod
    def prepare(database: Database) -> None:
        """Make its schema."""
        environment = {"DATABASE_URL": database.url, "APP_ENV": "staging", **_SECRETS, **_OFF}
        run([sys.executable, "-m", "core.migrations"], environment)

    def empty(self) -> None:
        """Remove rows and messages."""
        self.database.empty()
        self.orders.forget()
        self._bed.redis.empty()

    def forget_jobs(self) -> None:
        """Remove messages and jobs that nobody has done; what is done stays as history."""
        self._bed.redis.empty()
        self.database.run("DELETE FROM jobs WHERE status = 'queued'")

    def open_orders(self, count: int) -> list[Target]:
        """Pending orders of returning customers."""
        return self.orders.pending(count)

    def open_payments(self, count: int) -> list[Target]:
        """Orders that await payment."""
        return self.orders.awaiting_payment(count)

    def workers(self, processes: int | None = None) -> list[Program]:
        """Its workers, and the one beat that all of them need."""
        started = [
            self._program(
                f"worker-{number}", "celery", "-A", "worker", "worker", "-P", "gevent", "-c", str(self.concurrency),
                "-Q", "payments,webhooks,reconcile,maintenance", "-n", f"worker{number}@bench", "--without-gossip",
                "--without-mingle",
            )
            for number in range(processes or PROCESSES)
        ]  # fmt: skip
        beat = self._program("beat", "celery", "-A", "worker", "beat")
        return [*started, beat]

    def web(self) -> Web:
        """Its web program with the image's own options."""
        port = free_port()
        metrics = self._bed.folder / "metrics"
        metrics.mkdir(exist_ok=True)
        program = self._program(
            "web", "granian", "--interface", "wsgi", "--factory", "--no-ws", "--host", "127.0.0.1", "--port",
            str(port), "--workers", "2", "--blocking-threads", "32", "--log-level", "warning", "web:create_app",
            PROMETHEUS_MULTIPROC_DIR=str(metrics),
        )  # fmt: skip
        program.wait_for(lambda: listens(port), 30)
        return Web(program, port)

    def accept(self, targets: list[Target], rate: float | None = None) -> dict[str, float]:
        """Accept checkouts through the domain and hint through the web's publisher."""
        if rate is not None:
            raise LookupError("at a rate, the product accepts over HTTP")
        order_ids = [one["order_id"] for one in targets]
        run([sys.executable, "-m", "benchmarks.accept"], self.environment(), json.dumps(order_ids))
        return {}

    def unfinished(self, kind: Kind) -> int:
        """Jobs queued or running."""
        return int(self.database.one(_LEFT, {"kind": JOB_KIND[kind]}))

    def finished(self, kind: Kind, targets: list[Target]) -> dict[str, float]:
        """When each order's job succeeded, or its money reached the ledger."""
        found = self.database.rows(_FINISHED[kind], ([one["order_id"] for one in targets],))
        return {order_id: float(at) for order_id, at in found}

    def events(self) -> int:
        """Events in the inbox."""
        return int(self.database.one("SELECT count(*) FROM webhook_events"))

    def environment(self) -> Mapping[str, str]:
        """Production's settings, at the stand-in for Stripe."""
        return {
            "APP_ENV": "staging",
            "DATABASE_URL": self.database.url,
            "BROKER_URL": self._bed.redis.url(),
            "REDIS_ENABLED": "true",
            "REDIS_URL": self._bed.redis.url(1),
            "SENTRY_ENABLED": "false",
            "STRIPE_ENABLED": "true",
            "STRIPE_API_BASE": self._bed.gateway_url,
            "LOG_LEVEL": self._log_level,
            "LOG_FORMAT": "json",
            "STATE_DIR": str(self._bed.folder / "state"),
            **_SECRETS,
        }

    def _program(self, name: str, *arguments: str, **more: str) -> Program:
        environment = {**self.environment(), **more}
        return Program(name, [sys.executable, "-m", *arguments], environment, self._bed.folder)


_SECRETS = {
    "STRIPE_SECRET_KEY": "sk_test_benchmark",
    "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    "SECRET_KEY": "signs-nothing-but-benchmarks-0123456789",
    "BOOTSTRAP_API_KEY": API_KEY,
}
_OFF = {"BROKER_URL": "redis://127.0.0.1:1/0", "REDIS_ENABLED": "false", "SENTRY_ENABLED": "false"}
