"""A peer as a side of a comparison."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import LiteralString

from benchmarks.bed import Bed
from benchmarks.peers import rows
from benchmarks.postgres import Database
from benchmarks.processes import Program, free_port, listens, run
from benchmarks.side import AMOUNT, Kind, Web
from benchmarks.wire import WEBHOOK_SECRET, Target

_LEFT = {
    "checkouts": "SELECT count(*) FROM orders WHERE status = 'pending'",
    "webhooks": "SELECT count(*) FROM orders WHERE status = 'awaiting_payment'",
}
_FINISHED = {
    "checkouts": "SELECT order_id, extract(epoch FROM created_at) FROM payments WHERE order_id = ANY(%s)",
    "webhooks": "SELECT order_id, extract(epoch FROM posted_at) FROM ledger WHERE order_id = ANY(%s)",
}


@dataclass(frozen=True)
class WebApp:
    """A web application in front of a peer.

    Args:
        framework: its name in the tables.
        module: of `benchmarks.peers`, with the `app`.
        interface: Granian's name for it, `asgi` or `wsgi`.
    """

    framework: str
    module: str
    interface: str


@dataclass(frozen=True)
class Peer:
    """A job queue as it is run here.

    Args:
        module: of `benchmarks.peers`, which enqueues its jobs.
        packages: what must be installed.
        worker: program and arguments of one worker command.
        commands: how many of them fill two cores.
        connections: database connections of each of its processes.
        webs: web applications that enqueue into it.
    """

    name: str
    why: str
    module: str
    packages: tuple[str, ...]
    worker: tuple[str, ...]
    commands: int = 1
    connections: int = 20
    webs: tuple[WebApp, ...] = ()


class PeerSide:
    """A peer on a database and a Redis.

    Args:
        body: `bare` or `sdk`, see `benchmarks.peers.environment`.
        app: the web application in front of it, where one is measured.
    """

    def __init__(self, peer: Peer, bed: Bed, database: Database, body: str = "bare", app: WebApp | None = None) -> None:
        self.peer = peer
        self._app = app
        self.database = database
        self.body = body
        self._bed = bed
        self._numbers = count(1)

    @property
    def name(self) -> str:
        """With its web framework, and with the SDK where it is not the bare job."""
        if self._app is not None:
            return f"{self._app.framework} + {self.peer.name}"
        return self.peer.name if self.body == "bare" else f"{self.peer.name}, SDK"

    @property
    def why(self) -> str:
        """Its configuration."""
        return self.peer.why

    @staticmethod
    def prepare(database: Database) -> None:
        """Make the tables that all peers share."""
        database.script(rows.SCHEMA)
        with suppress(ImportError):
            from procrastinate.schema import SchemaManager

            database.script(SchemaManager.get_schema())

    def empty(self) -> None:
        """Remove rows and messages."""
        self.database.empty()
        self._bed.redis.empty()

    def open_orders(self, count: int) -> list[Target]:
        """Pending orders."""
        targets = self._targets(count)
        self._insert_orders(targets, "pending")
        return targets

    def open_payments(self, count: int) -> list[Target]:
        """Orders with a PaymentIntent."""
        targets = self._targets(count)
        self._insert_orders(targets, "awaiting_payment")
        columns: LiteralString = "order_id, intent_id, client_secret, amount, created_at"
        with self.database.copy(f"COPY payments ({columns}) FROM STDIN") as to:
            for one in targets:
                to.write_row((one["order_id"], one["intent_id"], "secret", AMOUNT, "now"))
        return targets

    def workers(self, processes: int | None = None) -> list[Program]:
        """Start its workers."""
        return [
            Program(f"{self.peer.module}-{number}", self._command(number), self._told(), self._bed.folder)
            for number in range(processes or self.peer.commands)
        ]

    def web(self) -> Web:
        """Granian with an event loop or threads: the fastest server for either kind of application here."""
        app = self._app
        if app is None:
            raise LookupError(f"{self.name} has no web side")
        port = free_port()
        command = [
            sys.executable, "-m", "granian", "--interface", app.interface, "--host", "127.0.0.1", "--port", str(port),
            "--no-ws", "--log-level", "warning", "--workers", "2",
            *(["--loop", "uvloop"] if app.interface == "asgi" else ["--blocking-threads", "32"]),
            f"benchmarks.peers.{app.module}:app",
        ]  # fmt: skip
        program = Program(f"web-{self.peer.module}", command, self._told(), self._bed.folder)
        program.wait_for(lambda: listens(port), 30)
        return Web(program, port)

    def accept(self, targets: list[Target], rate: float | None = None) -> dict[str, float]:
        """Enqueue the checkouts of orders that are there."""
        plan = {"task": "charge", "ids": [one["order_id"] for one in targets], "rate": rate}
        command = [sys.executable, "-m", "benchmarks.peers.enqueue", self.peer.module]
        sent: dict[str, float] = json.loads(run(command, self._told(), json.dumps(plan)))
        return sent

    def unfinished(self, kind: Kind) -> int:
        """Orders that did not get there yet."""
        return int(self.database.one(_LEFT[kind]))

    def finished(self, kind: Kind, targets: list[Target]) -> dict[str, float]:
        """When each order got there."""
        found = self.database.rows(_FINISHED[kind], ([one["order_id"] for one in targets],))
        return {order_id: float(at) for order_id, at in found}

    def events(self) -> int:
        """Events stored."""
        return int(self.database.one("SELECT count(*) FROM events"))

    def _targets(self, count: int) -> list[Target]:
        return [
            Target(order_id=f"order-{number:08d}", payment_id=f"payment-{number:08d}",
                   intent_id=f"pi_own{number:020d}", amount=AMOUNT)
            for number in (next(self._numbers) for _ in range(count))
        ]  # fmt: skip

    def _insert_orders(self, targets: list[Target], status: str) -> None:
        with self.database.copy("COPY orders (id, customer, total, currency, status) FROM STDIN") as to:
            for one in targets:
                to.write_row((one["order_id"], "cus_bench", AMOUNT, "usd", status))

    def _command(self, number: int) -> list[str]:
        program, *arguments = self.peer.worker
        given = {"{number}": str(number), "{redis}": self._bed.redis.url()}
        return [str(Path(sys.executable).with_name(program)), *[_filled_in(one, given) for one in arguments]]

    def _told(self) -> Mapping[str, str]:
        return {
            "BENCH_DATABASE": self.database.url,
            "BENCH_REDIS": self._bed.redis.url(),
            "BENCH_GATEWAY": self._bed.gateway_url,
            "BENCH_BODY": self.body,
            "BENCH_CONNECTIONS": str(self.peer.connections),
            "BENCH_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "BENCH_QUEUE": self.peer.module,
        }


def _filled_in(argument: str, given: Mapping[str, str]) -> str:
    for name, value in given.items():
        argument = argument.replace(name, value)
    return argument
