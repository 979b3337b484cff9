"""A walk over a list: page by page, on from where it stopped, and never forward over what it did not see."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core.clock import utcnow
from core.database import reading, transaction
from core.domain import cursors, jobs
from core.payments import PaymentRefused
from tests.worker.shop import Shop
from worker.flows.walk import OVERLAP, Walk
from worker.work import Work

DAY = 86_400


class Journal:
    """A list of Stripe's with two objects a page, newest first."""

    def __init__(self, *created: int) -> None:
        self.created = sorted(created, reverse=True)
        self.asked: list[tuple[str | None, int]] = []

    def __call__(self, starting_after: str | None, created_gte: int) -> dict[str, Any]:
        self.asked.append((starting_after, created_gte))
        found = [{"id": f"o_{at}", "created": at} for at in self.created if at >= created_gte]
        ids = [one["id"] for one in found]
        if starting_after is not None and starting_after not in ids:
            raise PaymentRefused("no such object", "resource_missing")
        start = ids.index(starting_after) + 1 if starting_after else 0
        return {"data": found[start : start + 2], "has_more": len(found) > start + 2}


@pytest.fixture
def work(shop: Shop) -> Work:
    """An attempt at a job that runs as long as the test."""
    works: list[Work] = []
    accepted = shop.enqueue(jobs.CANARY)
    shop.runner.run(accepted.kind.name, [accepted.job_id], works.append)
    return works[0]


def step(walk: Walk, most: int = 100) -> list[int]:
    """Take and keep so many pages; when the objects on them were made."""
    seen: list[int] = []
    for page in walk.pages(most):
        seen += [one["created"] for one in page]
        with transaction() as conn:
            walk.keep(conn)
    return seen


def place() -> dict[str, Any]:
    with reading() as conn:
        return cursors.place(conn, "list")


def put(**to: Any) -> None:
    with transaction() as conn:
        cursors.move(conn, "list", to)


def test_a_first_walk_goes_back_a_day_or_as_far_as_it_is_told(work: Work) -> None:
    now = int(utcnow().timestamp())
    journal = Journal(now - 2 * DAY, now - 3600)
    assert step(Walk(work, "list", journal)) == [now - 3600]
    put()
    assert step(Walk(work, "list", journal, lambda conn: now - 3 * DAY)) == [now - 3600, now - 2 * DAY]


def test_a_walk_of_several_pages_goes_on_in_another_attempt_and_moves_its_end_last(work: Work) -> None:
    put(since=1000)
    journal = Journal(*range(5000, 5007))
    first = Walk(work, "list", journal)
    assert step(first, 2) == [5006, 5005, 5004, 5003]
    assert first.unfinished
    assert place() == {"since": 1000, "until": 5006, "after": "o_5003"}
    journal.created.insert(0, 9000)  # made meanwhile: left to the next walk
    second = Walk(work, "list", journal)
    assert step(second) == [5002, 5001, 5000]
    assert not second.unfinished
    assert place() == {"since": 5006 - int(OVERLAP.total_seconds())}
    assert 9000 in step(Walk(work, "list", journal))


def test_a_page_that_was_not_kept_is_asked_for_again(work: Work) -> None:
    put(since=1000)
    journal = Journal(*range(5000, 5004))
    next(iter(Walk(work, "list", journal).pages(1)))
    assert place() == {"since": 1000}
    assert step(Walk(work, "list", journal)) == [5003, 5002, 5001, 5000]


def test_a_page_that_was_kept_in_part_goes_on_after_that_part(work: Work) -> None:
    put(since=1000)
    walk = Walk(work, "list", Journal(5000, 5001))
    next(iter(walk.pages(1)))
    with transaction() as conn:
        walk.keep(conn, 1)
    assert walk.unfinished
    assert place() == {"since": 1000, "until": 5001, "after": "o_5001"}
    assert step(Walk(work, "list", Journal(5000, 5001))) == [5000]
    assert place() == {"since": 5001 - int(OVERLAP.total_seconds())}


def test_no_page_follows_once_the_time_is_up(work: Work) -> None:
    put(since=1000)
    walk, pages = Walk(work, "list", Journal(*range(5000, 5007))), 0
    for _ in walk.pages(100, until=time.monotonic()):
        with transaction() as conn:
            walk.keep(conn)
        pages += 1
    assert (pages, walk.unfinished) == (1, True)


def test_a_walk_without_anything_new_moves_neither_on_nor_back(work: Work) -> None:
    put(since=1000)
    assert step(Walk(work, "list", Journal())) == []
    assert step(Walk(work, "list", Journal(1100))) == [1100]
    assert place() == {"since": 1000}


def test_a_walk_whose_place_is_gone_starts_again_and_a_refused_span_is_an_error(work: Work) -> None:
    put(since=1000, until=5000, after="o_gone")
    assert step(Walk(work, "list", Journal(5000, 4000))) == [5000, 4000]

    def refusing(**asked: Any) -> dict[str, Any]:
        raise PaymentRefused("created must be a time")

    with pytest.raises(PaymentRefused):
        step(Walk(work, "list", refusing))
