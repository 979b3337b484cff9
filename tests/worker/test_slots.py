"""The cap on jobs in flight, and having the process to oneself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.worker.waiting import eventually
from worker.slots import Slots


def test_no_more_than_the_cap_is_given_out() -> None:
    slots = Slots(3)
    assert (slots.take(2), slots.take(5)) == (2, 1)
    slots.give(3)
    assert slots.take(3) == 3


def test_who_finds_no_slot_waits_for_the_first_that_is_given_back() -> None:
    slots = Slots(1)
    slots.take(1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(slots.take, 1)
        assert not waiting.done()
        slots.give()
        assert waiting.result(30) == 1


def test_alone_waits_until_nothing_runs_and_lets_nobody_in() -> None:
    slots, inside, leave = Slots(2), Event(), Event()

    def alone() -> None:
        with slots.alone():
            inside.set()
            leave.wait(30)

    slots.take(1)
    with ThreadPoolExecutor(2) as threads:
        gate = threads.submit(alone)
        eventually(lambda: slots._alone, "it waits at the gate")
        late = threads.submit(slots.take, 1)  # there is a free slot, but somebody waits to be alone
        assert not inside.is_set()
        slots.give()
        assert inside.wait(30)
        assert not late.done()
        leave.set()
        gate.result(30)
        assert late.result(30) == 1
    assert slots._busy == 1


def test_two_who_want_to_be_alone_are_so_one_after_the_other() -> None:
    slots, together = Slots(4), list[int]()
    inside = 0

    def alone(_: int) -> None:
        nonlocal inside
        with slots.alone():
            inside += 1
            together.append(inside)
            inside -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(alone, range(40)))
    assert together == [1] * 40
    assert slots.take(4) == 4


def test_an_exception_gives_the_process_back() -> None:
    slots = Slots(2)
    with pytest.raises(RuntimeError), slots.alone():
        raise RuntimeError
    assert slots.take(2) == 2
