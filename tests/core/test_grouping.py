"""Group commit: who writes, who is carried, and what becomes of all when a statement fails."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import monotonic, sleep

import pytest

from core import grouping
from core.grouping import Group
from tests.core.domain.racing import race


class Pen:
    """Writes doubles; the first writing takes as long as the test wants."""

    def __init__(self, fails: bool = False) -> None:
        self.written: list[list[int]] = []
        self.writing, self.ready = Event(), Event()
        self._fails = fails

    def write(self, given: Sequence[int]) -> list[int]:
        """Write `given`, or fail the first time."""
        self.written.append(list(given))
        if len(self.written) == 1:
            self.writing.set()
            assert self.ready.wait(20)
            if self._fails:
                raise ConnectionError("gone")
        return [2 * number for number in given]


def waiting(group: Group[int, int], count: int) -> bool:
    until = monotonic() + 20
    while monotonic() < until and len(group._waiting) < count:
        sleep(0.001)
    return len(group._waiting) == count


def test_a_lone_thread_writes_at_once() -> None:
    pen = Pen()
    pen.ready.set()
    group = Group(pen.write)

    assert [group.hand_in(number) for number in (1, 2, 3)] == [2, 4, 6]
    assert pen.written == [[1], [2], [3]]


@pytest.mark.parametrize("fails", [False, True], ids=["written", "failed"])
def test_what_comes_meanwhile_is_written_together_and_a_failure_is_its_groups_own(fails: bool) -> None:
    pen = Pen(fails)
    group = Group(pen.write)
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(group.hand_in, 0)
        assert pen.writing.wait(20)
        others = [threads.submit(group.hand_in, number) for number in range(1, 8)]
        assert waiting(group, 7)
        pen.ready.set()
        assert first.result(20) == (None if fails else 0)
        assert [other.result(20) for other in others] == [2, 4, 6, 8, 10, 12, 14]
    assert [sorted(group) for group in pen.written] == [[0], [1, 2, 3, 4, 5, 6, 7]]


def test_who_waited_gathers_more_and_a_lone_thread_never_waits() -> None:
    pen, hour = Pen(), 3600.0
    group = Group(pen.write, gather=hour)
    pen.ready.set()
    assert [group.hand_in(number) for number in (1, 2)] == [2, 4]  # at once

    pen = Pen()
    group = Group(pen.write, gather=0.5)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(group.hand_in, 0)
        assert pen.writing.wait(20)
        second = threads.submit(group.hand_in, 1)
        assert waiting(group, 1)
        pen.ready.set()
        assert first.result(20) == 0
        third = threads.submit(group.hand_in, 2)
        assert [second.result(20), third.result(20)] == [2, 4]
    assert [sorted(written) for written in pen.written] == [[0], [1, 2]]


def test_a_group_is_bounded_and_the_rest_is_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MOST", 3)
    pen = Pen()
    group = Group(pen.write)
    with ThreadPoolExecutor(8) as threads:
        threads.submit(group.hand_in, 0)
        assert pen.writing.wait(20)
        others = [threads.submit(group.hand_in, number) for number in range(1, 8)]
        assert waiting(group, 7)
        pen.ready.set()
        assert [other.result(20) for other in others] == [2, 4, 6, 8, 10, 12, 14]
    assert [len(group) for group in pen.written] == [1, 3, 3, 1]


def test_a_group_that_fails_tells_each_to_try_alone_and_the_next_one_is_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def write(given: Sequence[int]) -> list[int]:
        if 13 in given:
            raise ValueError("unlucky")
        return [2 * number for number in given]

    group = Group(write)

    assert [group.hand_in(number) for number in (1, 13, 2)] == [2, None, 4]
    assert caplog.messages == ["A group was not written, each tries alone"]


def test_many_threads_each_get_their_own() -> None:
    group: Group[int, int] = Group(lambda given: [2 * number for number in given])

    def many(thread: int) -> list[int | None]:
        return [group.hand_in(1000 * thread + number) for number in range(200)]

    assert race(8, many) == [[2 * (1000 * thread + number) for number in range(200)] for thread in range(8)]


def test_one_that_is_interrupted_while_it_gathers_passes_the_lead_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pen = Pen()
    group = Group(pen.write, gather=0.001)

    def interrupted(_seconds: float) -> None:
        monkeypatch.undo()
        raise SystemExit

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(group.hand_in, 0)
        assert pen.writing.wait(20)
        second = threads.submit(group.hand_in, 1)
        assert waiting(group, 1)
        monkeypatch.setattr(grouping, "sleep", interrupted)
        pen.ready.set()
        assert first.result(20) == 0
        with pytest.raises(SystemExit):
            second.result(20)
        assert threads.submit(group.hand_in, 2).result(20) == 4
