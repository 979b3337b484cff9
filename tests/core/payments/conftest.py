"""Stripe off, Stripe's stand-in, and a server that misbehaves on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.payments import stripe_door
from simulator import Simulator, SimulatorSettings
from tests.core.payments.stub import Stub, answer

KEY = "sk_test_0123456789"


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch Stripe on, at that address, with connections of the test's own."""
    monkeypatch.setenv("STRIPE_ENABLED", "true")
    monkeypatch.setenv("STRIPE_SECRET_KEY", KEY)
    monkeypatch.setenv("STRIPE_API_BASE", url)
    monkeypatch.setattr(stripe_door, "_door", None)


@pytest.fixture
def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """Stripe is on and means the simulator; what happens some time later waits for the clock."""
    with Simulator(SimulatorSettings(tmp_path, port=0, settle_seconds=3600)) as running:
        point_at(running.url, monkeypatch)
        yield running


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """Stripe is on and means the stub."""
    with Stub(answer()) as running:
        point_at(running.url, monkeypatch)
        yield running


@pytest.fixture(params=["disabled", "simulator"])
def mode(request: pytest.FixtureRequest) -> str:
    """The test runs once with Stripe off and once against the simulator."""
    if request.param == "simulator":
        request.getfixturevalue("simulator")
    return str(request.param)
