"""kill -9 of one program after another while orders are under way: each order is paid, and paid once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import update

from core import database
from core.domain.jobs import RUNNING, jobs
from stack.supervisor import Stack
from tests.e2e.service import supervised
from tests.e2e.shop import TOTAL, Shop, eventually

INTENTS = "/v1/payment_intents"
SLOW_SECONDS = 1.0
PROGRAMS = ["worker", "web", "beat", "simulator"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Stack]]:
    with supervised(tmp_path_factory.mktemp("crashes")) as (service, stack):
        yield Shop(service), stack


@pytest.mark.parametrize("programs", [*([one] for one in PROGRAMS), PROGRAMS], ids="+".join)
def test_an_order_is_paid_once_though_programs_are_killed(
    running: tuple[Shop, Stack], programs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, stack = running
    order_id = shop.order()["id"]
    client_secret = _check_out_while_killing(shop, stack, order_id, programs, monkeypatch)
    assert shop.pay(client_secret)["status"] == "succeeded"
    _kill(shop, stack, programs)  # while the webhook is on its way
    shop.until(order_id, "paid")
    assert shop.moved(order_id) == [("payment", TOTAL)]
    assert _intents_of(shop, order_id) == 1


def _check_out_while_killing(
    shop: Shop, stack: Stack, order_id: str, programs: list[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Kill once Stripe has made the PaymentIntent and before it has said so; then let the lost lease run out."""
    slow = {"kind": "latency", "method": "POST", "match": INTENTS, "when": "after", "seconds": SLOW_SECONDS, "next": 1}
    shop.stripe.control("/faults", requests=[slow])
    accepted = shop.checkout(order_id)
    assert accepted.status == 202
    eventually(lambda: _intents_of(shop, order_id), "Stripe made the PaymentIntent")
    _kill(shop, stack, programs)
    _let_leases_run_out(shop, monkeypatch)
    job = shop.job_done(accepted.body["job_id"])
    assert job["status"] == "succeeded", job
    client_secret: str = job["result"]["client_secret"]
    return client_secret


def _kill(shop: Shop, stack: Stack, programs: list[str]) -> None:
    pids = {program: eventually(partial(stack.pid, program), f"{program} runs") for program in programs}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(stack.pid(one) not in (None, pid) for one, pid in pids.items()), "all run again")
    eventually(lambda: shop.get("/health/live") and shop.stripe.control("/health", "GET"), "all answer again")


def _let_leases_run_out(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a minute would do: nobody has a right to the jobs that run."""
    monkeypatch.setenv("DATABASE_URL", shop.service.settings.database_url)
    try:
        with database.transaction() as conn:
            over = update(jobs).where(jobs.c.status == RUNNING).values(lease_expires_at=database.now_plus(-1))
            conn.execute(over)
    finally:
        database.dispose()


def _intents_of(shop: Shop, order_id: str) -> int:
    made = shop.stripe.get(INTENTS, limit=100)["data"]
    return sum(intent["metadata"].get("order_id") == order_id for intent in made)
