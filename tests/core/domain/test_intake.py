"""The inbox's door: on either database, from any state, what the plain transaction would have made of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Table, func, select

from core import statements
from core.database import reading, transaction
from core.domain import intake, jobs, leases, timeline, webhooks
from core.domain.intake import Delivery, take_in
from core.domain.jobs import Accepted
from tests.core.domain import shop
from tests.core.domain.racing import race

pytestmark = pytest.mark.usefixtures("database_url")
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
PARENT = f"00-{'1' * 32}-{'2' * 16}-01"


def delivery(event_id: str = "evt_1", **changes: Any) -> Delivery:
    given = {
        "type": "payment_intent.succeeded",
        "api_version": "2026-10-28.endive",
        "livemode": False,
        "payload": '{"id": "é", "quoted": "\\"\\\\ \\u0000", "a": [1, null], "b": "{x,y}"}',
        "request": jobs.Request(id="req-1", traceparent=PARENT, scope="POST /webhooks/stripe"),
        **changes,
    }
    return Delivery(event_id, **given)


def plainly(given: Delivery, accepted: bool) -> Accepted | None:
    with transaction() as conn:
        return webhooks.receive(
            conn, event_id=given.event_id, type=given.type, api_version=given.api_version, livemode=given.livemode,
            payload=given.payload, accepted=accepted, request=given.request,
        )  # fmt: skip


def left_by(event_id: str) -> list[list[dict[str, Any]]]:
    """All rows of an event, its job and that job's timeline, without what differs each time."""
    of_event = webhooks.webhook_events.c.id == event_id
    job_id = select(webhooks.webhook_events.c.job_id).where(of_event).scalar_subquery()
    with reading() as conn:
        found = [
            conn.execute(select(table).where(condition).order_by(table.c.id)).all()
            for table, condition in (
                (webhooks.webhook_events, of_event),
                (jobs.jobs, jobs.jobs.c.id == job_id),
                (timeline.job_events, timeline.job_events.c.job_id == job_id),
            )
        ]
    return [[{name: _alike(name, value) for name, value in row._asdict().items()} for row in rows] for rows in found]


def _alike(name: str, value: Any) -> Any:
    if name in ("id", "job_id", "at", "lease_token") or name.endswith("_at"):
        return value is not None
    return "its event" if name == "args" else value


def count(table: Table) -> int:
    with reading() as conn:
        return conn.execute(select(func.count()).select_from(table)).scalar_one()


def nothing(_: Delivery) -> None:
    """The event is new."""


def waits(given: Delivery) -> None:
    """It is there, and its job waits."""
    plainly(given, True)


def runs(given: Delivery) -> None:
    """Its job runs."""
    first = plainly(given, True)
    assert first is not None
    with transaction() as conn:
        leases.claim(conn, first.kind.name, [first.job_id])


def is_done(given: Delivery) -> None:
    """Its job is done."""
    first = plainly(given, True)
    assert first is not None
    with transaction() as conn:
        [claim] = leases.claim(conn, first.kind.name, [first.job_id])
        leases.finish(conn, claim, jobs.SUCCEEDED)


def was_rejected(given: Delivery) -> None:
    """It came before, to a deployment whose key was of the other mode."""
    plainly(given, False)


@pytest.mark.parametrize("accepted", [True, False], ids=["ours", "of the other mode"])
@pytest.mark.parametrize("before", [nothing, waits, runs, is_done, was_rejected])
def test_from_every_state_it_does_what_the_transaction_does(before: Callable[[Delivery], None], accepted: bool) -> None:
    one, other = delivery("evt_1"), delivery("evt_2")
    before(one)
    before(other)

    expected, answered = plainly(one, accepted), take_in(other, accepted)

    assert (expected is None) == (answered is None)
    if expected and answered:
        assert (answered.kind, answered.order_id, answered.status, answered.fresh) == (
            expected.kind, expected.order_id, expected.status, expected.fresh,
        )  # fmt: skip
    assert left_by("evt_2") == left_by("evt_1")


def test_it_is_due_at_once_and_the_sweep_leaves_the_first_hint_to_the_web() -> None:
    accepted = take_in(delivery(), True)
    assert accepted is not None
    with reading() as conn:
        made = shop.row(conn, accepted.job_id)
        [line] = timeline.read(conn, accepted.job_id)
    assert made.run_at == made.created_at <= made.clock
    assert made.hint_at - made.run_at == timedelta(seconds=jobs.FIRST_HINT_SECONDS)
    assert abs((line.at - made.created_at).total_seconds()) < 5


def test_its_job_is_the_one_that_the_event_names() -> None:
    accepted = take_in(delivery(), True)
    assert accepted is not None
    with reading() as conn:
        [event] = conn.execute(select(webhooks.webhook_events)).all()
        job = jobs.find(conn, accepted.job_id)
        [line] = timeline.read(conn, accepted.job_id)
    assert job is not None
    assert (event.job_id, event.payload) == (accepted.job_id, delivery().payload)
    assert (job.args, job.request_id) == ({"event_id": "evt_1"}, "req-1")
    assert (line.what, line.data) == ("accepted", {"kind": "webhooks.process"})


def test_what_may_be_missing_may_be_missing() -> None:
    assert take_in(delivery(api_version=None, request=jobs.Request()), True) is not None
    with reading() as conn:
        assert webhooks.get(conn, "evt_1").api_version is None


def test_many_deliveries_of_few_events_make_one_job_each() -> None:
    answers = race(24, lambda number: take_in(delivery(f"evt_{number % 4}"), True))
    assert len({answer.job_id for answer in answers if answer}) == 4
    assert [answer.fresh for answer in answers if answer].count(True) == 4
    assert [count(table) for table in (webhooks.webhook_events, jobs.jobs, timeline.job_events)] == [4, 4, 4]


@on_postgresql
def test_one_event_twice_in_a_statement_is_stored_once() -> None:
    given = [(f"019b7a5e-0d3c-7a10-8a4e-00000000000{number}", delivery()) for number in range(3)]
    assert intake._store(given) == [True, False, False]
    assert intake._store(given) == [False, False, False]
    assert count(jobs.jobs) == 1


@on_postgresql
def test_an_event_that_the_database_refuses_fails_alone() -> None:
    def send(number: int) -> object:
        wrong = {"api_version": "\0"} if number == 3 else {}
        try:
            return take_in(delivery(f"evt_{number}", **wrong), True)
        except Exception as error:  # noqa: BLE001 - whichever it is
            return error

    answers = race(8, send)

    assert [number for number, answer in enumerate(answers) if not isinstance(answer, Accepted)] == [3]
    assert count(webhooks.webhook_events) == 7


@on_postgresql
def test_a_connection_that_was_lost_loses_no_event(database_url: str) -> None:
    take_in(delivery("evt_1"), True)
    [(pid,)] = statements.run_statement("SELECT pg_backend_pid()", {})
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    assert take_in(delivery("evt_2"), True) is not None
    assert count(webhooks.webhook_events) == 2
