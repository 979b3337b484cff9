"""What an operator sees and does: findings, jobs that were set aside, the proof."""

from __future__ import annotations

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import update

from core.database import now_plus, reading, transaction
from core.domain import findings, jobs, pauses
from core.proof import FEES, PAID, compare
from tests.web.shop import NOWHERE, Shop
from web.operate import shown


def run(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=list(arguments))


def find_something(account_id: str | None = "default") -> None:
    with transaction() as conn:
        findings.record(conn, findings.STATE_DIFFERS, "pi_1", {"local": "canceled"}, account_id=account_id)


def set_aside(status: str) -> str:
    with transaction() as conn:
        job_id = jobs.enqueue(conn, jobs.CANARY, {}).job_id
        conn.execute(update(jobs.jobs).where(jobs.jobs.c.id == job_id).values(status=status))
    return job_id


def test_findings_are_listed_to_an_operator(shop: Shop) -> None:
    find_something()
    [found] = shop.get("/findings").get_json()["findings"]
    assert (found["kind"], found["object_id"], found["status"]) == ("state_differs", "pi_1", "open")
    assert shop.get("/findings?status=repaired").get_json() == {"findings": []}
    assert len(shop.get("/findings?status=all").get_json()["findings"]) == 1


def test_another_accounts_findings_stay_its_own(shop: Shop) -> None:
    find_something("somebody")
    assert shop.get("/findings").get_json() == {"findings": []}


def test_an_unknown_status_is_refused(shop: Shop) -> None:
    assert shop.get("/findings?status=lost").status_code == 422


def test_a_finding_is_closed_once(app: Flask) -> None:
    find_something()
    listed = run(app, "findings", "list").stdout
    finding_id = listed.split()[0]
    assert "state_differs  pi_1" in listed
    assert run(app, "findings", "close", finding_id).exit_code == 0
    assert run(app, "findings", "list").stdout == ""
    assert "closed" in run(app, "findings", "list", "--status", "all").stdout
    assert run(app, "findings", "close", finding_id).exit_code == 1


@pytest.mark.parametrize("status", [jobs.QUARANTINED, jobs.NEEDS_REVIEW])
def test_a_job_that_was_set_aside_goes_back_to_the_queue(app: Flask, status: str) -> None:
    job_id = set_aside(status)
    assert f"{job_id}  maintenance.canary  {status}" in run(app, "jobs", "waiting").stdout
    assert run(app, "jobs", "resume", job_id, "--by", "ada").exit_code == 0
    with reading() as conn:
        job = jobs.find(conn, job_id)
    assert job is not None
    assert job.status == jobs.QUEUED
    assert run(app, "jobs", "waiting").stdout == ""
    assert run(app, "jobs", "resume", job_id, "--by", "ada").exit_code == 1


def test_what_is_paused_is_listed_with_what_waits(app: Flask) -> None:
    with transaction() as conn:
        pauses.pause(conn, pauses.of_key("0a1b2c3d"), 30.0, "Stripe does not accept our API key (401)", widen=False)
    [line] = run(app, "jobs", "waiting").stdout.splitlines()
    assert line.startswith("paused  stripe:0a1b2c3d  since 20")
    assert line.endswith("Stripe does not accept our API key (401)")


@pytest.mark.parametrize("arguments", [("jobs", "resume", NOWHERE, "--by", "ada"), ("findings", "close", "7")])
def test_what_is_not_there_is_said(app: Flask, arguments: tuple[str, ...]) -> None:
    answered = run(app, *arguments)
    assert answered.exit_code == 1
    assert len(answered.stderr.splitlines()) == 1


def test_with_stripe_off_nothing_can_be_proved(app: Flask) -> None:
    answered = run(app, "prove")
    assert (answered.exit_code, "STRIPE_ENABLED" in answered.stderr) == (1, True)


def test_with_nothing_moved_the_proof_holds() -> None:
    assert list(shown(compare({}, {}, {})))[-1] == "proved: all sides agree"


def test_a_difference_is_shown_with_all_its_sides() -> None:
    lines = list(shown(compare({}, {}, {(PAID, "pi_1", "usd"): 1000})))
    assert lines[-2:] == ["differs: paid pi_1 usd: ledger 0, rows 0, Stripe 1000", "not proved: 1 differ"]


def test_fees_that_are_not_posted_yet_are_said_and_no_difference() -> None:
    lines = list(shown(compare({}, {}, {}, {(FEES, "txn_1", "usd"): 60})))
    assert lines[-2:] == ["not posted yet: 1 fees, 60 usd", "proved: all sides agree"]


def test_a_database_that_is_away_is_said_in_one_line(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:////nowhere/at/all.db")
    for command in (("jobs", "waiting"), ("findings", "list")):
        answered = run(app, *command)
        assert (answered.exit_code, len(answered.stderr.splitlines())) == (1, 1)


def test_a_job_that_is_open_for_an_hour_is_listed_with_what_it_waits_for(app: Flask) -> None:
    with transaction() as conn:
        late, young = (jobs.enqueue(conn, jobs.CANARY, {}).job_id for _ in range(2))
        old = {"created_at": now_plus(-3601), "attempts": 7, "detail": "Stripe was not reached"}
        conn.execute(update(jobs.jobs).where(jobs.jobs.c.id == late).values(**old))
    listed = run(app, "jobs", "waiting").stdout
    assert listed.startswith(f"{late}  maintenance.canary  queued  order -  since ")
    assert listed.endswith("attempts 7: Stripe was not reached\n")
    assert young not in listed
