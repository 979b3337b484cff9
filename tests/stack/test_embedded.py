"""What the embedded stack consists of, and what its programs are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import settings
from core.domain import jobs
from stack import embedded, welcome
from stack.program import Program


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    for name, value in embedded.simulated({"STATE_DIR": str(tmp_path), "SIMULATOR_PORT": "12999"}).items():
        monkeypatch.setenv(name, value)
    return settings.load()


def test_stripe_is_on_against_the_simulator() -> None:
    told = embedded.simulated({"SIMULATOR_PORT": "12999"})
    assert told["STRIPE_ENABLED"] == "true"
    assert told["STRIPE_API_BASE"] == "http://127.0.0.1:12999"
    assert embedded.simulated({})["STRIPE_API_BASE"] == "http://127.0.0.1:12111"


@pytest.mark.parametrize("own", [{"STRIPE_ENABLED": "false"}, {"STRIPE_SECRET_KEY": "sk_test_mine"}])
def test_own_stripe_settings_are_left_as_they_are(own: dict[str, str]) -> None:
    assert embedded.simulated(own) == own


def test_the_simulator_runs_only_when_it_is_used(found: settings.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(now: settings.Settings) -> list[list[str]]:
        return [[program.name for program in stage] for stage in embedded.stages(now, {})]

    assert names(found) == [["beat", "flower", "web"], ["worker", "reconcile", "maintenance"], ["simulator"]]
    monkeypatch.setenv("STRIPE_API_BASE", "https://stripe.example")
    assert names(settings.load()) == [["beat", "flower", "web"], ["worker", "reconcile", "maintenance"]]
    assert [name for name, _, _ in embedded.listeners(settings.load())] == ["PORT", "FLOWER_PORT"]


def test_every_queue_has_one_worker_and_sweep_and_reconciliation_share_theirs_with_no_other(
    found: settings.Settings,
) -> None:
    _, workers, _ = embedded.stages(found, {})
    queues = {one.name: one.command[one.command.index("-Q") + 1].split(",") for one in workers}
    assert queues["maintenance"] == ["maintenance"]
    assert queues["reconcile"] == ["reconcile"]
    served = [queue for queues_of_one in queues.values() for queue in queues_of_one]
    assert sorted(served) == sorted({kind.queue for kind in jobs.KINDS.values()})


def test_only_reconciliation_is_started_when_the_others_are_ready(found: settings.Settings) -> None:
    later = [program.name for stage in embedded.stages(found, {}) for program in stage if program.later]
    assert later == ["reconcile"]


def test_webhooks_go_to_the_port_of_the_web(found: settings.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8123")
    assert embedded.told({}, settings.load())["SIMULATOR_WEBHOOK_URL"] == "http://127.0.0.1:8123/webhooks/stripe"
    elsewhere = {"SIMULATOR_WEBHOOK_URL": "http://127.0.0.1:9/"}
    assert embedded.told(elsewhere, found)["SIMULATOR_WEBHOOK_URL"] == "http://127.0.0.1:9/"


def test_all_programs_share_the_secrets_that_dev_made(found: settings.Settings) -> None:
    told = embedded.told({"PATH": "/bin"}, found)
    assert told["PATH"] == "/bin"
    assert told["STRIPE_WEBHOOK_SECRET"] == settings.dev_secret("STRIPE_WEBHOOK_SECRET")
    assert told["BOOTSTRAP_API_KEY"] == settings.dev_secret("BOOTSTRAP_API_KEY")


def test_the_welcome_shows_every_address_and_a_call_with_the_key(found: settings.Settings) -> None:
    text = "\n".join(welcome.lines(found))
    for shown in ("http://127.0.0.1:8000", "http://127.0.0.1:12999", "http://127.0.0.1:5555", "curl -s"):
        assert shown in text
    assert f"Bearer {settings.dev_secret('BOOTSTRAP_API_KEY')}" in text


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000"), ("box", "http://box:8000")],
)
def test_the_address_shown_is_one_that_this_machine_reaches(
    found: settings.Settings, monkeypatch: pytest.MonkeyPatch, host: str, url: str
) -> None:
    monkeypatch.setenv("HOST", host)
    assert embedded.web_url(settings.load()) == url


def test_flowers_api_is_open_in_dev_only_and_to_this_machine_only(found: settings.Settings) -> None:
    def flower(now: settings.Settings, **said: str) -> Program:
        return next(one for stage in embedded.stages(now, said) for one in stage if one.name == "flower")

    name = "FLOWER_UNAUTHENTICATED_API"
    assert flower(found).environment[name] == "true"
    assert "--address=127.0.0.1" in flower(found).command
    assert flower(found, **{name: "false"}).environment[name] == "false"
    assert name not in flower(found.model_copy(update={"app_env": "staging"})).environment
    assert name not in (Path(__file__).parents[2] / "docker-compose.yml").read_text()
