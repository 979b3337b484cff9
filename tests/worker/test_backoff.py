"""How long a job waits."""

from __future__ import annotations

import pytest

from worker.backoff import LONGEST_DELAY, backoff, no_sooner


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (9, 256), (10, 300), (10_000, 300)])
def test_the_wait_doubles_up_to_five_minutes_give_or_take_a_fifth(attempts: int, seconds: float) -> None:
    waits = [backoff(attempts) for _ in range(200)]
    assert seconds * 0.8 <= min(waits) < max(waits) <= seconds * 1.2
    assert LONGEST_DELAY == 300


def test_an_attempt_that_was_given_back_waits_too() -> None:
    assert 0 < backoff(0) <= 1


def test_who_asked_for_a_delay_gets_it_and_not_all_at_once() -> None:
    waits = [no_sooner(10.0) for _ in range(200)]
    assert 10.0 <= min(waits) < max(waits) <= 12.0
    assert no_sooner(0.0) == 0.0
