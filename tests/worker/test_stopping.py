"""The word to stop, heard by forked children."""

from __future__ import annotations

import os
import time

import pytest

from worker.stopping import Stopping


def test_it_is_silent_until_it_is_said() -> None:
    stopping = Stopping()
    assert not stopping.is_set()
    stopping.set()
    stopping.set()
    assert stopping.is_set()


def test_it_knows_how_long_ago_it_was_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping, clock = Stopping(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    assert stopping.seconds() == 0.0
    stopping.set()
    clock[0] = 107.0
    stopping.set()
    assert stopping.seconds() == 7.0


def test_a_child_hears_what_its_parent_says_after_the_fork() -> None:
    stopping = Stopping()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reader, 1)  # said by now, and after we were born
        os._exit(0 if stopping.is_set() else 1)
    stopping.set()
    os.write(writer, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(reader)
    os.close(writer)
