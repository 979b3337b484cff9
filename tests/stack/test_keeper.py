"""The pause before a new start."""

from __future__ import annotations

from stack.keeper import Backoff


def test_the_pause_doubles_up_to_a_bound() -> None:
    backoff = Backoff(first=0.5, most=3, steady=20)
    assert [backoff.after(ran=1) for _ in range(5)] == [0.5, 1, 2, 3, 3]


def test_a_good_run_starts_the_count_anew() -> None:
    backoff = Backoff(first=0.5, most=10, steady=20)
    for _ in range(4):
        backoff.after(ran=1)
    assert [backoff.after(ran=20), backoff.after(ran=1)] == [0.5, 1]
