"""Beat's scheduler on the embedded broker: ticks reach the queue, and stop when nobody takes them."""

from __future__ import annotations

import logging
import shutil
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from kombu import Queue

from stack import spool
from stack.beat import FEW, Scheduler
from tests import servers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "broker"


@pytest.fixture
def app(folder: Path) -> Any:
    app = Celery("ticks", broker="filesystem://", set_as_current=False)
    app.conf.update(
        broker_transport="stack.spool:Transport",
        broker_transport_options=spool.prepare(folder),
        task_queues=[Queue("maintenance", routing_key="maintenance")],
        task_publish_retry=False,
        beat_schedule={
            "sweep": {
                "task": "maintenance.sweep",
                "schedule": timedelta(seconds=0),  # always due
                "options": {"queue": "maintenance"},
            }
        },
    )
    return app


def tick(scheduler: Scheduler, times: int) -> None:
    for _ in range(times):
        scheduler.tick()


def waiting(folder: Path) -> int:
    return len(list((folder / "messages").glob("*.maintenance.msg")))


def test_a_due_tick_is_sent_to_its_queue(app: Any, folder: Path) -> None:
    tick(Scheduler(app), 1)
    assert waiting(folder) == 1


def test_ticks_that_nobody_takes_do_not_pile_up(app: Any, folder: Path) -> None:
    tick(Scheduler(app), FEW * 3)
    assert waiting(folder) == FEW


def test_ticks_go_on_once_somebody_takes_them(app: Any, folder: Path) -> None:
    scheduler = Scheduler(app)
    tick(scheduler, FEW * 2)
    with app.connection_for_read() as connection:
        connection.default_channel.queue_purge("maintenance")
    tick(scheduler, 1)
    assert waiting(folder) == 1


def test_a_tick_that_fails_is_logged_and_the_next_one_gets_through(
    app: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler(app)
    tick(scheduler, 1)
    shutil.rmtree(folder)
    with caplog.at_level(logging.WARNING):
        tick(scheduler, 1)
    assert [record.message for record in caplog.records] == ["Tick not sent"]
    spool.prepare(folder)
    tick(scheduler, 1)
    assert waiting(folder) == 1


def test_ticks_go_on_after_rabbitmq_closed_the_connection(app: Any) -> None:
    queue = Queue(f"beat-{uuid4().hex}", queue_arguments={"x-expires": 60_000})
    app.conf.update(
        broker_url=servers.require("rabbitmq"),
        broker_transport=None,
        broker_transport_options={"confirm_publish": True},
        task_queues=[queue],
    )
    app.conf.beat_schedule["sweep"]["options"]["queue"] = queue.name
    scheduler = Scheduler(app)
    tick(scheduler, 1)
    scheduler.connection.connection.transport.sock.shutdown(socket.SHUT_RDWR)
    tick(scheduler, 2)  # the first finds out
    with app.connection_for_read() as connection:
        bound = queue(connection.default_channel)
        sent = [bound.get(no_ack=True) for _ in range(3)]
        bound.delete()
    assert [message is not None for message in sent] == [True, True, False]
    scheduler.close()
