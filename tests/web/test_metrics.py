from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from core import database
from core.database import now_plus, transaction
from core.domain import pauses
from tests import databases
from tests.web.shop import NOWHERE, Shop

ROOT = Path(__file__).resolve().parents[2]


def scrape(shop: Shop) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = shop.client.get("/metrics")
    assert response.status_code == 200
    assert response.mimetype == "text/plain"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def labels(**values: str) -> frozenset[tuple[str, str]]:
    return frozenset(values.items())


def test_requests_are_counted_by_route_and_not_by_path(shop: Shop) -> None:
    route = labels(method="GET", route="/orders/<order_id>", status="404")
    before = scrape(shop).get(("counterfoil_http_requests_total", route), 0)

    shop.get(f"/orders/{NOWHERE}")
    shop.get(f"/nothing/{NOWHERE}")
    shop.client.open("/orders", method="INVENTED")

    after = scrape(shop)
    assert after["counterfoil_http_requests_total", route] == before + 1
    assert NOWHERE not in str(after)
    assert "INVENTED" not in str(after)
    assert after["counterfoil_http_request_seconds_count", labels(method="GET", route="/orders/<order_id>")] > 0


def test_accepted_jobs_and_what_waits_are_counted(shop: Shop) -> None:
    kind = labels(kind="payments.create")
    before = scrape(shop).get(("counterfoil_jobs_accepted_total", kind), 0)

    path = f"/orders/{shop.order()['id']}/checkout"
    shop.post(path, Idempotency_Key="k")
    shop.post(path, Idempotency_Key="k")

    after = scrape(shop)
    assert after["counterfoil_jobs_accepted_total", kind] == before + 1
    assert after["counterfoil_jobs", labels(status="queued")] == 1
    assert after["counterfoil_jobs", labels(status="quarantined")] == 0
    assert after["counterfoil_oldest_due_job_seconds", labels()] >= 0
    assert after["counterfoil_oldest_open_job_seconds", kind] >= 0
    assert after["counterfoil_database_up", labels()] == 1


def test_a_pause_is_a_gauge_that_falls_back_to_nothing(shop: Shop) -> None:
    stripe = ("counterfoil_paused_seconds", labels(name="stripe"))
    assert scrape(shop)[stripe] == 0
    with transaction() as conn:
        pauses.pause(conn, pauses.STRIPE, 30.0, "slow down", widen=True)
        pauses.pause(conn, "refunds.create", 30.0, "no", widen=False)
        pauses.pause(conn, pauses.of_key("0a1b2c3d"), 30.0, "no", widen=False)
        conn.execute(update(pauses.pauses).values(since=now_plus(-100)))
    shown = scrape(shop)
    assert shown[stripe] >= 100
    for name in ("refunds.create", "stripe:0a1b2c3d"):
        assert shown["counterfoil_paused_seconds", labels(name=name)] >= 100
    with transaction() as conn:
        conn.execute(update(pauses.pauses).values(until=now_plus(-pauses.FIRST_SPREAD - 1)))
    assert scrape(shop)[stripe] == 0


def test_a_database_that_is_away_leaves_the_rest(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")

    after = scrape(shop)

    assert after["counterfoil_database_up", labels()] == 0
    assert not [name for name, _ in after if name == "counterfoil_jobs"]
    database.dispose()


def test_several_processes_are_shown_as_one(tmp_path: Path, sqlite_template: Path) -> None:
    code = "from web import metrics; metrics.HINTS_DROPPED.inc(); print(metrics.exposition().decode())"
    shared = tmp_path / "metrics"
    shared.mkdir()
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(shared),
        "DATABASE_URL": databases.sqlite_copy(sqlite_template, tmp_path),
    }

    shown = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]

    assert "counterfoil_hints_dropped_total 1.0" in shown[0].stdout
    assert "counterfoil_hints_dropped_total 2.0" in shown[1].stdout
