"""The door for one hot statement: its own transaction, prepared, and as available as a transaction is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any, LiteralString

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from core import database, statements
from core.database import DatabaseUnavailable, transaction
from core.domain import checkouts, endings, intake, leases, news, openings
from core.domain.leases import Claim
from core.ids import new_id
from core.statements import is_postgresql, run_statement
from tests.core.domain import shop
from tests.core.domain.racing import race

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
_BACKEND = "SELECT pg_backend_pid()"
_PUT = "INSERT INTO cursors (name, place, moved_at) VALUES (%(name)s, %(place)s, statement_timestamp())"
_NAMES = "SELECT name FROM cursors ORDER BY name"


def backend() -> int:
    return int(run_statement(_BACKEND, {})[0][0])


def kept_plan(sql: str) -> list[dict[str, Any]]:
    """The nodes of how PostgreSQL carries the statement out from its sixth time on, whatever its values."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)[sb]", sql)))
    numbered = re.sub(r"%\((\w+)\)[sb]", lambda found: f"${names.index(found[1]) + 1}", sql)
    with closing(statements._connected(database.engine())) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute(f"PREPARE hot AS {numbered}".encode())
        given = ", ".join("NULL" for _ in names)
        [[[found]]] = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE hot ({given})".encode()).fetchall()
    return list(nodes(found["Plan"]))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a plan and all beneath it."""
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


BY_KEY = ("uq_payments_live", "uq_payments_intent", "uq_jobs_idempotency", "ix_refunds_order")
BY_VALUE = re.compile(r"\((id|order_id|idempotency_key) = |\((id|payment_intent_id|name)\)::text = ")
DONE = {"users": "", "orders": "canceled", "payments": "canceled", "webhook_events": "processed", "jobs": "succeeded"}
"""Each table and the status of its rows."""


def after_a_quiet_night(url: str) -> None:
    """Many customers whose orders are done, counted while nobody was at work."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table, status in DONE.items():
            columns = [name for (name,) in connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,))]  # fmt: skip
            new = {
                "id": "gen_random_uuid()", "email_folded": "n::text", "payment_intent_id": "NULL", "reference": "NULL",
                "status": f"'{status}'", "lease_token": "NULL",
                "idempotency_key": "gen_random_uuid()::text", "idempotency_scope": "'scope'",
            }  # fmt: skip
            values = ", ".join(new.get(name, f'"{name}"') for name in columns)
            names = ", ".join(f'"{name}"' for name in columns)
            connection.execute(
                f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}, generate_series(1, 2000) AS n".encode()
            )
        connection.execute("ANALYZE")


def terminate(url: str, pid: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_it_says_which_database_it_is(database_url: str) -> None:
    assert is_postgresql() is database_url.startswith("postgresql")


@on_postgresql
@pytest.mark.usefixtures("database_url")
def test_a_statement_is_a_transaction_of_its_own_and_wrong_ones_change_nothing() -> None:
    assert run_statement(_PUT, {"name": "one", "place": {"at": 1}}) == []
    with pytest.raises(IntegrityError):
        run_statement(_PUT, {"name": "one", "place": {"at": 2}})
    with pytest.raises(DBAPIError):
        run_statement("SELECT nothing FROM cursors", {})
    assert run_statement(_NAMES, {}) == [("one",)]
    assert run_statement("SELECT place FROM cursors", {}) == [({"at": 1},)]


def take_in(event_id: str, type: str, seen: dict[str, Any]) -> Claim:
    """An event that came, whose job is under a lease."""
    payload = json.dumps({"data": {"object": seen}})
    event = intake.take_in(intake.Delivery(event_id, type, None, False, payload, shop.request()), True)
    assert event
    [claim] = leases.take(event.kind.name, [event.job_id])
    return claim


@on_postgresql
@pytest.mark.parametrize("counted", [False, True], ids=["when nobody has counted them", "after a quiet night"])
def test_a_plan_that_is_kept_while_the_tables_grow_finds_rows_by_their_keys(
    monkeypatch: pytest.MonkeyPatch, database_url: str, counted: bool
) -> None:
    ran: set[LiteralString] = set()

    def noted(sql: LiteralString, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        ran.add(sql)
        return run_statement(sql, params)

    for module in (openings, checkouts, endings, intake, leases, news):
        monkeypatch.setattr(module, "run_statement", noted)
    with transaction() as conn:
        order = shop.place(conn)
    accepted = openings.open_checkout(order.account_id, order.id, shop.request())
    assert accepted
    [claim] = leases.take(accepted.kind.name, [accepted.job_id])
    [(payment, _)] = checkouts.load([claim]).values()
    seen = shop.intent(payment)
    assert checkouts.end(claim, payment, seen, False, {}, [])
    paying, closing = take_in("evt_1", "payment_intent.succeeded", seen), take_in("evt_2", "charge.updated", seen)
    [told, _] = news.load([paying, closing]).values()
    assert told.payment
    paid = shop.intent(told.payment, "succeeded")
    assert news.pay(paying, told.event.id, told.payment, paid, False, {}, []) == order.user_id
    assert news.close(closing, "evt_2", None, "ignored", {}, [])

    assert len(ran) == 10
    if counted:
        after_a_quiet_night(database_url)
    for node in (node for sql in ran for node in kept_plan(sql)):
        assert node["Node Type"] not in ("Seq Scan", "Hash Join", "Merge Join"), node
        if "Index Name" in node:
            assert node["Index Name"].startswith(("pk_", *BY_KEY)), node
            assert BY_VALUE.search(node.get("Index Cond", "")), node


@on_postgresql
@pytest.mark.usefixtures("database_url")
def test_ids_are_text_and_moments_are_aware() -> None:
    job_id, moment = new_id(), datetime(2026, 1, 1, tzinfo=UTC)
    sql = "SELECT %(id)s::uuid, %(at)s::timestamptz, %(ids)s::uuid[], %(none)s::text"
    [(one, at, many, none)] = run_statement(sql, {"id": job_id, "at": moment, "ids": [job_id], "none": None})
    assert (one, at, many, none) == (job_id, moment, [job_id], None)
    assert at.utcoffset() == timedelta(0)


@on_postgresql
@pytest.mark.usefixtures("database_url")
def test_a_statement_is_prepared_at_its_first_use_and_its_values_are_not_shown_in_errors() -> None:
    found = run_statement("SELECT count(*) FROM pg_prepared_statements", {})
    assert found == [(1,)]
    with pytest.raises(DBAPIError) as refused:
        run_statement("SELECT %(secret)s::text FROM nowhere", {"secret": "hush"})
    assert "hush" not in str(refused.value)


@on_postgresql
@pytest.mark.usefixtures("database_url")
def test_a_session_is_in_utc_and_bounded_as_those_of_the_engine() -> None:
    sql = "SELECT name, setting FROM pg_settings WHERE name = ANY(%(names)s)"
    found = run_statement(sql, {"names": ["TimeZone", "statement_timeout", "lock_timeout"]})
    assert dict(found) == {"TimeZone": "UTC", "statement_timeout": "30000", "lock_timeout": "10000"}


@on_postgresql
def test_connections_that_were_lost_cost_one_statement_each_at_most(database_url: str) -> None:
    found = race(4, lambda _: run_statement("SELECT pg_backend_pid(), pg_sleep(0.05)", {})[0][0])
    assert len(set(found)) == 4
    for pid in found:
        terminate(database_url, pid)
    with pytest.raises(DatabaseUnavailable):
        backend()
    assert backend() not in found  # the first loss was told to the others


@on_postgresql
def test_a_statement_that_is_cut_off_is_unavailable(database_url: str) -> None:
    pid, raised = backend(), list[BaseException]()

    def sleep() -> None:
        try:
            run_statement("SELECT pg_sleep(20)", {})
        except DatabaseUnavailable as error:
            raised.append(error)

    asleep = Thread(target=sleep)
    asleep.start()
    with psycopg.connect(database_url, autocommit=True) as watcher:
        watching = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
        while watcher.execute(watching, (pid,)).fetchone() is None:
            Event().wait(0.01)
    terminate(database_url, pid)
    asleep.join(10)
    assert len(raised) == 1
    assert backend() != pid


@on_postgresql
def test_a_database_that_is_not_there_is_unavailable(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{database_url}_not")
    with pytest.raises(DatabaseUnavailable):
        backend()


@on_postgresql
@pytest.mark.usefixtures("database_url")
def test_a_row_that_stays_locked_is_unavailable_and_the_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "POSTGRES_SESSION", f"{database.POSTGRES_SESSION} -c lock_timeout=50ms")
    run_statement(_PUT, {"name": "one", "place": {}})
    pid = backend()
    with database.transaction() as conn:
        conn.exec_driver_sql("UPDATE cursors SET place = '{}'")
        with pytest.raises(DatabaseUnavailable):
            run_statement("DELETE FROM cursors", {})
    assert backend() == pid


@on_postgresql
@pytest.mark.usefixtures("database_url")
def test_who_finds_every_connection_in_use_waits_and_then_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_pool_size", 2)
    race(6, lambda _: run_statement("SELECT pg_sleep(0.02)", {}))
    assert run_statement("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()", {})[0][0] <= 2
    monkeypatch.setattr(statements, "POOL_TIMEOUT_SECONDS", 0.01)

    def late(_: int) -> bool:
        try:
            run_statement("SELECT pg_sleep(0.3)", {})
        except DatabaseUnavailable as error:
            return "no database connection" in error.detail
        return False

    assert sorted(race(3, late)) == [False, False, True]
    assert backend()


@on_postgresql
@pytest.mark.usefixtures("database_url")
def test_disposing_closes_what_is_idle_now_and_what_is_in_use_when_it_comes_back() -> None:
    pid = backend()
    used = Thread(target=lambda: run_statement("SELECT pg_sleep(0.2)", {}))
    used.start()
    Event().wait(0.05)
    database.dispose()
    used.join(10)
    other = backend()
    assert other != pid
    alive = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    for _ in range(500):
        if run_statement(alive, {}) == [(1,)]:
            break
        Event().wait(0.01)
    assert run_statement(alive, {}) == [(1,)]


@on_postgresql
@pytest.mark.usefixtures("database_url")
def test_a_forked_child_has_connections_of_its_own_and_leaves_the_parents_alone() -> None:
    mine = backend()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(backend()).encode())
            database.dispose()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        theirs = json.loads(answer.read())
    os.waitpid(child, 0)
    assert theirs != mine
    assert backend() == mine
