"""Celery's settings, for each kind of broker."""

from __future__ import annotations

import runpy
from pathlib import Path
from queue import Queue
from threading import Barrier, Thread
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from core.domain import jobs
from tests.worker.broker import celery_app
from worker import schedule

CONFIG = Path(__file__).resolve().parent.parent / "celeryconfig.py"
BROKERS = ["filesystem://", "redis://127.0.0.1:1/0", "amqp://guest:guest@127.0.0.1:1//"]


def read(monkeypatch: pytest.MonkeyPatch, broker: str) -> dict[str, Any]:
    monkeypatch.setenv("BROKER_URL", broker)
    return runpy.run_path(str(CONFIG))


@pytest.mark.parametrize("broker", BROKERS)
def test_every_job_kind_has_its_queue(monkeypatch: pytest.MonkeyPatch, broker: str) -> None:
    queues = {queue.name for queue in read(monkeypatch, broker)["task_queues"]}
    assert {kind.queue for kind in jobs.KINDS.values()} == queues


@pytest.mark.parametrize("broker", BROKERS)
def test_every_tick_is_sent_to_a_queue_and_never_expires(monkeypatch: pytest.MonkeyPatch, broker: str) -> None:
    for entry in read(monkeypatch, broker)["beat_schedule"].values():
        assert entry["options"] == {"queue": "maintenance"}
        assert entry["task"] in ("maintenance.sweep", "maintenance.tick")
        assert all(name in jobs.KINDS for name in entry["args"])


def test_every_scheduled_task_ticks_at_least_twice_per_period(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = {
        entry["args"][0]: entry["schedule"]
        for entry in read(monkeypatch, "filesystem://")["beat_schedule"].values()
        if entry["task"] == "maintenance.tick"
    }
    assert ticks.keys() == schedule.PERIODS.keys()
    assert [name for name, seconds in ticks.items() if seconds * 2 > schedule.PERIODS[name]] == []


def test_queues_are_quorum_queues_on_rabbitmq_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def arguments(broker: str) -> list[Any]:
        return [queue.queue_arguments for queue in read(monkeypatch, broker)["task_queues"]]

    assert arguments("amqp://guest:guest@127.0.0.1:1//") == [{"x-queue-type": "quorum"}] * 5
    assert arguments("redis://127.0.0.1:1/0") == [None] * 5


def test_the_embedded_broker_writes_below_the_state_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    options = read(monkeypatch, "filesystem://")["broker_transport_options"]
    folders = [options[name] for name in ("data_folder_in", "data_folder_out", "control_folder")]
    assert all(Path(folder).is_dir() and tmp_path in Path(folder).parents for folder in folders)


@pytest.mark.parametrize("broker", BROKERS[1:])
def test_publishing_to_a_dead_broker_fails_instead_of_waiting_for_it(
    monkeypatch: pytest.MonkeyPatch, broker: str
) -> None:
    app = Celery("publisher", set_as_current=False)
    app.config_from_object({
        name: value for name, value in read(monkeypatch, broker).items() if not name.startswith("_") and name.islower()
    })  # fmt: skip
    with pytest.raises(OperationalError):
        app.send_task("payments.create", args=[["id"]], queue="payments")


def test_a_misspelt_queue_is_refused_at_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    config = read(monkeypatch, "filesystem://")
    app = Celery("publisher", set_as_current=False)
    app.conf.update(task_queues=config["task_queues"], task_create_missing_queues=config["task_create_missing_queues"])
    with pytest.raises(Exception, match="paymants"):
        app.send_task("payments.create", queue="paymants")


FLOWERS_THREADS = 32
"""As many as asyncio gives it on a machine with many cores; each asks the workers one thing."""


def test_flower_may_ask_with_all_of_its_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    app, together, asked = celery_app(monkeypatch, "filesystem://"), Barrier(FLOWERS_THREADS), Queue[bool]()

    def ask() -> None:
        with app.connection_or_acquire():  # as `inspect` does, which then needs another one to send its question with
            together.wait(30)
            with app.producer_or_acquire():
                asked.put(True)

    for _ in range(FLOWERS_THREADS):
        Thread(target=ask, daemon=True).start()
    for _ in range(FLOWERS_THREADS):
        assert asked.get(timeout=30)
