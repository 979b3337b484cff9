"""Threads for jobs: side by side, used again, and gone with their crew."""

from __future__ import annotations

import gc
import logging
import threading
from threading import Barrier, Event

import pytest

from tests.worker.waiting import eventually
from worker.crew import Countdown, Crew


def threads(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


def test_calls_run_side_by_side() -> None:
    crew, barrier, running = Crew("side by side"), Barrier(5), Countdown()

    def call() -> None:
        barrier.wait(20)
        running.done()

    for _ in range(5):
        running.announce()
        crew.run(call)
    running.wait()


def test_an_idle_thread_is_used_again() -> None:
    crew = Crew("used again")
    for _ in range(5):
        done = Event()
        crew.run(done.set)
        assert done.wait(20)
        eventually(lambda: crew._idle._value == 1, "an idle thread")
    assert threads("used again") == 1


def test_a_call_that_raises_is_logged_and_its_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    crew, done = Crew("raising"), Event()

    def call() -> None:
        raise SystemExit

    with caplog.at_level(logging.ERROR):
        crew.run(call)
        eventually(lambda: "a call raised" in caplog.text, "the line")
    crew.run(done.set)
    assert done.wait(20)
    assert threads("raising") == 1


def test_the_threads_of_a_crew_that_nobody_uses_any_more_end() -> None:
    crew, done = Crew("left"), Event()
    crew.run(done.set)
    assert done.wait(20)
    assert threads("left") == 1
    del crew
    gc.collect()
    eventually(lambda: threads("left") == 0, "the thread ended")


def test_nothing_announced_is_nothing_to_wait_for() -> None:
    Countdown().wait()
