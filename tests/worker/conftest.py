"""A shop on a real database, and Stripe's stand-in over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.payments import stripe_http
from simulator.program import Simulator
from simulator.settings import SimulatorSettings
from tests.worker.crashes import KillAt, killing
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe

SECRET_KEY = "sk_test_worker"


@pytest.fixture
def stripe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stripe]:
    """The simulator, and the settings that lead the payment facade to it."""
    settings = SimulatorSettings(state_dir=tmp_path / "stripe", port=0, secret_key=SECRET_KEY, settle_seconds=3600.0)
    with Simulator(settings) as simulator:
        monkeypatch.setenv("STRIPE_ENABLED", "true")
        monkeypatch.setenv("STRIPE_SECRET_KEY", SECRET_KEY)
        monkeypatch.setenv("STRIPE_API_BASE", simulator.url)
        yield Stripe(simulator.url, SECRET_KEY)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe has a second to answer. Ask for it before the first call."""
    monkeypatch.setattr(stripe_http, "READ_SECONDS", 1.0)


@pytest.fixture
def shop(database_url: str) -> Shop:
    """A shop with an empty database and a worker of its own."""
    return Shop()


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> KillAt:
    """Arms a crash point."""
    return killing(monkeypatch)
