"""Pauses: heard by all, only ever extended, said once, and over for each job at a moment of its own."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from core.database import reading, transaction
from core.domain import jobs, leases, pauses
from core.domain.jobs import JobKind
from core.domain.pauses import FIRST_SPREAD, LONGEST_SPREAD, STRIPE, Pause
from core.ids import new_id
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


def phase() -> float:
    with reading() as conn:
        return float(conn.execute(select(pauses.pauses.c.phase)).scalar_one())


def id_of(share: int) -> str:
    """An id whose last byte is `share`."""
    return f"{new_id()[:-2]}{share:02x}"


def left(kind: JobKind = jobs.WEBHOOK_PROCESS, share: int = 0, fingerprint: str = "none") -> float:
    with reading() as conn:
        return pauses.left(conn, kind.name, id_of(share), pauses.of_key(fingerprint))


def one_of_each_share() -> list[str]:
    """The ids of 256 jobs, in the order of their shares."""
    ids = [id_of(share) for share in range(256)]
    with transaction() as conn:
        for job_id in ids:
            jobs.enqueue(conn, jobs.PAYMENT_CREATE, {}, job_id=job_id)
    return ids


def come_back(ids: list[str]) -> list[int]:
    """The places among `ids` of those that may be claimed now, and are."""
    with transaction() as conn:
        claims = leases.claim(conn, jobs.PAYMENT_CREATE.name, ids)
    return sorted(ids.index(claim.job_id) for claim in claims)


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


# -- the place at which a return goes on


def test_a_return_that_is_interrupted_again_and_again_comes_to_every_share_in_turn(clock: DatabaseClock) -> None:
    ids = one_of_each_share()
    slow_down(10.0)
    for _ in range(4):  # at once, until the spread is the longest
        clock.forward(10.0)
        slow_down(10.0)
    assert spread() == LONGEST_SPREAD
    came, returns = list[int](), 0
    while len(came) < 256:
        clock.forward(10.0 + LONGEST_SPREAD / 10)
        now_came = come_back(ids)
        assert len(now_came) <= 256 / 4  # a tenth, and what comes while the test asks
        came += now_came
        slow_down(10.0)
        returns += 1
        assert returns <= 2 * 11  # whose moment came between the claim and the refusal waits for the next time round
    assert returns >= 4


def test_every_job_comes_back_within_one_return_wherever_that_begins(clock: DatabaseClock) -> None:
    ids = one_of_each_share()
    slow_down(10.0)
    clock.forward(10.0 + 0.6 * FIRST_SPREAD)
    slow_down(10.0)
    assert 0.6 <= phase() < 0.8
    clock.forward(10.0 + 0.6 * 2 * FIRST_SPREAD)
    came = come_back(ids)
    assert (min(came), max(came)) == (0, 255)
    assert not [share for share in came if 0.45 < share / 256 < 0.6]
    clock.forward(0.4 * 2 * FIRST_SPREAD)
    assert sorted(came + come_back(ids)) == list(range(256))


def test_a_refusal_while_a_pause_is_in_force_or_long_over_moves_no_place(clock: DatabaseClock) -> None:
    slow_down(10.0)
    slow_down(10.0)
    assert phase() == 0.0
    clock.forward(10.0 + 0.5 * FIRST_SPREAD)
    slow_down(10.0)
    place = phase()
    assert 0.5 <= place < 0.8
    clock.forward(9.0)
    slow_down(10.0)
    clock.forward(11.0 + 2 * FIRST_SPREAD)  # all have had their turn
    slow_down(10.0)
    assert phase() == place


def test_of_many_that_are_refused_at_the_same_time_in_a_return_one_moves_the_place(clock: DatabaseClock) -> None:
    slow_down(10.0)
    clock.forward(10.0 + 0.6 * FIRST_SPREAD)
    race(8, lambda _: slow_down())
    assert 0.6 <= phase() < 0.9
    assert (spread(), in_force()[0].refusals) == (2 * FIRST_SPREAD, 9)


# -- for a job that asks now and then


def test_a_pause_ends_for_each_job_at_the_moment_at_which_it_may_be_claimed(clock: DatabaseClock) -> None:
    ids = one_of_each_share()[::8]
    slow_down(10.0)
    clock.forward(10.0 + 0.6 * FIRST_SPREAD)
    slow_down(10.0)

    def over() -> set[int]:
        with reading() as conn:
            kind, own = jobs.PAYMENT_CREATE.name, pauses.of_key("none")
            return {place for place, job_id in enumerate(ids) if pauses.left(conn, kind, job_id, own) == 0.0}

    clock.forward(10.0)
    came = set[int]()
    for _ in range(2):
        clock.forward(3.0)
        before = over()
        came |= set(come_back(ids))
        assert before
        assert before <= came <= over()


def test_only_what_holds_a_job_back_makes_it_wait() -> None:
    refuse(jobs.WEBHOOK_PROCESS.name)
    refuse(pauses.of_key("0a1b2c3d"))
    assert left(jobs.WEBHOOK_PROCESS) > 29
    assert left(jobs.STATISTICS_RECOMPUTE) == left(jobs.STATISTICS_RECOMPUTE, fingerprint="4e5f6a7b") == 0.0
    assert left(jobs.STATISTICS_RECOMPUTE, fingerprint="0a1b2c3d") > 29
    slow_down(60.0)
    assert 59 < left(jobs.STATISTICS_RECOMPUTE) <= 60
    assert left(jobs.STATISTICS_RECOMPUTE, share=128) > 60 + FIRST_SPREAD / 2 - 1


# -- one key


def test_the_pause_of_a_key_is_shown_with_the_others() -> None:
    refuse(pauses.of_key("0a1b2c3d"))
    slow_down()
    assert [(one.name, one.reason) for one in in_force()] == [(STRIPE, SLOW_DOWN), ("stripe:0a1b2c3d", WRONG_KEY)]


def test_the_pause_of_a_key_holds_back_the_claims_of_those_that_use_it_and_of_nobody_else() -> None:
    bad, good = pauses.of_key("0a1b2c3d"), pauses.of_key("4e5f6a7b")
    for kind in map(jobs.KINDS.__getitem__, jobs.NEED_STRIPE):
        with transaction() as conn:
            mine, others = shop.enqueued(conn, 2, kind=kind)
        refuse(bad)
        with transaction() as conn:
            assert leases.claim(conn, kind.name, [mine, others], own=bad) == []
            assert [claim.job_id for claim in leases.claim(conn, kind.name, [mine], own=good)] == [mine]
        assert leases.take(kind.name, [others], own=bad) == []
        assert [claim.job_id for claim in leases.take(kind.name, [others], own=good)] == [others]


def test_no_process_is_emptied_for_a_suspect_that_the_pause_of_its_key_holds_back(clock: DatabaseClock) -> None:
    with transaction() as conn:
        ids = shop.enqueued(conn, kind=jobs.PAYMENT_CREATE)
    for _ in range(leases.EXPIRIES_BEFORE_ALONE):
        leases.take(jobs.PAYMENT_CREATE.name, ids)
        clock.forward(61)
        with transaction() as conn:
            leases.expire(conn, 10)
    refuse(pauses.of_key("0a1b2c3d"))
    with reading() as conn:
        assert leases.suspects(conn, ids, pauses.of_key("0a1b2c3d")) == []
        assert leases.suspects(conn, ids, pauses.of_key("4e5f6a7b")) == ids


def test_what_the_pause_of_a_key_holds_back_is_hinted_all_the_same_and_not_overdue(clock: DatabaseClock) -> None:
    with transaction() as conn:
        [job_id] = shop.enqueued(conn, kind=jobs.PAYMENT_CREATE)
    refuse(pauses.of_key("0a1b2c3d"))
    clock.forward(10)
    with transaction() as conn:
        assert [hint.job_id for hint in leases.due(conn, 10)] == [job_id]
    with reading() as conn:
        assert jobs.backlog(conn).oldest_due_seconds == 0


def test_of_many_with_one_bad_key_one_brings_the_news_and_another_bad_key_is_news_again() -> None:
    assert sorted(race(8, lambda _: refuse(pauses.of_key("0a1b2c3d")))) == [False] * 7 + [True]
    assert refuse(pauses.of_key("none"))
