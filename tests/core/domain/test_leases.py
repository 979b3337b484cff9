"""Claims, fences and the sweep, from every state that a crash can leave."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import chain

import pytest
from sqlalchemy import Connection, update

from core.database import reading, transaction
from core.domain import jobs, leases, orders, pauses, timeline
from core.domain.jobs import CANARY, JobKind
from core.domain.leases import Claim, Fenced
from core.domain.timeline import Note
from core.ids import new_id
from tests.core.domain import shop
from tests.core.domain.clocks import DatabaseClock
from tests.core.domain.racing import race

pytestmark = pytest.mark.usefixtures("database_url")


def claim(ids: list[str], alone: bool = False) -> list[Claim]:
    return leases.take(CANARY.name, ids, alone)


def claimable(job_id: str) -> bool:
    return bool(claim([job_id]) or claim([job_id], alone=True))


def status(job_id: str) -> str:
    with reading() as conn:
        return str(shop.row(conn, job_id).status)


def hinted(limit: int = 10) -> list[str]:
    with transaction() as conn:
        return [hint.job_id for hint in leases.due(conn, limit)]


def expire() -> list[str]:
    with transaction() as conn:
        return leases.expire(conn, 100)


def ignore_indexes(conn: Connection) -> None:
    """Have PostgreSQL read the table as it lies, so that rows come in the wanted order only if it is asked for."""
    if conn.dialect.name == "postgresql":
        for way in ("indexscan", "indexonlyscan", "bitmapscan"):
            conn.exec_driver_sql(f"SET LOCAL enable_{way} = off")


@pytest.fixture
def job_id() -> str:
    """A fresh job that is due."""
    with transaction() as conn:
        return shop.enqueued(conn)[0]


@pytest.fixture
def lost(clock: DatabaseClock, job_id: str) -> Claim:
    """The claim of a worker that was replaced: its lease ran out and was taken."""
    [claimed] = claim([job_id])
    clock.forward(leases.LEASE_SECONDS + 1)
    assert expire() == [job_id]
    return claimed


# -- claims


def test_a_claim_takes_a_due_job_once_and_counts_the_attempt(job_id: str) -> None:
    [claimed] = claim([job_id])
    assert (claimed.job_id, claimed.kind, claimed.attempt, claimed.crashes) == (job_id, CANARY.name, 1, 0)
    assert claim([job_id]) == []
    with reading() as conn:
        row = shop.row(conn, job_id)
    assert (row.status, row.lease_token) == (jobs.RUNNING, claimed.token)
    assert 59 < (row.lease_expires_at - row.clock).total_seconds() <= 60
    assert row.started_at is not None


def test_a_claim_takes_nothing_that_is_unknown_of_another_kind_not_due_or_ended(job_id: str) -> None:
    with transaction() as conn:
        other = shop.enqueued(conn, kind=jobs.STATISTICS_RECOMPUTE)[0]
        later, done = shop.claimed(conn), shop.claimed(conn)
        leases.retry(conn, later, 60.0, "later")
        leases.finish(conn, done, jobs.SUCCEEDED)
    wanted = [job_id, other, later.job_id, done.job_id, new_id()]
    assert [one.job_id for one in claim(wanted)] == [job_id]
    assert claim([]) == []


def test_a_kind_that_this_version_does_not_know_stays_queued_and_is_hinted_on(clock: DatabaseClock) -> None:
    with transaction() as conn:
        newer = jobs.enqueue(conn, jobs.JobKind("of.tomorrow", "payments"), {}).job_id
    assert claim([newer]) == []
    clock.forward(6)
    assert hinted() == [newer]
    assert status(newer) == jobs.QUEUED


def test_every_claim_has_a_token_of_its_own(clock: DatabaseClock, job_id: str) -> None:
    [first] = claim([job_id])
    clock.forward(61)
    expire()
    [second] = claim([job_id])
    assert second.token != first.token
    assert second.attempt == 2


def test_the_start_of_a_job_is_the_start_of_its_first_attempt(clock: DatabaseClock, job_id: str) -> None:
    [first] = claim([job_id])
    clock.forward(100)
    expire()
    claim([job_id])
    with reading() as conn:
        started = shop.row(conn, job_id).started_at
    assert abs((started - first.claimed_at).total_seconds()) < 1


def test_twenty_threads_that_claim_the_same_rows_get_each_row_exactly_once() -> None:
    with transaction() as conn:
        ids = shop.enqueued(conn, 60)

    def some(number: int) -> list[str]:
        # The same ids in another order and cut differently: two that wait for each other would be a deadlock.
        mine = ids[number:] + ids[:number]
        return [one.job_id for one in claim(mine[::-1] if number % 2 else mine[:40])]

    taken = [job_id for part in race(20, some) for job_id in part]
    assert sorted(taken) == sorted(ids)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_claim_does_not_wait_for_a_row_that_another_claim_holds(job_id: str) -> None:
    with transaction() as conn:
        [free] = shop.enqueued(conn)
    with transaction() as slow:
        assert leases.claim(slow, CANARY.name, [job_id])
        assert [one.job_id for one in claim([job_id, free])] == [free]


# -- pauses


def pause(seconds: float, name: str = pauses.STRIPE) -> None:
    with transaction() as conn:
        pauses.pause(conn, name, seconds, "slow down", widen=True)


def enqueued(kind: JobKind, count: int = 1) -> list[str]:
    with transaction() as conn:
        return shop.enqueued(conn, count, kind=kind)


def claimed(kind: JobKind, ids: list[str], alone: bool = False) -> list[str]:
    with transaction() as conn:
        return [one.job_id for one in leases.claim(conn, kind.name, ids, alone)]


@pytest.mark.parametrize("kind", [jobs.KINDS[name] for name in jobs.NEED_STRIPE], ids=lambda kind: str(kind.name))
def test_what_needs_stripe_is_not_claimed_while_stripe_is_paused(kind: JobKind, clock: DatabaseClock) -> None:
    ids = enqueued(kind, 3)
    pause(10.0)
    assert claimed(kind, ids) == claimed(kind, ids, alone=True) == []
    clock.forward(9)
    assert claimed(kind, ids) == []
    clock.forward(1 + pauses.FIRST_SPREAD)
    assert sorted(claimed(kind, ids)) == sorted(ids)


@pytest.mark.parametrize("kind", [jobs.WEBHOOK_PROCESS, jobs.STATISTICS_RECOMPUTE, jobs.CANARY])
def test_what_needs_no_stripe_goes_on(kind: JobKind, clock: DatabaseClock) -> None:
    ids = enqueued(kind)
    pause(10.0)
    clock.forward(6)
    assert hinted() == ids
    assert claimed(kind, ids) == ids


def test_the_pause_of_one_kind_holds_back_no_other() -> None:
    payment, refund = enqueued(jobs.PAYMENT_CREATE), enqueued(jobs.REFUND_CREATE)
    pause(10.0, jobs.REFUND_CREATE.name)
    assert claimed(jobs.REFUND_CREATE, refund) == []
    assert claimed(jobs.PAYMENT_CREATE, payment) == payment


def test_no_process_is_emptied_for_a_suspect_that_is_paused(clock: DatabaseClock) -> None:
    ids = enqueued(jobs.PAYMENT_CREATE)
    for _ in range(leases.EXPIRIES_BEFORE_ALONE):
        assert claimed(jobs.PAYMENT_CREATE, ids) == ids
        clock.forward(61)
        expire()
    pause(10.0)
    with reading() as conn:
        assert leases.suspects(conn, ids) == []
    clock.forward(11 + pauses.FIRST_SPREAD)
    with reading() as conn:
        assert leases.suspects(conn, ids) == ids


def test_what_is_paused_is_not_hinted_until_its_pause_ends_and_no_hint_is_counted(clock: DatabaseClock) -> None:
    ids = enqueued(jobs.PAYMENT_CREATE, 20)
    pause(30.0)
    for _ in range(5):
        clock.forward(5.9)
        assert hinted(100) == []
    found = list[str]()
    for _ in range(int(pauses.FIRST_SPREAD) + 1):
        clock.forward(1)
        now_hinted = hinted(100)
        found += now_hinted
        assert sorted(claimed(jobs.PAYMENT_CREATE, now_hinted)) == sorted(now_hinted)
    assert sorted(found) == sorted(ids)
    with reading() as conn:
        assert {shop.row(conn, job_id).hints for job_id in ids} == {2}  # the web's and one of the sweep's


def test_a_pause_that_is_extended_holds_back_what_was_to_be_hinted_at_its_first_end(clock: DatabaseClock) -> None:
    enqueued(jobs.PAYMENT_CREATE, 5)
    pause(10.0)
    clock.forward(6)
    assert hinted() == []
    pause(60.0)
    clock.forward(50)
    assert hinted() == []


def test_every_worker_hears_a_pause_the_moment_that_it_is_written(clock: DatabaseClock) -> None:
    ids = enqueued(jobs.PAYMENT_CREATE, 40)

    def take(number: int) -> list[str]:
        if number == 0:
            pause(60.0)
        return claimed(jobs.PAYMENT_CREATE, ids[number * 5 : number * 5 + 5])

    race(8, take)
    assert claimed(jobs.PAYMENT_CREATE, ids) == []


# -- the fence


@pytest.mark.parametrize("write", ["finish", "retry", "hold"])
def test_a_replaced_attempt_writes_nothing_not_even_beside(write: str, lost: Claim) -> None:
    with transaction() as conn:
        order = shop.place(conn)
    writes: dict[str, Callable[[Connection], None]] = {
        "finish": lambda conn: leases.finish(conn, lost, jobs.SUCCEEDED, [Note("no")], {"no": 1}),
        "retry": lambda conn: leases.retry(conn, lost, 5.0, "no", [Note("no")]),
        "hold": lambda conn: leases.hold(conn, lost),
    }

    def attempt() -> None:
        with transaction() as conn:
            orders.move(conn, order, orders.PAID)
            writes[write](conn)

    with reading() as conn:
        before = shop.row(conn, lost.job_id)[:-1]
    with pytest.raises(Fenced):
        attempt()
    with reading() as conn:
        assert shop.look(conn, order).status == orders.PENDING
        assert shop.row(conn, lost.job_id)[:-1] == before
        assert "no" not in [event.what for event in timeline.read(conn, lost.job_id)]


def test_the_second_attempt_writes_while_the_first_is_fenced_off(lost: Claim) -> None:
    [second] = claim([lost.job_id])
    with pytest.raises(Fenced), transaction() as conn:
        leases.finish(conn, lost, jobs.FAILED)
    with pytest.raises(Fenced), transaction() as conn:
        leases.retry(conn, lost, 1.0, "later")
    with transaction() as conn:
        leases.finish(conn, second, jobs.SUCCEEDED, result={"by": "second"})
    with pytest.raises(Fenced), transaction() as conn:
        leases.finish(conn, second, jobs.FAILED)  # once is enough
    with reading() as conn:
        assert shop.row(conn, lost.job_id).result == {"by": "second"}


def test_a_lease_that_ran_out_but_was_not_taken_still_counts(clock: DatabaseClock, job_id: str) -> None:
    [slow] = claim([job_id])
    clock.forward(600)
    with transaction() as conn:
        leases.finish(conn, slow, jobs.SUCCEEDED)
    assert expire() == []
    assert status(job_id) == jobs.SUCCEEDED


def test_holding_renews_the_lease(clock: DatabaseClock, job_id: str) -> None:
    [mine] = claim([job_id])
    clock.forward(50)
    with transaction() as conn:
        leases.hold(conn, mine)
    clock.forward(50)
    assert expire() == []
    clock.forward(11)
    assert expire() == [job_id]


def test_a_crash_before_the_commit_of_the_end_leaves_the_job_to_the_sweep(clock: DatabaseClock, job_id: str) -> None:
    [mine] = claim([job_id])
    with shop.dying() as conn:
        leases.finish(conn, mine, jobs.SUCCEEDED, result={"lost": 1})
    assert status(job_id) == jobs.RUNNING
    clock.forward(61)
    assert expire() == [job_id]
    assert [again.attempt for again in claim([job_id])] == [2]


# -- the end


@pytest.mark.parametrize("end", sorted(jobs.ENDED))
def test_an_ended_job_keeps_its_outcome_and_is_never_claimed_hinted_or_expired(
    end: str, clock: DatabaseClock, job_id: str
) -> None:
    [mine] = claim([job_id])
    with transaction() as conn:
        leases.finish(conn, mine, end, [Note("asked Stripe")], result={"id": 1}, error={"type": "x"})
    clock.forward(100_000)
    assert claim([job_id]) == claim([job_id], alone=True) == []
    assert expire() == hinted() == []
    with reading() as conn:
        row = shop.row(conn, job_id)
        told = [event.what for event in timeline.read(conn, job_id)]
    assert (row.status, row.result, row.error, row.lease_token) == (end, {"id": 1}, {"type": "x"}, None)
    assert row.finished_at is not None
    assert told == ["accepted", "asked Stripe", end]


@pytest.mark.parametrize("wrong", [jobs.QUEUED, jobs.RUNNING, "done"])
def test_a_job_does_not_end_in_a_state_that_is_no_end(wrong: str, job_id: str) -> None:
    [mine] = claim([job_id])
    with pytest.raises(ValueError, match=wrong), transaction() as conn:
        leases.finish(conn, mine, wrong)
    assert status(job_id) == jobs.RUNNING


def test_doubt_makes_a_finished_job_wait_for_a_person_and_keeps_its_result(job_id: str) -> None:
    [mine] = claim([job_id])
    with transaction() as conn:
        leases.finish(conn, mine, jobs.SUCCEEDED, result={"id": 1})
        leases.doubt(conn, mine, {"type": "needs-review"})
    with reading() as conn:
        row = shop.row(conn, job_id)
        told = [event.what for event in timeline.read(conn, job_id)]
    assert (row.status, row.result, row.error) == (jobs.NEEDS_REVIEW, {"id": 1}, {"type": "needs-review"})
    assert told[-2:] == [jobs.SUCCEEDED, jobs.NEEDS_REVIEW]


def test_a_finished_webhook_is_tied_to_the_order_that_it_was_about(job_id: str) -> None:
    [mine] = claim([job_id])
    order_id = new_id()
    with transaction() as conn:
        leases.finish(conn, mine, jobs.SUCCEEDED)
        leases.tie(conn, mine, "acme", order_id)
        assert [(job.id, job.account_id) for job in jobs.of_order(conn, order_id)] == [(job_id, "acme")]


# -- trying again


def test_a_job_that_was_put_back_runs_again_when_its_time_has_come(clock: DatabaseClock, job_id: str) -> None:
    [mine] = claim([job_id])
    with transaction() as conn:
        leases.retry(conn, mine, 30.0, "Stripe asked to wait", [Note("asked Stripe")])
    assert status(job_id) == jobs.QUEUED
    assert (claim([job_id]), hinted()) == ([], [])
    clock.forward(31)
    assert hinted() == [job_id]
    [again] = claim([job_id])
    assert (again.attempt, again.crashes) == (2, 0)
    with reading() as conn:
        told = timeline.read(conn, job_id)
    assert [event.what for event in told] == ["accepted", "asked Stripe", "retry"]
    assert told[-1].data == {"reason": "Stripe asked to wait", "delay": 30.0}


def test_an_attempt_that_tried_nothing_is_given_back(job_id: str) -> None:
    [mine] = claim([job_id])
    with transaction() as conn:
        leases.retry(conn, mine, 0.0, "401", spends_attempt=False)
    assert [again.attempt for again in claim([job_id])] == [1]


def test_a_bug_counts_as_a_crash_and_keeps_its_attempt(job_id: str) -> None:
    [mine] = claim([job_id])
    with transaction() as conn:
        leases.retry(conn, mine, 0.0, "bug: KeyError", crashed=True)
    assert [(again.attempt, again.crashes) for again in claim([job_id])] == [(2, 1)]


# -- leases that run out


def test_a_running_job_keeps_its_lease_until_it_is_over(clock: DatabaseClock, job_id: str) -> None:
    claim([job_id])
    clock.forward(58)
    assert expire() == []
    clock.forward(3)
    assert expire() == [job_id]
    assert expire() == []


def test_a_job_whose_worker_was_lost_is_due_and_hinted_at_once(lost: Claim) -> None:
    assert hinted() == [lost.job_id]
    assert [again.attempt for again in claim([lost.job_id])] == [2]
    with reading() as conn:
        event = timeline.read(conn, lost.job_id)[-1]
    assert (event.what, event.data) == ("lease expired", {"times": 1, "crashes": 0, "now": jobs.QUEUED})


def test_a_job_runs_in_company_until_its_second_lost_worker_and_alone_from_then_on(
    clock: DatabaseClock, job_id: str
) -> None:
    for _ in range(2):
        assert claim([job_id], alone=True) == []
        assert len(claim([job_id])) == 1
        clock.forward(61)
        assert expire() == [job_id]
    with transaction() as conn:
        [hint] = leases.due(conn, 10)
        assert hint.alone
        assert leases.suspects(conn, [job_id]) == [job_id]
    assert claim([job_id]) == []
    [alone] = claim([job_id], alone=True)
    assert alone.crashes == 0  # neither of the two could be blamed for it
    with reading() as conn:
        assert leases.suspects(conn, [job_id]) == []  # it runs


def test_a_poison_job_is_set_aside_at_its_third_crash_alone_and_condemns_no_neighbour(clock: DatabaseClock) -> None:
    with transaction() as conn:
        poison, *neighbours = shop.enqueued(conn, 5)
    for _ in range(2):
        assert len(claim([poison, *neighbours])) == 5
        clock.forward(61)
        assert len(expire()) == 5
    for crashes in (1, 2, 3):
        assert len(claim([poison], alone=True)) == 1
        clock.forward(61)
        assert expire() == [poison]
        with reading() as conn:
            assert shop.row(conn, poison).crashes == crashes
    with reading() as conn:
        row = shop.row(conn, poison)
        assert {shop.row(conn, job_id).crashes for job_id in neighbours} == {0}
        event = timeline.read(conn, poison)[-1]
    assert row.status == jobs.QUARANTINED
    assert row.error == leases.POISON.as_problem()
    assert row.finished_at is not None
    assert (event.what, event.data) == ("lease expired", {"times": 5, "crashes": 3, "now": jobs.QUARANTINED})
    assert not claimable(poison)
    assert poison not in hinted()


def test_bugs_and_crashes_alone_count_together(clock: DatabaseClock, job_id: str) -> None:
    for _ in range(2):
        [mine] = claim([job_id])
        with transaction() as conn:
            leases.retry(conn, mine, 0.0, "bug", crashed=True)
    for _ in range(2):
        claim([job_id])
        clock.forward(61)
        expire()
    assert status(job_id) == jobs.QUEUED
    claim([job_id], alone=True)
    clock.forward(61)
    expire()
    assert status(job_id) == jobs.QUARANTINED


def test_two_sweeps_that_race_expire_each_lease_once(clock: DatabaseClock) -> None:
    with transaction() as conn:
        ids = shop.enqueued(conn, 40)
    assert len(claim(ids)) == 40
    clock.forward(61)
    taken = race(6, lambda _: expire())
    assert sorted(chain(*taken)) == sorted(ids)
    with reading() as conn:
        assert {shop.row(conn, job_id).expiries for job_id in ids} == {1}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_sweep_does_not_wait_for_a_row_that_somebody_holds(clock: DatabaseClock) -> None:
    with transaction() as conn:
        held, free = shop.claimed(conn), shop.claimed(conn)
        [queued, other] = shop.enqueued(conn, 2)
    clock.forward(61)
    with transaction() as slow:
        leases.hold(slow, held)
        leases.claim(slow, CANARY.name, [queued])
        assert expire() == [free.job_id]
        assert sorted(hinted()) == sorted([other, free.job_id])


def test_a_sweep_takes_no_more_than_its_batch_and_the_longest_lost_first(clock: DatabaseClock) -> None:
    with transaction() as conn:
        first, second, third = shop.enqueued(conn, 3)
        for job_id, seconds in ((first, 60.0), (second, 20.0), (third, 40.0)):
            leases.claim(conn, CANARY.name, [job_id], seconds=seconds)
    clock.forward(61)
    for lost_for_longest in (second, third, first):
        with transaction() as conn:
            ignore_indexes(conn)
            assert leases.expire(conn, 1) == [lost_for_longest]


# -- hints


def test_a_hint_is_repeated_at_widening_distances(clock: DatabaseClock, job_id: str) -> None:
    for distance in (2, 4, 8, 16, 32, 60, 60):
        clock.forward(distance - 1)
        assert hinted() == []
        clock.forward(1.5)
        assert hinted() == [job_id]
        clock.forward(-0.5)


def test_a_job_that_is_put_back_is_hinted_at_short_distances_that_widen_as_well(
    clock: DatabaseClock, job_id: str
) -> None:
    [mine] = claim([job_id])
    with transaction() as conn:
        leases.retry(conn, mine, 100.0, "later")
    for distance in (100, 1, 2, 4, 8, 16, 32, 60, 60):
        clock.forward(distance - 1)
        assert hinted() == []
        clock.forward(1.5)
        assert hinted() == [job_id]
        clock.forward(-0.5)


@pytest.mark.parametrize(
    ("expiries", "distances"), [(1, (0, 0.5, 0.5, 0.5, 0.6, 0.8)), (2, (0, *[2.0] * 11, 2.2))], ids=["", "suspect"]
)
def test_a_job_whose_worker_was_lost_is_hinted_at_once_however_often_it_was_hinted_before_and_soon_again(
    clock: DatabaseClock, job_id: str, expiries: int, distances: tuple[float, ...]
) -> None:
    for _ in range(4):
        clock.forward(60)
        assert hinted() == [job_id]
    for _ in range(expiries):
        with transaction() as conn:
            leases.claim(conn, CANARY.name, [job_id], seconds=1.0)
        clock.forward(2)
        expire()
    for distance in distances:  # that hint may die with its reader as the job's worker did
        clock.forward(max(distance - 0.3, 0))
        assert not distance or hinted() == []
        clock.forward(0.5)
        assert hinted() == [job_id]
        clock.forward(-0.2)


@pytest.mark.parametrize(("hints", "distance"), [(50, 10), (190, 38), (1_000, 60)])
def test_without_workers_a_lost_job_is_hinted_less_and_less_often(
    clock: DatabaseClock, lost: Claim, hints: int, distance: float
) -> None:
    with transaction() as conn:
        conn.execute(update(jobs.jobs).values(hints=hints))
    assert hinted() == [lost.job_id]
    clock.forward(distance - 1)
    assert hinted() == []
    clock.forward(1.5)
    assert hinted() == [lost.job_id]


def test_a_job_that_was_told_to_wait_is_hinted_like_a_fresh_one_since_all_the_others_wait_as_well(
    clock: DatabaseClock, job_id: str
) -> None:
    [mine] = claim([job_id])
    with transaction() as conn:
        leases.retry(conn, mine, 100.0, "Stripe asked to wait", spends_attempt=False)
    for distance in (100, 2, 4, 8, 16, 32, 60, 60):
        clock.forward(distance - 1)
        assert hinted() == []
        clock.forward(1.5)
        assert hinted() == [job_id]
        clock.forward(-0.5)


def test_two_sweeps_that_race_hint_each_job_once(clock: DatabaseClock) -> None:
    with transaction() as conn:
        ids = shop.enqueued(conn, 40)
    clock.forward(6)
    assert sorted(chain(*race(6, lambda _: hinted(100)))) == sorted(ids)


def test_a_backlog_is_hinted_in_batches_the_longest_waiting_first(clock: DatabaseClock) -> None:
    with transaction() as conn:
        waiting = [shop.claimed(conn) for _ in range(3)]
        for mine, delay in zip(waiting, (3.0, 1.0, 2.0), strict=True):
            leases.retry(conn, mine, delay, "later")
    clock.forward(4)
    for longest_due in (waiting[1], waiting[2], waiting[0]):
        with transaction() as conn:
            ignore_indexes(conn)
            assert [hint.job_id for hint in leases.due(conn, 1)] == [longest_due.job_id]
    assert hinted() == []


def test_hinting_spends_no_attempt(clock: DatabaseClock, job_id: str) -> None:
    for _ in range(3):
        clock.forward(100)
        assert hinted() == [job_id]
    assert [one.attempt for one in claim([job_id])] == [1]


def test_a_hint_says_where_it_goes(clock: DatabaseClock) -> None:
    with transaction() as conn:
        [job_id] = shop.enqueued(conn, kind=jobs.REFUND_CREATE)
    clock.forward(6)
    with transaction() as conn:
        assert leases.due(conn, 1) == [leases.Hint(job_id, "refunds.create", "payments", alone=False)]


# -- an operator


@pytest.mark.parametrize("end", [jobs.QUARANTINED, jobs.NEEDS_REVIEW])
def test_an_operator_sends_a_waiting_job_back_with_a_clean_record(end: str, clock: DatabaseClock, job_id: str) -> None:
    for _ in range(2):
        claim([job_id])
        clock.forward(61)
        expire()
    [mine] = claim([job_id], alone=True)
    with transaction() as conn:
        leases.retry(conn, mine, 0.0, "bug", crashed=True)
    [mine] = claim([job_id], alone=True)
    assert mine.crashes == 1
    with transaction() as conn:
        leases.finish(conn, mine, end, error={"type": "x"})
    with transaction() as conn:
        assert leases.resume(conn, job_id, by="ada")
        assert not leases.resume(conn, job_id, by="ada")
    assert hinted() == [job_id]
    [again] = claim([job_id])
    assert again.crashes == 0
    with reading() as conn:
        row = shop.row(conn, job_id)
        event = timeline.read(conn, job_id)[-1]
    assert (row.error, row.finished_at, row.expiries) == (None, None, 0)
    assert (event.what, event.data) == ("resumed", {"by": "ada"})


@pytest.mark.parametrize("end", [None, jobs.SUCCEEDED, jobs.FAILED])
def test_no_other_job_can_be_sent_back(end: str | None, job_id: str) -> None:
    [mine] = claim([job_id])
    with transaction() as conn:
        if end:
            leases.finish(conn, mine, end)
        assert not leases.resume(conn, job_id, by="ada")
        assert not leases.resume(conn, new_id(), by="ada")
        assert not leases.resume(conn, "nonsense", by="ada")
        assert shop.row(conn, job_id).status == (end or jobs.RUNNING)


# -- the clock


@pytest.mark.parametrize("hours", [-30, 30])
def test_the_databases_clock_decides_however_far_the_processs_is_off(hours: int, clock: DatabaseClock) -> None:
    clock.forward(hours * 3600)
    with transaction() as conn:
        job_id, later = shop.enqueued(conn, 2)
    [mine] = claim([job_id])
    assert abs(clock.now() - mine.claimed_at) < timedelta(seconds=30)
    with transaction() as conn:
        leases.hold(conn, mine)
    assert expire() == []
    clock.forward(61)
    assert expire() == [job_id]
    assert sorted(hinted()) == sorted([job_id, later])
    [again] = claim([job_id])
    with transaction() as conn:
        leases.retry(conn, again, 10.0, "later")
    assert claim([job_id]) == []
    clock.forward(11)
    assert len(claim([job_id])) == 1


# -- what a crash can leave


def accepted_only(conn: Connection) -> str:
    return shop.enqueued(conn)[0]


def put_back(conn: Connection) -> str:
    mine = shop.claimed(conn)
    leases.retry(conn, mine, 1.0, "later")
    return mine.job_id


def lost_running(conn: Connection) -> str:
    return shop.claimed(conn).job_id


def lost_while_holding(conn: Connection) -> str:
    mine = shop.claimed(conn)
    leases.hold(conn, mine)
    return mine.job_id


def lost_twice(conn: Connection) -> str:
    mine = shop.claimed(conn)
    conn.exec_driver_sql(f"UPDATE jobs SET expiries = 1 WHERE lease_token = '{mine.token}'")
    return mine.job_id


def lost_alone(conn: Connection) -> str:
    mine = shop.claimed(conn)
    conn.exec_driver_sql(f"UPDATE jobs SET expiries = 2, alone = true, crashes = 1 WHERE id = '{mine.job_id}'")
    return mine.job_id


def sent_back(conn: Connection) -> str:
    mine = shop.claimed(conn)
    leases.finish(conn, mine, jobs.QUARANTINED)
    leases.resume(conn, mine.job_id, by="ada")
    return mine.job_id


@pytest.mark.parametrize(
    "left", [accepted_only, put_back, lost_running, lost_while_holding, lost_twice, lost_alone, sent_back]
)
def test_whatever_a_crash_leaves_the_sweep_brings_back_without_any_message(
    left: Callable[[Connection], str], clock: DatabaseClock
) -> None:
    with transaction() as conn:
        job_id = left(conn)
    clock.forward(leases.LEASE_SECONDS + 1)
    expire()
    assert hinted() == [job_id]
    assert claimable(job_id)
