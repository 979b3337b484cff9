from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import pytest

from core import database
from core.database import transaction
from core.domain import jobs
from tests.web.shop import end_job
from web.waiting import Places, Watcher


@pytest.fixture
def watcher(database_url: str) -> Iterator[Watcher]:
    made = Watcher()
    yield made
    made.stop()


def make_job() -> str:
    with transaction() as conn:
        return jobs.enqueue(conn, jobs.CANARY, {}).job_id


def test_only_those_whose_job_ended_are_told(watcher: Watcher) -> None:
    ended, other = make_job(), make_job()
    with ThreadPoolExecutor(2) as pool:
        told = pool.submit(watcher.wait, ended, 20)
        not_told = pool.submit(watcher.wait, other, 0.3)
        end_job(ended)

        assert told.result() is True
        assert not_told.result() is False


def test_a_job_that_ended_before_is_noticed_at_once(watcher: Watcher) -> None:
    job_id = make_job()
    end_job(job_id)

    assert watcher.wait(job_id, 20) is True


def test_many_waits_ask_the_database_once_for_all(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = jobs.ended

    def counting(conn: object, ids: set[str]) -> set[str]:
        asked.append(len(ids))
        return real(conn, ids)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(jobs, "ended", counting)
    ids = [make_job() for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        waits = [pool.submit(watcher.wait, job_id, 20) for job_id in ids]
        until = monotonic() + 20
        while monotonic() < until and 10 not in asked:
            sleep(0.01)
        for job_id in ids:
            end_job(job_id)
        assert all(wait.result() for wait in waits)

    assert max(asked) == 10


def test_a_watcher_outlives_a_database_that_was_away(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    job_id = make_job()
    end_job(job_id)
    monkeypatch.setattr("web.waiting.AWAY_PAUSE", 0.01)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    assert watcher.wait(job_id, 0.2) is False
    monkeypatch.setenv("DATABASE_URL", database_url)

    assert watcher.wait(job_id, 20) is True
    database.dispose()


def test_a_place_is_given_back_whatever_happens() -> None:
    places = Places(1)

    def fail_inside() -> None:
        with places.take() as first, places.take() as second:
            assert (first, second) == (True, False)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()

    assert places.taken == 0


def test_a_place_that_is_given_back_twice_is_one_place() -> None:
    places = Places(1)
    leave = places.enter()
    assert leave
    leave()
    again = places.enter()

    leave()

    assert again
    assert places.taken == 1
