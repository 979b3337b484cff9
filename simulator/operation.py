"""One effect under way: the open transaction and who asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.faults import FaultPlan
from simulator.settings import API_VERSION, SimulatorSettings
from simulator.store import Transaction


@dataclass
class Operation:
    """What an endpoint needs beside its parameters.

    Attributes:
        tx: the transaction that holds the whole effect.
        time: simulator clock, Unix seconds.
        request_id: the API request that caused it; None when Stripe itself did.
        publishable: asked with a publishable key, as Stripe.js does.
        deliveries: ids of webhooks due now, filled by the events.
        early: the ones to be delivered before the answer is returned.
    """

    tx: Transaction
    time: float
    settings: SimulatorSettings
    faults: FaultPlan
    base_url: str = ""
    request_id: str | None = None
    idempotency_key: str | None = None
    publishable: bool = False
    version: str = API_VERSION
    deliveries: list[int] = field(default_factory=list)
    early: list[int] = field(default_factory=list)

    @property
    def now(self) -> int:
        """The clock in whole seconds, as objects carry it."""
        return int(self.time)

    def later(self, action: str, object_id: str) -> None:
        """Have `action` happen to the object after the settle delay."""
        self.tx.later(self.time + self.settings.settle_seconds, action, object_id)
