"""Flower's news of tasks: kept for a moment, and not lost between two connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.worker.broker import celery_app
from worker.events import EVERY_SECONDS, EventsTogether


class Timer:
    """Calls when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def call_after(self, seconds: float, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.waiting.append((seconds, call, args))

    def tick(self) -> None:
        due, self.waiting = self.waiting, []
        for _, call, args in due:
            call(*args)


class Consumer:
    """What Celery's consumer shows to its parts."""

    def __init__(self, app: Any, hub: object = None) -> None:
        self.app, self.hub, self.timer = app, hub, Timer()
        self.event_dispatcher: Any = None
        self.connect()

    def connect(self) -> None:
        """A new connection, and so a new dispatcher."""
        self.event_dispatcher = self.app.events.Dispatcher(self.app.connection_for_write(), hostname="worker@here")


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Consumer:
    return Consumer(celery_app(monkeypatch, "filesystem://"))


def kept(dispatcher: Any) -> list[str]:
    return [event["type"] for events in vars(dispatcher)["_group_buffer"].values() for event in events]


def test_events_of_tasks_are_kept_until_the_next_tick(consumer: Consumer) -> None:
    EventsTogether(consumer).start(consumer)
    for kind in ("task-received", "task-started"):
        consumer.event_dispatcher.send(kind, uuid="1")
    assert kept(consumer.event_dispatcher) == ["task-received", "task-started"]
    consumer.timer.tick()
    assert kept(consumer.event_dispatcher) == []
    assert [seconds for seconds, *_ in consumer.timer.waiting] == [EVERY_SECONDS]


def test_what_came_between_two_connections_goes_with_the_next_and_only_one_goes_on(consumer: Consumer) -> None:
    step = EventsTogether(consumer)
    step.start(consumer)
    step.stop(consumer)
    consumer.event_dispatcher.send("task-succeeded", uuid="1")
    consumer.timer.tick()
    assert kept(consumer.event_dispatcher) == ["task-succeeded"], "the connection may be the one that broke"
    consumer.connect()
    sent: list[str] = []
    consumer.event_dispatcher.flush = lambda errors: sent.extend(kept(consumer.event_dispatcher))
    step.start(consumer)
    assert sent == ["task-succeeded"]
    assert len(consumer.timer.waiting) == 1


@pytest.mark.parametrize("how", ["close", "shutdown"])
def test_a_worker_that_stops_sends_what_is_left(consumer: Consumer, how: str) -> None:
    step = EventsTogether(consumer)
    getattr(step, how)(consumer)  # before it ever had a connection
    step.start(consumer)
    consumer.event_dispatcher.send("task-succeeded", uuid="1")
    getattr(step, how)(consumer)
    assert kept(consumer.event_dispatcher) == []


def test_celerys_own_event_loop_does_it_already(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer(celery_app(monkeypatch, "filesystem://"), hub=object())
    EventsTogether(consumer).start(consumer)
    assert not consumer.event_dispatcher.buffer_group
    assert not consumer.timer.waiting
