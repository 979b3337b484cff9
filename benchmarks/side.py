"""What every side of a comparison can do, the product like its peers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from benchmarks.postgres import Database
from benchmarks.processes import Program
from benchmarks.wire import Target

Kind = Literal["checkouts", "webhooks"]
AMOUNT = 1050


@dataclass(frozen=True)
class Web:
    """A running web program."""

    program: Program
    port: int


class Side(Protocol):
    """One side: its own database, its share of the common broker, its programs."""

    @property
    def name(self) -> str:
        """How the table calls it."""

    @property
    def why(self) -> str:
        """Its configuration and why it is the best sensible one, in a line."""

    @property
    def database(self) -> Database:
        """Its own database."""

    def empty(self) -> None:
        """Forget all that earlier measurements left."""

    def open_orders(self, count: int) -> list[Target]:
        """Orders that nobody has checked out."""

    def open_payments(self, count: int) -> list[Target]:
        """Orders that wait for Stripe's word that they are paid."""

    def workers(self, processes: int | None = None) -> list[Program]:
        """Start its workers: as many processes as suit two cores, or so many."""

    def web(self) -> Web:
        """Start its web program and wait until it listens."""

    def accept(self, targets: list[Target], rate: float | None = None) -> dict[str, float]:
        """Accept checkouts without HTTP; returns at which Unix time each order's was handed over."""

    def unfinished(self, kind: Kind) -> int:
        """Accepted jobs that have not ended."""

    def finished(self, kind: Kind, targets: list[Target]) -> dict[str, float]:
        """Unix time by order of those that ended well, on the database's clock."""

    def events(self) -> int:
        """Webhook events stored."""
