"""Each block runs with all services off, and with all of them on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from core import caching, get_logger, payment
from simulator import Simulator, SimulatorSettings
from tests.core.payments import customer
from tests.core.payments.conftest import point_at
from tests.core.private_redis import PrivateRedis
from tests.core.sentry_sink import Sink, switched_on
from tests.seed.shop import Order, open_shop


@dataclass
class Services:
    """What is switched on."""

    sink: Sink | None = None
    simulator: Simulator | None = None

    @property
    def on(self) -> bool:
        """Whether they are."""
        return self.simulator is not None


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    """One Redis for all blocks."""
    server = PrivateRedis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(params=["off", "on"])
def services(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Services]:
    """All off, or Redis, Stripe (the simulator) and Sentry (a sink) on."""
    get_logger("seed")
    if request.param == "off":
        for name in ("REDIS_ENABLED", "SENTRY_ENABLED", "STRIPE_ENABLED"):
            monkeypatch.setenv(name, "false")
        yield Services()
        return
    server: PrivateRedis = request.getfixturevalue("redis_server")
    monkeypatch.setenv("REDIS_ENABLED", "true")
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setattr(caching, "_leave_alone_until", 0.0)
    server.empty()
    with ExitStack() as stack:
        sink = stack.enter_context(switched_on(monkeypatch))
        simulator = stack.enter_context(Simulator(SimulatorSettings(tmp_path, port=0, settle_seconds=3600)))
        point_at(simulator.url, monkeypatch)
        yield Services(sink, simulator)


@pytest.fixture
def db(services: Services) -> Iterator[Session]:
    """The shop's database; order 7 was paid."""
    with open_shop() as session:
        order = session.get_one(Order, 7)
        intent = payment.create_payment_intent(order.total, metadata={"order_id": "7"})
        if services.simulator:
            customer.pay(services.simulator, intent["id"])
        order.payment_intent_id = intent["id"]
        session.commit()
        yield session
