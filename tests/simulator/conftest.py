"""A simulator on a free port, and Stripe's own SDK pointed at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stripe

from simulator import Simulator, SimulatorSettings
from tests.simulator.receiver import SECRET, Receiver
from tests.simulator.wire import KEY, Wire

Pay = Callable[..., stripe.PaymentIntent]


@pytest.fixture(autouse=True)
def _no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe, "enable_telemetry", False)


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """One without webhooks; what happens some time later waits for the clock."""
    with Simulator(SimulatorSettings(tmp_path, port=0, settle_seconds=3600)) as running:
        yield running


@pytest.fixture
def wire(simulator: Simulator) -> Iterator[Wire]:
    """Raw HTTP to it."""
    raw = Wire(simulator.url)
    yield raw
    raw.close()


@pytest.fixture
def client(simulator: Simulator) -> stripe.StripeClient:
    """The SDK, pointed at it."""
    return client_of(simulator)


@pytest.fixture
def pay(client: stripe.StripeClient) -> Pay:
    """Make a PaymentIntent and confirm it with a test payment method."""

    def make(method: str = "pm_card_visa", amount: int = 1000, currency: str = "usd") -> stripe.PaymentIntent:
        return client.v1.payment_intents.create(
            {"amount": amount, "currency": currency, "payment_method": method, "confirm": True}
        )

    return make


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook receiver."""
    with Receiver() as running:
        yield running


@pytest.fixture
def hooked(tmp_path: Path, receiver: Receiver) -> Iterator[Simulator]:
    """A simulator that sends its webhooks to the receiver."""
    with Simulator(hooked_settings(tmp_path, receiver)) as running:
        yield running


def hooked_settings(directory: Path, receiver: Receiver) -> SimulatorSettings:
    """Settings of a simulator that sends webhooks and is quick about it."""
    return SimulatorSettings(
        directory, port=0, webhook_url=receiver.url, webhook_secret=SECRET, settle_seconds=0.05, retry_seconds=0.02
    )


def client_of(simulator: Simulator) -> stripe.StripeClient:
    """Stripe's SDK pointed at a simulator; it tries each request once."""
    return stripe.StripeClient(KEY, base_addresses={"api": simulator.url})
