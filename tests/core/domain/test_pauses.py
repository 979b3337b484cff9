"""Pauses: heard by all, only ever extended, said once, and over for each job at a moment of its own."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from core.database import reading, transaction
from core.domain import jobs, leases, pauses
from core.domain.pauses import FIRST_SPREAD, LONGEST_SPREAD, STRIPE, Pause
from tests.core.domain import shop
from tests.core.domain.clocks import DatabaseClock
from tests.core.domain.racing import race

pytestmark = pytest.mark.usefixtures("database_url")

SLOW_DOWN, WRONG_KEY = "Stripe asks us to slow down", "Stripe does not accept our API key"


def slow_down(seconds: float = 10.0) -> bool:
    """Stripe answered 429; whether that was news."""
    with transaction() as conn:
        return pauses.pause(conn, STRIPE, seconds, SLOW_DOWN, widen=True)


def refuse(name: str = STRIPE) -> bool:
    """Stripe answered 401 or 403; whether that was news."""
    with transaction() as conn:
        return pauses.pause(conn, name, 30.0, WRONG_KEY, widen=False)


def in_force() -> list[Pause]:
    with reading() as conn:
        return pauses.in_force(conn)


def spread() -> float:
    with reading() as conn:
        return float(conn.execute(select(pauses.pauses.c.spread)).scalar_one())


def left() -> float:
    with reading() as conn:
        return pauses.left(conn)


def test_nothing_is_paused_until_it_is_said() -> None:
    assert (in_force(), left()) == ([], 0.0)


def test_a_pause_says_what_waits_since_when_until_when_and_why(clock: DatabaseClock) -> None:
    assert slow_down(10.0)
    clock.forward(4)
    [found] = in_force()
    assert (found.name, found.reason, found.refusals) == (STRIPE, SLOW_DOWN, 1)
    assert 9.9 < (found.until - found.since).total_seconds() < 10.1
    assert 4 <= found.seconds < 5
    assert 5 < left() <= 6


def test_it_is_in_force_until_the_last_job_may_come_back(clock: DatabaseClock) -> None:
    slow_down(10.0)
    clock.forward(10 + FIRST_SPREAD - 1)
    assert (len(in_force()), left()) == (1, 0.0)
    clock.forward(2)
    assert in_force() == []


def test_an_end_is_only_ever_moved_back(clock: DatabaseClock) -> None:
    slow_down(60.0)
    slow_down(1.0)
    assert 59 < left() <= 60
    slow_down(100.0)
    assert 99 < left() <= 100


def test_what_is_under_way_when_a_pause_begins_is_no_news_and_does_not_slow_the_return(clock: DatabaseClock) -> None:
    assert [slow_down() for _ in range(20)] == [True] + [False] * 19
    assert spread() == FIRST_SPREAD
    assert in_force()[0].refusals == 20


def test_of_many_that_are_refused_at_the_same_time_one_brings_the_news() -> None:
    assert sorted(race(8, lambda _: refuse())) == [False] * 7 + [True]
    assert in_force()[0].refusals == 8


def test_refused_while_they_come_back_they_come_half_as_fast_the_next_time(clock: DatabaseClock) -> None:
    slow_down(10.0)
    since = in_force()[0].since
    for wanted in (10.0, 20.0, LONGEST_SPREAD, LONGEST_SPREAD):
        clock.forward(11)
        assert not slow_down(10.0)
        assert spread() == wanted
    assert in_force()[0].since == since


def test_refused_long_after_it_is_a_new_pause(clock: DatabaseClock) -> None:
    for _ in range(2):
        slow_down(10.0)
        clock.forward(11)
    clock.forward(2 * 2 * FIRST_SPREAD)
    assert slow_down(10.0)
    assert (spread(), in_force()[0].refusals) == (FIRST_SPREAD, 1)


def test_a_wrong_key_is_said_once_however_long_it_stays_wrong(clock: DatabaseClock) -> None:
    assert refuse()
    for _ in range(5):
        clock.forward(31)  # the first that come back find out
        assert not refuse()
    assert spread() == FIRST_SPREAD  # they did not come too fast


def test_another_reason_is_news() -> None:
    assert slow_down()
    assert refuse()
    assert in_force()[0].reason == WRONG_KEY


def test_the_pause_of_one_kind_is_not_everybodys() -> None:
    assert refuse(jobs.REFUND_CREATE.name)
    assert left() == 0.0
    assert [found.name for found in in_force()] == [jobs.REFUND_CREATE.name]
    assert refuse()


def test_however_many_wait_and_however_they_are_hinted_they_come_back_a_few_each_second(clock: DatabaseClock) -> None:
    with transaction() as conn:
        ids = shop.enqueued(conn, 500, kind=jobs.PAYMENT_CREATE)
    slow_down(10.0)
    until = in_force()[0].until

    def come_back() -> int:
        with transaction() as conn:
            return len(leases.claim(conn, jobs.PAYMENT_CREATE.name, ids))

    assert come_back() == 0
    clock.forward(9)
    back = 0
    while back < 500:
        clock.forward(0.5)
        back += come_back()
        passed = (clock.now() - until).total_seconds() / FIRST_SPREAD
        assert back <= 500 * passed + 60  # the ids are random: six times their standard deviation at the most
        assert passed <= 1 + 2 / FIRST_SPREAD or back == 500
