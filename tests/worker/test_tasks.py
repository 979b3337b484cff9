"""The Celery tasks: one per kind of job, and two that are no jobs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from core.domain import jobs
from tests.worker.broker import Broker, celery_app
from tests.worker.shop import Shop
from worker import runner, schedule, tasks
from worker import sweep as sweep_module
from worker.app import app
from worker.flows import FLOWS

ROOT = Path(__file__).resolve().parents[2]
CELERY_ONLY = {"maintenance.sweep", "maintenance.tick"}


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Where the sweep and the ticks hint."""
    embedded = celery_app(monkeypatch, "filesystem://")
    monkeypatch.setattr(sweep_module, "app", embedded)
    return Broker(embedded)


def registered() -> set[str]:
    return {name for name in app.tasks if not name.startswith("celery.")}


def test_what_the_web_may_enqueue_is_what_the_worker_knows() -> None:
    assert jobs.KINDS.keys() == FLOWS.keys() == registered() - CELERY_ONLY
    assert registered() > CELERY_ONLY
    assert schedule.PERIODS.keys() < jobs.KINDS.keys()


def test_a_task_works_off_the_ids_of_its_message(shop: Shop) -> None:
    runner.configure(2)
    ids = [shop.enqueue(jobs.CANARY).job_id for _ in range(3)]
    app.tasks["maintenance.canary"](ids)
    assert {shop.job(job_id).status for job_id in ids} == {jobs.SUCCEEDED}


def test_a_message_of_one_kind_leaves_the_jobs_of_another_queued(shop: Shop) -> None:
    runner.configure(2)
    accepted = shop.enqueue(jobs.CANARY)
    app.tasks["statistics.recompute"]([accepted.job_id])
    assert shop.job(accepted.job_id).status == jobs.QUEUED


def test_the_sweep_and_the_tick_do_what_they_are_named_for(shop: Shop, broker: Broker) -> None:
    accepted = shop.enqueue(jobs.CANARY)
    shop.make_due()
    tasks.sweep_task()
    assert broker.hinted() == [accepted.job_id]
    tasks.tick_task(jobs.RECONCILE_EVENTS.name)
    assert len(shop.jobs_of(jobs.RECONCILE_EVENTS)) == 1


def test_a_database_that_is_away_is_a_warning_and_not_a_failed_task(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:////no/such.db")
    tasks.sweep_task()
    tasks.tick_task(jobs.CANARY.name)
    assert "no sweep" in caplog.text
    assert "no tick" in caplog.text


def test_every_crash_point_of_the_worker_is_the_subject_of_a_test() -> None:
    """A durable effect that nobody dies after is a promise that nobody has checked."""
    named = {
        str(node.args[0].value)
        for file in (ROOT / "worker").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crash_point"
        if isinstance(node.args[0], ast.Constant)
    }
    tested = "".join(file.read_text() for file in (ROOT / "tests/worker").rglob("test_*.py"))
    assert named
    assert [name for name in sorted(named) if f'"{name}"' not in tested] == []
