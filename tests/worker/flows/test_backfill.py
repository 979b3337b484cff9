"""Events that no webhook brought: walked page by page into the inbox, on from where a walk stopped."""

from __future__ import annotations

from typing import Any

import pytest

from core.clock import utcnow
from core.database import reading, transaction
from core.domain import cursors, jobs, orders, webhooks
from core.domain.jobs import Job
from core.payments import Payment
from tests.worker.crashes import KillAt
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe, fault
from worker.flows import backfill
from worker.flows.walk import OVERLAP


def walk(shop: Shop) -> Job:
    """One run of the job."""
    [job] = shop.work(shop.enqueue(jobs.RECONCILE_EVENTS))
    return job


def place() -> dict[str, Any]:
    with reading() as conn:
        return cursors.place(conn, backfill.CURSOR)


def move(to: dict[str, Any]) -> None:
    with transaction() as conn:
        cursors.move(conn, backfill.CURSOR, to)


def heard(shop: Shop) -> int:
    return len(shop.jobs_of(jobs.WEBHOOK_PROCESS))


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe answers with three events a page."""
    asked = Payment.list_events

    def three(self: Payment, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return asked(self, *args, **{**kwargs, "limit": 3})

    monkeypatch.setattr(Payment, "list_events", three)


def unheard_payment(shop: Shop, stripe: Stripe) -> orders.Order:
    """An order that was paid while every webhook was dropped."""
    order = shop.order()
    shop.work(shop.checkout(order))
    stripe.pay(shop.payment(order).payment_intent_id or "")
    return order


def test_dropped_webhooks_are_made_up_for(shop: Shop, stripe: Stripe) -> None:
    order = unheard_payment(shop, stripe)
    job = walk(shop)
    assert (job.status, job.result) == (jobs.SUCCEEDED, {"added": len(stripe.events())})
    shop.work_off()
    assert shop.look(order).status == orders.PAID
    assert shop.ledger(order) == [("payment", 1050)]


def test_what_webhooks_brought_is_not_stored_twice(shop: Shop, stripe: Stripe) -> None:
    unheard_payment(shop, stripe)
    shop.hear(stripe.events())
    before = heard(shop)
    assert walk(shop).result == {"added": 0}
    assert heard(shop) == before


def test_the_next_walk_starts_at_the_newest_event_less_an_overlap(shop: Shop, stripe: Stripe) -> None:
    unheard_payment(shop, stripe)
    stripe.later(1)
    stripe.post("/v1/customers", email="late@example.com")
    stripe.post("/v1/payment_intents", amount=500, currency="usd")
    walk(shop)
    newest = stripe.events()[-1]["created"]
    assert place() == {"since": newest - int(OVERLAP.total_seconds())}


def test_an_event_that_became_visible_late_is_found_by_the_overlap(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = unheard_payment(shop, stripe)
    asked = Payment.list_events

    def hiding(self: Payment, *args: Any, **kwargs: Any) -> dict[str, Any]:
        page = asked(self, *args, **kwargs)
        return {**page, "data": [event for event in page["data"] if event["type"] != "payment_intent.succeeded"]}

    with monkeypatch.context() as patch:
        patch.setattr(Payment, "list_events", hiding)
        walk(shop)
    shop.work_off()
    assert shop.look(order).status == orders.AWAITING_PAYMENT
    assert walk(shop).result == {"added": 1}
    shop.work_off()
    assert shop.look(order).status == orders.PAID


def test_a_quiet_shop_does_not_walk_back_in_time(shop: Shop, stripe: Stripe) -> None:
    walk(shop)
    first = place()
    walk(shop)
    assert place() == first
    assert "after" not in first


@pytest.mark.usefixtures("small_pages")
def test_a_long_walk_takes_all_pages(shop: Shop, stripe: Stripe) -> None:
    for _ in range(3):
        unheard_payment(shop, stripe)
    assert len(stripe.events()) > 9
    assert walk(shop).result == {"added": len(stripe.events())}


@pytest.mark.usefixtures("small_pages")
def test_a_walk_whose_time_is_up_goes_on_in_the_next_attempt(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "SECONDS_PER_RUN", 0.0)
    for _ in range(2):
        unheard_payment(shop, stripe)
    job = walk(shop)
    assert (job.status, job.attempts, heard(shop)) == (jobs.QUEUED, 0, 3)
    shop.work_off()
    assert shop.job(job.id).status == jobs.SUCCEEDED
    assert heard(shop) == len(stripe.events())


@pytest.mark.usefixtures("small_pages")
def test_a_walk_longer_than_one_attempt_goes_on_in_the_next(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PAGES_PER_RUN", 2)
    for _ in range(3):
        unheard_payment(shop, stripe)
    total = len(stripe.events())
    job = walk(shop)
    assert (job.status, job.attempts, heard(shop)) == (jobs.QUEUED, 0, 6)
    stopped = place()
    assert stopped["after"] == stripe.events()[-6]["id"]
    shop.work_off()
    assert shop.job(job.id).status == jobs.SUCCEEDED
    assert heard(shop) == total
    assert place()["since"] >= stopped["since"]


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("times", [1, 2])
def test_a_worker_that_dies_between_pages_loses_and_repeats_nothing(
    shop: Shop, stripe: Stripe, kill_at: KillAt, times: int
) -> None:
    unheard_payment(shop, stripe)
    unheard_payment(shop, stripe)
    killed = kill_at("backfill.page_kept", times)
    walk(shop)
    assert killed
    shop.work_off()
    assert heard(shop) == len(stripe.events())
    assert shop.ledger_lines() == 2


@pytest.mark.usefixtures("small_pages")
def test_events_that_happen_during_a_walk_are_left_to_the_next(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    unheard_payment(shop, stripe)
    kill_at("backfill.page_kept")
    walk(shop)
    order = unheard_payment(shop, stripe)
    shop.work_off()
    walk(shop)
    shop.work_off()
    assert shop.look(order).status == orders.PAID
    assert heard(shop) == len(stripe.events())


def test_a_place_that_stripe_has_forgotten_starts_the_walk_again(shop: Shop, stripe: Stripe) -> None:
    order = unheard_payment(shop, stripe)
    since = int(utcnow().timestamp()) - 3600
    move({"since": since, "until": since, "after": "evt_of_another_time"})
    walk(shop)
    shop.work_off()
    assert shop.look(order).status == orders.PAID
    assert "after" not in place()


def test_a_walk_that_stripe_refuses_fails_and_moves_nothing(shop: Shop, stripe: Stripe) -> None:
    move({"since": "nonsense"})
    assert walk(shop).status == jobs.FAILED
    assert place() == {"since": "nonsense"}


@pytest.mark.parametrize("kind", ["reset", "error_500", "rate_limit_429", "unauthorized_401"])
def test_a_stripe_in_trouble_is_asked_again(shop: Shop, stripe: Stripe, kind: str) -> None:
    unheard_payment(shop, stripe)
    stripe.faults(fault(kind, "before", "/v1/events", method="GET"))
    job = walk(shop)
    assert job.status == jobs.QUEUED
    shop.work_off()
    assert heard(shop) == len(stripe.events())


def test_events_of_the_other_mode_are_kept_but_not_worked_on(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = unheard_payment(shop, stripe)
    monkeypatch.setattr(Payment, "livemode", lambda self: True)
    assert walk(shop).result == {"added": 0}
    assert shop.outcomes() == {webhooks.REJECTED}
    assert shop.look(order).status == orders.AWAITING_PAYMENT


def test_with_stripe_off_nothing_is_walked_and_the_place_is_kept(shop: Shop) -> None:
    move({"since": 7})
    job = walk(shop)
    assert job.status == jobs.SUCCEEDED
    assert place() == {"since": 7}
