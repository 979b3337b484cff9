from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from core import database
from core.database import transaction
from core.domain import jobs, pauses
from tests.web.shop import end_job
from web import health, hints
from web.hints import Publisher
from web.process import PerProcess


@pytest.fixture(autouse=True)
def started_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "STARTED", health.STARTED - 2 * health.GRACE)


def canary(finished: timedelta = timedelta()) -> None:
    with transaction() as conn:
        job_id = jobs.enqueue(conn, jobs.CANARY, {}).job_id
    end_job(job_id, result={})
    with transaction() as conn:
        conn.execute(update(jobs.jobs).values(finished_at=datetime.now(UTC) - finished))


def pause(name: str = pauses.STRIPE, seconds: float = 30.0, reason: str = "Stripe asks us to slow down") -> None:
    with transaction() as conn:
        pauses.pause(conn, name, seconds, reason, widen=False)


def overdue(kind: jobs.JobKind) -> None:
    with transaction() as conn:
        job_id = jobs.enqueue(conn, kind, {}).job_id
        long_ago = datetime.now(UTC) - timedelta(seconds=health.OVERDUE_LIMIT + 60)
        conn.execute(update(jobs.jobs).where(jobs.jobs.c.id == job_id).values(run_at=long_ago))


def ready(client: FlaskClient) -> tuple[int, dict[str, bool]]:
    response = client.get("/health/ready")
    body = response.get_json()
    assert body["status"] == ("ok" if response.status_code == 200 else "failing")
    return response.status_code, {name: check["ok"] for name, check in body["checks"].items()}


WELL = {"database": True, "broker": True, "worker": True, "jobs": True, "pauses": True}


def test_all_is_well_while_canaries_come_through(client: FlaskClient) -> None:
    canary()

    assert ready(client) == (200, WELL)


def test_the_process_is_alive_whatever_else_is_not(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")

    assert client.get("/health/live").status_code == 200


def test_a_worker_that_never_did_anything_is_red(client: FlaskClient) -> None:
    assert ready(client) == (503, {**WELL, "worker": False})


def test_a_worker_that_went_deaf_is_red(client: FlaskClient) -> None:
    canary(timedelta(seconds=health.CANARY_LIMIT + 1))

    assert ready(client) == (503, {**WELL, "worker": False})


def test_a_start_is_given_time(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "GRACE", 10_000.0)

    assert ready(client) == (200, WELL)


def test_a_job_that_is_long_overdue_is_red(client: FlaskClient) -> None:
    canary()
    overdue(jobs.PAYMENT_CREATE)

    assert ready(client) == (503, {**WELL, "jobs": False})


def test_what_is_paused_is_said_and_why_and_requests_are_still_welcome(client: FlaskClient) -> None:
    canary()
    pause()
    overdue(jobs.PAYMENT_CREATE)  # it waits for the end of the pause, which no restart and no other web can hasten

    response = client.get("/health/ready")

    assert (response.status_code, response.get_json()["status"]) == (200, "ok")
    detail = response.get_json()["checks"]["pauses"]["detail"]
    assert detail.startswith("stripe for 0 s: Stripe asks us to slow down")


def test_the_moment_that_a_long_pause_ends_what_waited_for_it_is_not_yet_overdue(client: FlaskClient) -> None:
    canary()
    pause(seconds=-pauses.FIRST_SPREAD - 1)
    overdue(jobs.PAYMENT_CREATE)

    assert ready(client) == (200, WELL)
    assert client.get("/health/ready").get_json()["checks"]["pauses"]["detail"] == "nothing is paused"


def test_a_pause_excuses_nothing_that_does_not_need_stripe(client: FlaskClient) -> None:
    canary()
    pause()
    overdue(jobs.WEBHOOK_PROCESS)

    assert ready(client) == (503, {**WELL, "jobs": False})


def test_the_pause_of_one_kind_excuses_no_other(client: FlaskClient) -> None:
    canary()
    pause(jobs.RECONCILE_OBJECTS.name)
    overdue(jobs.PAYMENT_CREATE)

    assert ready(client) == (503, {**WELL, "jobs": False})


def test_the_pause_of_one_key_is_said_and_sends_no_callers_away(client: FlaskClient) -> None:
    canary()
    pause(pauses.of_key("0a1b2c3d"))
    overdue(jobs.PAYMENT_CREATE)

    assert ready(client) == (200, WELL)
    detail = client.get("/health/ready").get_json()["checks"]["pauses"]["detail"]
    assert detail.startswith("stripe:0a1b2c3d for 0 s")


def test_a_broker_that_takes_nothing_is_red(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead:
        def send(self, kind: jobs.JobKind, ids: object) -> None:
            raise ConnectionError("nobody is there")

        def close(self) -> None:
            pass

    canary()
    monkeypatch.setattr(hints, "publisher", PerProcess(lambda: Publisher(Dead())))
    hints.publisher().hint(jobs.CANARY, "1")
    assert hints.publisher().flush(20)

    assert ready(client) == (503, {**WELL, "broker": False})


def test_a_database_that_is_away_is_red_and_hides_its_address(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hush@127.0.0.1:1/nothing")

    response = client.get("/health/ready")

    assert response.status_code == 503
    assert response.get_json()["checks"]["database"]["ok"] is False
    assert "hush" not in response.text
    database.dispose()
