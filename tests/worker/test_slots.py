"""The cap on jobs in flight, and having the process to oneself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest

from tests.worker.waiting import eventually
from worker import slots as slots_module
from worker.slots import Slots


@contextmanager
def patient() -> Iterator[None]:
    """Who waits for a share waits for as long as it takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots_module, "GATHER_SECONDS", 60.0)
        yield


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


def test_who_had_to_wait_takes_a_share_at_once_for_one_claim_costs_as_much_as_many() -> None:
    slots = Slots(16)
    slots.take(16)
    with ThreadPoolExecutor(1) as threads, patient():
        waiting = threads.submit(slots.take, 10)
        eventually(lambda: vars(slots._changed)["_waiters"], "it waits")
        slots.give()
        assert not waiting.done()
        slots.give()
        assert waiting.result(30) == 2


def test_it_does_not_wait_for_a_share_for_long() -> None:
    slots = Slots(16)
    slots.take(16)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(slots.take, 10)
        slots.give()
        assert waiting.result(30) == 1


def test_of_a_crowd_that_waits_each_gets_its_turn() -> None:
    slots, taken = Slots(8), list[int]()
    slots.take(8)

    def take(_: int) -> None:
        taken.append(slots.take(3))
        slots.give(taken[-1])

    with ThreadPoolExecutor(12) as threads:
        crowd = threads.map(take, range(12))
        slots.give(8)
        list(crowd)
    assert len(taken) == 12
    assert slots.take(8) == 8


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


def test_many_who_want_to_be_alone_let_others_in_between() -> None:
    slots, order = Slots(2), list[str]()
    leave = [Event() for _ in range(3)]

    def alone(number: int) -> None:
        with slots.alone():
            order.append("alone")
            leave[number].wait(30)

    with ThreadPoolExecutor(4) as threads:
        gates = [threads.submit(alone, 0)]
        eventually(lambda: order == ["alone"], "the first is alone")
        company = threads.submit(slots.take, 1)
        eventually(slots._turnstile.locked, "somebody waits at the turnstile")
        gates += [threads.submit(alone, number) for number in (1, 2)]
        leave[0].set()
        assert company.result(30) == 1
        assert order == ["alone"]
        slots.give()
        for event in leave:
            event.set()
        for gate in gates:
            gate.result(30)
    assert order == ["alone"] * 3


def test_an_exception_gives_the_process_back() -> None:
    slots = Slots(2)
    with pytest.raises(RuntimeError), slots.alone():
        raise RuntimeError
    assert slots.take(2) == 2
