"""What the container files promise. They are read as text: the project needs no YAML parser, and tests no Docker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.domain import jobs
from core.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES = dict(
    re.findall(r"^  ([a-z-]+):\n((?:    .*\n|\n)+)", COMPOSE.partition("\nservices:\n")[2], flags=re.MULTILINE)
)


def test_every_service_is_there() -> None:
    programs = {"web", "worker", "worker-statistics", "worker-reconcile", "maintenance", "beat", "flower", "migrate"}
    assert SERVICES.keys() == programs | {"postgres", "redis"}


def test_every_queue_has_one_service_and_sweep_and_reconciliation_share_theirs_with_no_other() -> None:
    queues = {
        name: found[1].split(",") for name, text in SERVICES.items() if (found := re.search(r'"-Q", "(.+?)"', text))
    }
    assert queues["maintenance"] == ["maintenance"]
    assert queues["worker-reconcile"] == ["reconcile"]
    served = [queue for queues_of_one in queues.values() for queue in queues_of_one]
    assert sorted(served) == sorted({kind.queue for kind in jobs.KINDS.values()})


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"migrate"}))
def test_a_service_that_stays_up_says_how_it_is(name: str) -> None:
    assert "healthcheck:" in SERVICES[name]


def test_every_image_is_pinned_to_a_version() -> None:
    images = re.findall(r"^\s+image: (\S+)|^FROM (\S+)", COMPOSE + DOCKERFILE, flags=re.MULTILINE)
    named = ["".join(image) for image in images]
    assert len(named) == 5
    assert [image for image in named if not re.search(r":\d+\.\d+", image)] == []


def test_ports_are_published_on_the_loopback_interface_only() -> None:
    published = re.findall(r'ports: \["([^"]+)"\]', COMPOSE)
    assert len(published) == COMPOSE.count("ports:") == 2
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_secrets_are_asked_for_and_never_written_down() -> None:
    names = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "SECRET_KEY")
    for name in (*names, "FLOWER_BASIC_AUTH"):
        assert f"${{{name}:?" in COMPOSE, f"{name} must stop the start when it is missing"
    assert re.findall(r"(?:PASSWORD|SECRET\w*|_KEY|AUTH): (?!\$\{)\S+", COMPOSE) == []


def test_every_setting_in_the_compose_file_is_one_that_is_read() -> None:
    block = COMPOSE.partition("environment: &environment\n")[2].partition("  depends_on:")[0]
    given = set(re.findall(r"^    ([A-Z_]+):", block, flags=re.MULTILINE))
    known = {field.alias or name.upper() for name, field in Settings.model_fields.items()}
    assert given
    assert given <= known


def test_the_image_runs_as_somebody_without_rights() -> None:
    assert re.findall(r"^USER (\S+)", DOCKERFILE, flags=re.MULTILINE) == ["counterfoil"]
    assert "no-new-privileges:true" in COMPOSE
    assert "cap_drop: [ALL]" in COMPOSE
