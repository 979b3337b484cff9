from __future__ import annotations

import os

from web.process import PerProcess


def test_a_forked_child_gets_a_value_of_its_own() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(os.getpid())
        return os.getpid()

    value = PerProcess(make)
    assert value() == value() == os.getpid()

    child = os.fork()
    if child == 0:
        os._exit(0 if value.peek() is None and value() == os.getpid() == value.peek() else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert made == [os.getpid()]
