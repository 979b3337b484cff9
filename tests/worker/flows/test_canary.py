"""The canary, and what it tidies up."""

from __future__ import annotations

from sqlalchemy import update

from core.database import now_plus, reading, transaction
from core.domain import jobs
from core.domain.jobs import Request
from tests.worker.shop import Shop
from worker.flows.canary import KEEP_SECONDS


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
