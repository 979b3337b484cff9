"""The web application on a real database of either kind, with a broker that only records."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.web.shop import WEBHOOK_SECRET, ContractClient, Recorder, Shop, make_key
from web import auth, factory, hints, waiting
from web.hints import Publisher
from web.process import PerProcess
from web.waiting import Watcher


@pytest.fixture
def hinted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """What was hinted: wait with `hints.publisher().flush()` before looking."""
    recorder = Recorder()
    monkeypatch.setattr(hints, "publisher", PerProcess(lambda: Publisher(recorder)))
    yield recorder
    assert hints.publisher().flush()


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A watcher that looks no more when the test's database goes."""
    own = PerProcess(Watcher)
    monkeypatch.setattr(waiting, "watcher", own)
    yield
    if started := own.peek():
        started.stop()


@pytest.fixture
def app(database_url: str, hinted: Recorder, watcher: None, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The application as it serves."""
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)
    monkeypatch.setenv("SECRET_KEY", "the-secret-key-of-the-tests-0123456789")
    auth.memory.clear()
    built = factory.build()
    built.test_client_class = ContractClient
    return built


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client without a key."""
    return app.test_client()


@pytest.fixture
def shop(client: FlaskClient) -> Shop:
    """The shop `default`, with every scope."""
    return Shop(client, make_key("default"), "default")


@pytest.fixture
def rival(client: FlaskClient) -> Shop:
    """Another account."""
    return Shop(client, make_key("rival"), "rival")
