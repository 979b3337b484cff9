"""The inbox: each event once, with its job, and a duplicate hints again what is not done."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from core.database import reading, transaction
from core.domain import jobs, leases, webhooks
from core.domain.jobs import Accepted
from tests.core.domain import shop
from tests.core.domain.racing import race

pytestmark = pytest.mark.usefixtures("database_url")


def receive(event_id: str = "evt_1", accepted: bool = True) -> Accepted | None:
    with transaction() as conn:
        return webhooks.receive(
            conn, event_id=event_id, type="payment_intent.succeeded", api_version="2026-10-28.endive", livemode=False,
            payload='{"id": "é"}', accepted=accepted, request=jobs.Request(id="req-1"),
        )  # fmt: skip


def count(table: str) -> int:
    with reading() as conn:
        return int(conn.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def test_an_event_is_stored_with_the_job_that_processes_it() -> None:
    accepted = receive()
    assert accepted is not None
    assert (accepted.kind, accepted.status, accepted.fresh) == (jobs.WEBHOOK_PROCESS, jobs.QUEUED, True)
    with reading() as conn:
        event = webhooks.get(conn, "evt_1")
        job = jobs.find(conn, accepted.job_id)
    assert (event.type, event.api_version, event.livemode) == ("payment_intent.succeeded", "2026-10-28.endive", False)
    assert (event.payload, event.status) == ('{"id": "é"}', webhooks.RECEIVED)
    assert job is not None
    assert (job.args, job.account_id, job.request_id) == ({"event_id": "evt_1"}, jobs.SYSTEM, "req-1")


def test_a_duplicate_hints_its_job_again_until_that_is_done() -> None:
    first = receive()
    assert first is not None
    assert receive() == Accepted(first.job_id, jobs.WEBHOOK_PROCESS, None, jobs.QUEUED, fresh=False)
    with transaction() as conn:
        [claim] = leases.claim(conn, first.kind.name, [first.job_id])
    running = receive()
    assert running is not None
    assert (running.job_id, running.status) == (first.job_id, jobs.RUNNING)
    with transaction() as conn:
        leases.finish(conn, claim, jobs.SUCCEEDED)
    assert receive() is None
    assert (count("webhook_events"), count("jobs")) == (1, 1)


def test_an_event_of_the_other_mode_is_stored_without_a_job_and_stays_so() -> None:
    assert receive(accepted=False) is None
    assert receive(accepted=False) is None
    with reading() as conn:
        assert webhooks.get(conn, "evt_1").status == webhooks.REJECTED
    assert count("jobs") == 0


def test_an_event_whose_transaction_was_lost_is_received_afresh() -> None:
    with shop.dying() as conn:
        webhooks.receive(
            conn, event_id="evt_1", type="t", api_version=None, livemode=False, payload="{}", accepted=True,
            request=jobs.Request(),
        )  # fmt: skip
    assert (count("webhook_events"), count("jobs")) == (0, 0)
    again = receive()
    assert again is not None
    assert again.fresh


def test_twenty_deliveries_of_one_event_make_one_job() -> None:
    answers = race(20, lambda _: receive())
    assert len({answer.job_id for answer in answers if answer}) == 1
    assert [answer.fresh for answer in answers if answer].count(True) == 1
    assert (count("webhook_events"), count("jobs")) == (1, 1)


@pytest.mark.parametrize("status", [webhooks.PROCESSED, webhooks.IGNORED, webhooks.FOREIGN, webhooks.UNMATCHED])
def test_an_event_keeps_what_became_of_it(status: str) -> None:
    receive("evt_1")
    receive("evt_2")
    with transaction() as conn:
        webhooks.close(conn, "evt_1", status, "why")
        assert webhooks.get(conn, "evt_1").status == status
        assert webhooks.get(conn, "evt_2").status == webhooks.RECEIVED
        row = conn.execute(select(webhooks.webhook_events).where(webhooks.webhook_events.c.id == "evt_1")).one()
        assert (row.detail, row.processed_at >= row.received_at) == ("why", True)


def test_the_database_knows_the_statuses() -> None:
    receive()
    with pytest.raises(IntegrityError), transaction() as conn:
        webhooks.close(conn, "evt_1", "forgotten")


def test_a_job_that_names_no_event_is_a_bug() -> None:
    with reading() as conn, pytest.raises(LookupError):
        webhooks.get(conn, "evt_none")


def test_what_was_rejected_under_a_wrong_key_is_taken_back_when_it_comes_again() -> None:
    assert receive(accepted=False) is None
    again = receive(accepted=True)
    assert again is not None
    assert again.fresh
    with reading() as conn:
        assert webhooks.get(conn, "evt_1").status == webhooks.RECEIVED
    assert (count("webhook_events"), count("jobs")) == (1, 1)
    third = receive(accepted=True)
    assert third is not None
    assert (third.job_id, third.fresh) == (again.job_id, False)


def test_many_deliveries_of_a_rejected_event_take_it_back_once() -> None:
    receive(accepted=False)
    taken = [one for one in race(8, lambda _: receive()) if one is not None]
    assert sum(one.fresh for one in taken) == 1
    assert count("jobs") == 1
