"""The canary, and what it tidies up."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from core import monitor
from core.database import now_plus, reading, transaction
from core.domain import jobs
from core.domain.jobs import Request
from tests.worker.shop import Shop
from worker.flows.canary import KEEP_SECONDS, RAISED_PER_RUN


def scheduled(shop: Shop, key: str) -> str:
    with transaction() as conn:
        return jobs.enqueue(conn, jobs.CANARY, {}, request=Request(scope=jobs.SCHEDULE, key=key)).job_id


def test_a_canary_that_comes_through_is_the_newest_sign_of_life(shop: Shop) -> None:
    with reading() as conn:
        assert jobs.last_canary(conn) is None
    [job] = shop.work(shop.enqueue(jobs.CANARY))
    with reading() as conn:
        assert jobs.last_canary(conn) == job.finished_at


def test_it_forgets_the_schedules_old_jobs_and_nobody_elses(shop: Shop) -> None:
    old, asked_for = scheduled(shop, "old"), shop.enqueue(jobs.CANARY).job_id
    shop.work_off()
    with transaction() as conn:
        conn.execute(update(jobs.jobs).values(created_at=now_plus(-KEEP_SECONDS - 60)))
    fresh = scheduled(shop, "fresh")
    shop.work_off()
    with reading() as conn:
        assert [jobs.find(conn, job_id) is not None for job_id in (old, asked_for, fresh)] == [False, True, True]


def aged(shop: Shop, job_id: str, hours: float, detail: str | None = None) -> None:
    with transaction() as conn:
        values = {"created_at": now_plus(-3600 * hours), "run_at": now_plus(3600), "detail": detail}
        conn.execute(update(jobs.jobs).where(jobs.jobs.c.id == job_id).values(**values))


def raised(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.job_id for record in caplog.records if record.levelname == "ERROR" and hasattr(record, "job_id")]
    caplog.clear()
    return found


def test_a_job_that_is_open_for_an_hour_is_raised_once_an_hour(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured: list[str] = []
    monkeypatch.setattr(monitor, "capture_exception", lambda error, context: captured.append(str(error)))
    old, older, young = (shop.enqueue(jobs.WEBHOOK_PROCESS, event_id="evt_1").job_id for _ in range(3))
    aged(shop, old, 1.1)
    aged(shop, older, 30, "Stripe does not accept our API key for this (401)")
    aged(shop, young, 0.9)
    shop.work(shop.enqueue(jobs.CANARY))
    assert raised(caplog) == [older, old]
    assert captured == [
        "webhooks.process: Stripe does not accept our API key for this (401)",
        "webhooks.process: never begun",
    ]
    shop.work(shop.enqueue(jobs.CANARY))
    assert raised(caplog) == []
    with transaction() as conn:
        conn.execute(update(jobs.jobs).where(jobs.jobs.c.id == old).values(raised_at=now_plus(-3601)))
    shop.work(shop.enqueue(jobs.CANARY))
    assert raised(caplog) == [old]


def test_an_outage_raises_the_oldest_and_not_thousands(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(RAISED_PER_RUN + 5):
        aged(shop, shop.enqueue(jobs.WEBHOOK_PROCESS, event_id="evt_1").job_id, 2 + number)
    shop.work(shop.enqueue(jobs.CANARY))
    assert len(raised(caplog)) == RAISED_PER_RUN
    shop.work(shop.enqueue(jobs.CANARY))
    assert len(raised(caplog)) == 5
