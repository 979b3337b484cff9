"""A tick inserts the job of its period once, however many beats tick."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from core.database import DatabaseUnavailable, reading, transaction
from core.domain import jobs
from tests.core.domain.clocks import DatabaseClock
from tests.core.domain.racing import race
from tests.worker.broker import Broker, celery_app
from tests.worker.crashes import KillAt, Killed
from tests.worker.shop import Shop
from tests.worker.waiting import eventually
from worker import sweep as sweep_module
from worker.schedule import PERIODS, tick

CANARY = jobs.CANARY.name


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Where ticks hint at their jobs."""
    app = celery_app(monkeypatch, "filesystem://")
    monkeypatch.setattr(sweep_module, "app", app)
    return Broker(app)


@pytest.fixture
def clock(database_url: str) -> DatabaseClock:
    """The database's clock, at the start of a period of every task."""
    moved = DatabaseClock(database_url)
    longest = max(PERIODS.values())
    moved.forward(longest - moved.now().timestamp() % longest + 1)
    return moved


@pytest.mark.parametrize("name", PERIODS)
def test_a_tick_inserts_and_hints_the_job_of_its_period_once(
    shop: Shop, broker: Broker, clock: DatabaseClock, name: str
) -> None:
    assert [tick(name), tick(name)] == [True, False]
    [job] = shop.jobs_of(jobs.KINDS[name])
    assert broker.messages() == [(job.queue, name, [job.id])]
    assert (job.account_id, job.args) == (jobs.SYSTEM, {})


def test_beats_that_tick_at_the_same_time_make_one_job(shop: Shop, broker: Broker, clock: DatabaseClock) -> None:
    assert sum(race(6, lambda _: tick(CANARY))) == 1
    assert len(shop.jobs_of(jobs.CANARY)) == 1
    assert len(broker.hinted()) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_beat_that_meets_another_ones_commit_makes_nothing(shop: Shop, broker: Broker, clock: DatabaseClock) -> None:
    period = int(shop.clock().timestamp()) // PERIODS[CANARY]
    mine = jobs.Request(scope=jobs.SCHEDULE, key=f"{CANARY}:{period}")
    with ThreadPoolExecutor(1) as threads:
        with transaction() as conn:
            jobs.enqueue(conn, jobs.CANARY, {}, request=mine)
            second = threads.submit(tick, CANARY)
            eventually(waits_for_a_lock, "the second beat waits for our commit")
        assert not second.result(30)
    assert len(shop.jobs_of(jobs.CANARY)) == 1


def waits_for_a_lock() -> bool:
    with reading() as conn:
        return bool(conn.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar_one())


def test_the_next_period_has_a_job_of_its_own_once_the_last_is_done(
    shop: Shop, broker: Broker, clock: DatabaseClock
) -> None:
    tick(CANARY)
    shop.work_off()
    assert not tick(CANARY)
    clock.forward(PERIODS[CANARY])
    assert tick(CANARY)
    assert len(shop.jobs_of(jobs.CANARY)) == 2


@pytest.mark.parametrize("status", [jobs.QUEUED, jobs.RUNNING])
def test_while_one_waits_or_runs_none_are_piled_up(
    shop: Shop, broker: Broker, clock: DatabaseClock, status: str
) -> None:
    tick(CANARY)
    if status == jobs.RUNNING:
        with transaction() as conn:
            conn.execute(update(jobs.jobs).values(status=status, lease_token=shop.jobs_of(jobs.CANARY)[0].id))
    for _ in range(3):
        clock.forward(PERIODS[CANARY])
        assert not tick(CANARY)
    assert len(shop.jobs_of(jobs.CANARY)) == 1


def test_what_somebody_asked_for_by_hand_does_not_hold_the_schedule_up(
    shop: Shop, broker: Broker, clock: DatabaseClock
) -> None:
    shop.enqueue(jobs.STATISTICS_RECOMPUTE, account_id="default")
    assert tick(jobs.STATISTICS_RECOMPUTE.name)


@pytest.mark.parametrize("point", ["schedule.inserted", "schedule.hinted"])
def test_a_winner_that_dies_around_its_hint_leaves_an_ordinary_job(
    shop: Shop, broker: Broker, clock: DatabaseClock, kill_at: KillAt, point: str
) -> None:
    kill_at(point)
    with pytest.raises(Killed):
        tick(CANARY)
    assert not tick(CANARY)
    shop.make_due()
    sweep_module.sweep()
    assert set(broker.hinted()) == {shop.jobs_of(jobs.CANARY)[0].id}


def test_a_dead_broker_does_not_stop_the_schedule(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sweep_module, "app", celery_app(monkeypatch, "redis://127.0.0.1:1/0"))
    assert tick(CANARY)
    assert "hint not sent" in caplog.text
    assert len(shop.jobs_of(jobs.CANARY)) == 1


def test_a_tick_that_this_version_does_not_know_is_passed_over(
    shop: Shop, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    assert not tick("of.tomorrow")
    assert not tick(jobs.PAYMENT_CREATE.name)
    assert "nothing of this name" in caplog.text
    assert shop.queued() == []


def test_a_database_that_is_away_is_told_to_the_caller(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:////no/such.db")
    with pytest.raises(DatabaseUnavailable):
        tick(CANARY)
