"""The sweep: it recovers what was lost, twice at once as well, and whatever the broker does."""

from __future__ import annotations

import shutil
import socket
from collections import Counter
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy import update

from core.database import DatabaseUnavailable, transaction
from core.domain import jobs, leases
from core.domain.jobs import JobKind
from tests import servers
from tests.core.domain.racing import race
from tests.core.private_redis import PrivateRedis
from tests.worker.broker import Broker, celery_app
from tests.worker.crashes import KillAt, Killed
from tests.worker.shop import Shop
from worker import sweep as sweep_module
from worker.sweep import IDS_PER_MESSAGE, BrokerUnavailable, send, sweep

NOWHERE = ["redis://127.0.0.1:1/0", "amqp://guest:guest@127.0.0.1:1//"]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """The sweep's broker: the embedded one."""
    return use(monkeypatch, "filesystem://")


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> Broker:
    """Have the sweep publish to the broker at `url`."""
    app: Celery = celery_app(monkeypatch, url)
    monkeypatch.setattr(sweep_module, "app", app)
    return Broker(app)


def due(shop: Shop, count: int, kind: JobKind = jobs.CANARY) -> list[str]:
    """Ids of jobs whose first hint was lost."""
    ids = [shop.enqueue(kind).job_id for _ in range(count)]
    shop.make_due()
    return ids


def claimed(shop: Shop, expired: bool) -> str:
    """A job under a lease."""
    [job_id] = due(shop, 1)
    with transaction() as conn:
        leases.claim(conn, jobs.CANARY.name, [job_id], seconds=-1 if expired else 60)
    return job_id


def tell(redis: PrivateRedis, command: bytes) -> None:
    """Say something to the Redis server itself."""
    with socket.create_connection(("127.0.0.1", redis.port), timeout=5) as link:
        link.sendall(command + b"\r\n")
        assert link.recv(16).startswith(b"+OK")


# -- what it hints


def test_a_job_whose_hint_was_lost_is_hinted_again(shop: Shop, broker: Broker) -> None:
    [job_id] = due(shop, 1, jobs.PAYMENT_CREATE)
    assert sweep() == 1
    assert broker.messages() == [("payments", "payments.create", [job_id])]
    assert (sweep(), broker.messages()) == (0, [])


def test_a_job_that_was_hinted_just_now_or_is_not_due_is_left_alone(shop: Shop, broker: Broker) -> None:
    shop.enqueue(jobs.CANARY)
    assert (sweep(), broker.messages()) == (0, [])


def test_hints_are_grouped_by_kind_and_carry_few_ids_each(shop: Shop, broker: Broker) -> None:
    many, few = due(shop, IDS_PER_MESSAGE + 5), due(shop, 2, jobs.REFUND_CREATE)
    assert sweep() == IDS_PER_MESSAGE + 7
    messages = broker.messages()
    sizes = Counter((queue, task, len(ids)) for queue, task, ids in messages)
    assert sizes == {
        ("maintenance", "maintenance.canary", IDS_PER_MESSAGE): 1,
        ("maintenance", "maintenance.canary", 5): 1,
        ("payments", "refunds.create", 2): 1,
    }
    assert sorted(job_id for _, _, ids in messages for job_id in ids) == sorted(many + few)


def test_flower_is_shown_how_many_and_which(shop: Shop, broker: Broker) -> None:
    first, last = due(shop, 2)
    send("maintenance.canary", "maintenance", [first, last])
    assert broker.shown() == [f"maintenance.canary x2 {first}..{last}"]


def test_a_backlog_larger_than_a_batch_takes_several_sweeps(
    shop: Shop, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "BATCH", 4)
    ids = due(shop, 10)
    assert [sweep(), sweep(), sweep(), sweep()] == [4, 4, 2, 0]
    assert sorted(broker.hinted()) == sorted(ids)


def test_it_spends_no_attempt(shop: Shop, broker: Broker) -> None:
    [job_id] = due(shop, 1)
    for _ in range(3):
        sweep()
        shop.make_due()
    assert shop.job(job_id).attempts == 0
    assert shop.told(job_id) == ["accepted"]


# -- whose lease it takes


def test_the_job_of_a_lost_worker_is_taken_and_hinted(shop: Shop, broker: Broker) -> None:
    lost, held = claimed(shop, expired=True), claimed(shop, expired=False)
    assert sweep() == 1
    assert broker.hinted() == [lost, lost], "one copy may die with its reader"
    assert (shop.job(lost).status, shop.job(held).status) == (jobs.QUEUED, jobs.RUNNING)


def test_a_lost_job_is_hinted_twice_once_and_a_suspect_never(shop: Shop, broker: Broker) -> None:
    lost = claimed(shop, expired=True)
    assert (sweep(), broker.hinted()) == (1, [lost, lost])
    shop.make_due()
    assert (sweep(), broker.hinted()) == (1, [lost])
    with transaction() as conn:
        leases.claim(conn, jobs.CANARY.name, [lost], seconds=-1)
    assert (sweep(), broker.hinted()) == (1, [lost]), "a copy would have two processes emptied for it"


def test_sweeps_that_race_hint_each_job_once(shop: Shop, broker: Broker) -> None:
    ids, lost = due(shop, 120), [claimed(shop, expired=True) for _ in range(5)]
    assert sum(race(4, lambda _: sweep())) == len(ids) + len(lost)
    assert sorted(broker.hinted()) == sorted(ids + lost + lost)
    assert {shop.row(job_id).expiries for job_id in lost} == {1}


# -- what dies


@pytest.mark.parametrize("point", ["sweep.expired", "sweep.hints_taken", "sweep.published"])
def test_a_sweep_that_dies_anywhere_loses_no_job(shop: Shop, broker: Broker, kill_at: KillAt, point: str) -> None:
    ids = sorted([*due(shop, 3), claimed(shop, expired=True)])
    kill_at(point)
    with pytest.raises(Killed):
        sweep()
    shop.make_due()  # after the distance between two hints, at the latest
    sweep()
    assert set(broker.hinted()) == set(ids)
    assert {shop.job(job_id).status for job_id in ids} == {jobs.QUEUED}


@pytest.mark.parametrize("url", NOWHERE)
def test_a_dead_broker_loses_no_job_and_is_no_error(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    use(monkeypatch, url)
    ids = due(shop, 2)
    assert sweep() == 2
    assert "hints not sent" in caplog.text
    broker = use(monkeypatch, "filesystem://")
    shop.make_due()
    sweep()
    assert sorted(broker.hinted()) == sorted(ids)


def test_an_embedded_broker_without_its_folder_is_no_error(
    shop: Shop, broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    due(shop, 1)
    shutil.rmtree(tmp_path / "broker")
    assert sweep() == 1
    assert "hints not sent" in caplog.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_whatever_goes_wrong_with_redis_is_an_unavailable_broker(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redis = PrivateRedis(tmp_path)
    try:
        broker = use(monkeypatch, redis.url)
        broker.app.conf.broker_transport_options["socket_timeout"] = 0.3
        [job_id] = due(shop, 1)
        assert (sweep(), broker.hinted()) == (1, [job_id])
        for command in (b"CONFIG SET maxmemory 1", b"REPLICAOF 127.0.0.1 1"):  # full, and no master any more
            tell(redis, command)
            with pytest.raises(BrokerUnavailable):
                send("maintenance.canary", "maintenance", [job_id])
            tell(redis, b"REPLICAOF NO ONE")
            tell(redis, b"CONFIG SET maxmemory 0")
        redis.freeze()
        with pytest.raises(BrokerUnavailable, match="Timeout"):
            send("maintenance.canary", "maintenance", [job_id])
        redis.thaw()
        redis.stop()
        with pytest.raises(BrokerUnavailable, match="refused"):
            send("maintenance.canary", "maintenance", [job_id])
        redis.start()
        send("maintenance.canary", "maintenance", [job_id])
        assert broker.hinted() == [job_id]
    finally:
        redis.stop()


def test_a_rabbitmq_that_refuses_us_is_an_unavailable_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, f"{servers.require('rabbitmq').rstrip('/')}/no-such-vhost")
    with pytest.raises(BrokerUnavailable):
        send("maintenance.canary", "maintenance", ["id"])


def test_a_database_that_is_away_is_told_to_the_caller(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:////no/such.db")
    with pytest.raises(DatabaseUnavailable):
        sweep()


# -- at a worker's start


def test_only_a_worker_that_takes_sweeps_starts_with_one(broker: Broker) -> None:
    broker.app.amqp.queues.select(["payments"])
    sweep_module.begin()
    assert broker.shown() == []
    broker.app.amqp.queues.select(["maintenance"])
    sweep_module.begin()
    assert broker.shown() == ["()"]


@pytest.mark.parametrize("url", NOWHERE)
def test_a_start_without_a_broker_leaves_the_first_sweep_to_beat(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    use(monkeypatch, url)
    sweep_module.begin()
    assert "beat's next tick brings one" in caplog.text


# -- newer versions


def test_a_kind_of_a_newer_version_is_hinted_on_and_stays_queued(shop: Shop, broker: Broker) -> None:
    [job_id] = due(shop, 1, JobKind("of.tomorrow", "payments"))
    assert sweep() == 1
    assert broker.messages() == [("payments", "of.tomorrow", [job_id])]
    assert shop.job(job_id).status == jobs.QUEUED


def test_a_queue_of_a_newer_version_does_not_stop_the_hints_for_the_others(
    shop: Shop, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    strange = due(shop, 1, JobKind("of.tomorrow", "tomorrow"))
    ids = due(shop, 2)
    with transaction() as conn:  # the strange one comes first
        conn.execute(update(jobs.jobs).where(jobs.jobs.c.id.in_(strange)).values(hint_at=jobs.jobs.c.created_at))
    assert sweep() == 3
    assert sorted(broker.hinted()) == sorted(ids)
    assert "no such queue" in caplog.text
    assert shop.job(strange[0]).status == jobs.QUEUED
