"""Stripe's news: doubled, late, in any order, about us or not; none of it moves money twice."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import select

from core.database import reading, transaction
from core.domain import jobs, orders, pauses, payments, refunds, webhooks
from core.domain import news as domain_news
from core.domain.orders import Order
from core.statements import is_postgresql
from tests.worker.conftest import SECRET_KEY
from tests.worker.crashes import KillAt
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe, fault
from worker.flows.webhook import SNOOZES

Event = dict[str, Any]

NOWHERE = "019b7a5e-0d3c-7a10-8a4e-5f1c2b3d4e5f"


def checked_out(shop: Shop, card: str | None = None, stripe: Stripe | None = None, total: int = 1050) -> Order:
    """An order whose PaymentIntent the customer has, and has perhaps used; no webhook came yet."""
    order = shop.order(total)
    shop.work(shop.checkout(order))
    if card and stripe:
        stripe.pay(shop.payment(order).payment_intent_id or "", card)
    return order


def of_type(stripe: Stripe, *types: str) -> list[Event]:
    """The events of those types, oldest first."""
    return [event for event in stripe.events() if event["type"] in types]


def altered(event: Event, *, id: str = "evt_altered", **changes: Any) -> Event:
    """The event with other values in its object."""
    return {**event, "id": id, "data": {"object": {**event["data"]["object"], **changes}}}


def news(shop: Shop, events: Iterable[Event]) -> None:
    """Webhooks come in and are worked off."""
    shop.hear(events)
    shop.work_off()


# -- the usual, doubled, and in any order


def test_the_news_that_it_was_paid_pays_the_order_once(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    news(shop, stripe.events())
    assert shop.look(order).status == orders.PAID
    assert shop.ledger(order) == [("payment", 1050)]
    assert shop.payment(order).charge_id


def test_ordinary_news_ends_on_postgresql_without_waiting_for_a_lock(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    ended = list[bool]()

    def counting(end: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any) -> Any:
            made = end(*given)
            ended.append(bool(made))
            return made

        return counted

    for name in ("pay", "close"):
        monkeypatch.setattr(domain_news, name, counting(vars(domain_news)[name]))
    events = stripe.events()
    news(shop, events)
    assert shop.look(order).status == orders.PAID
    assert ended == [is_postgresql()] * len(events)


def test_a_webhook_that_comes_five_times_is_one_event_and_one_job(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    for _ in range(5):
        shop.hear(of_type(stripe, "payment_intent.succeeded"))
    shop.work_off()
    news(shop, of_type(stripe, "payment_intent.succeeded"))
    assert len(shop.jobs_of(jobs.WEBHOOK_PROCESS)) == 1
    assert shop.ledger(order) == [("payment", 1050)]


def test_an_event_under_five_ids_pays_the_order_once(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    [event] = of_type(stripe, "payment_intent.succeeded")
    news(shop, [{**event, "id": f"evt_{number}"} for number in range(5)])
    assert shop.ledger(order) == [("payment", 1050)]
    assert shop.outcomes() == {webhooks.PROCESSED}


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_news_does_not_matter(shop: Shop, stripe: Stripe, seed: int) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=50)
    failing = stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    stripe.control(f"/refunds/{failing['id']}/fail")
    shuffled = stripe.events()
    random.Random(seed).shuffle(shuffled)
    for event in shuffled:
        news(shop, [event])
    assert shop.look(order).status == orders.PARTIALLY_REFUNDED
    assert sum(amount for kind, amount in shop.ledger(order) if kind == "refund") - 50 in (0, 100)
    reversed_ = sum(amount for kind, amount in shop.ledger(order) if kind == "refund_reversal")
    assert sum(amount for kind, amount in shop.ledger(order) if kind == "refund") - reversed_ == 50
    assert sorted(row.status for row in shop.refunds(order)) == [refunds.FAILED, refunds.SUCCEEDED]


@pytest.mark.parametrize("point", ["runner.claimed", "webhook.read", "webhook.applied", "runner.ended"])
def test_a_worker_that_dies_anywhere_applies_the_news_once(
    shop: Shop, stripe: Stripe, kill_at: KillAt, point: str
) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    shop.hear(of_type(stripe, "payment_intent.succeeded"))
    killed = kill_at(point)
    shop.work_off()
    assert killed == [point]
    assert shop.ledger(order) == [("payment", 1050)]
    assert shop.look(order).status == orders.PAID
    assert {job.status for job in shop.jobs_of(jobs.WEBHOOK_PROCESS)} == {jobs.SUCCEEDED}


def test_the_job_of_an_event_says_whose_order_it_was_about(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    news(shop, of_type(stripe, "payment_intent.succeeded"))
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    assert (job.account_id, job.order_id) == (order.account_id, order.id)


def test_a_succeeded_event_of_our_version_costs_no_call(shop: Shop, stripe: Stripe) -> None:
    checked_out(shop, "pm_card_visa", stripe)
    before = len(stripe.requests("GET", "/v1/payment_intents"))
    news(shop, of_type(stripe, "payment_intent.succeeded"))
    assert len(stripe.requests("GET", "/v1/payment_intents")) == before


# -- what an event says is a hint


def test_an_event_of_another_api_version_is_not_believed_but_asked_about(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop)
    [event] = of_type(stripe, "payment_intent.created")
    lie = altered(event, status="succeeded", amount_received=1050)
    news(shop, [{**lie, "type": "payment_intent.succeeded", "api_version": "2019-01-01"}])
    assert shop.look(order).status == orders.AWAITING_PAYMENT
    assert shop.ledger(order) == []
    stripe.pay(shop.payment(order).payment_intent_id or "")
    news(shop, [{**event, "id": "evt_2", "type": "payment_intent.succeeded", "api_version": None}])
    assert shop.look(order).status == orders.PAID


def test_news_of_a_failure_is_asked_about_and_the_decline_is_kept(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_chargeDeclinedInsufficientFunds", stripe)
    news(shop, stripe.events())
    row = shop.payment(order)
    assert row.status == payments.REQUIRES_PAYMENT
    assert "insufficient" in (row.detail or "")
    assert shop.look(order).status == orders.AWAITING_PAYMENT


def test_late_news_of_an_earlier_failure_does_not_undo_a_success(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_chargeDeclined", stripe)
    late = of_type(stripe, "payment_intent.payment_failed")
    stripe.pay(shop.payment(order).payment_intent_id or "")
    news(shop, of_type(stripe, "payment_intent.succeeded"))
    news(shop, late)
    assert shop.look(order).status == orders.PAID
    assert shop.ledger(order) == [("payment", 1050)]


def test_every_step_of_a_slow_payment_is_followed(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_authenticationRequired", stripe)
    intent = shop.payment(order).payment_intent_id
    news(shop, stripe.events())
    assert shop.payment(order).status == payments.REQUIRES_ACTION
    stripe.control(f"/payment_intents/{intent}/authenticate?outcome=failed")
    news(shop, stripe.events())
    assert shop.payment(order).status == payments.REQUIRES_PAYMENT
    stripe.pay(intent or "", "pm_usBankAccount_processing")
    news(shop, stripe.events())
    assert shop.payment(order).status == payments.PROCESSING
    stripe.control(f"/payment_intents/{intent}/settle")
    news(shop, stripe.events())
    assert shop.look(order).status == orders.PAID


def test_a_canceled_payment_lets_the_order_be_checked_out_again(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop)
    stripe.post(f"/v1/payment_intents/{shop.payment(order).payment_intent_id}/cancel")
    news(shop, stripe.events())
    assert (shop.payment(order).status, shop.look(order).status) == (payments.CANCELED, orders.PENDING)
    [job] = shop.work(shop.checkout(order))
    assert job.status == jobs.SUCCEEDED
    assert len(stripe.intents()) == 2


def test_money_that_arrives_after_a_cancellation_is_recorded(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop)
    stripe.pay(shop.payment(order).payment_intent_id or "")
    shop.change(shop.payment(order), status=payments.CANCELED)
    news(shop, of_type(stripe, "payment_intent.succeeded"))
    assert shop.look(order).status == orders.PAID
    assert shop.ledger(order) == [("payment", 1050)]


def test_money_of_two_payments_of_one_order_is_recorded_and_shown_to_a_person(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop)
    first = shop.payment(order)
    shop.change(first, status=payments.CANCELED)
    shop.work(shop.checkout(order))
    for intent in stripe.intents():
        stripe.pay(intent["id"])
    news(shop, of_type(stripe, "payment_intent.succeeded"))
    assert shop.ledger(order) == [("payment", 1050), ("payment", 1050)]
    assert jobs.NEEDS_REVIEW in {job.status for job in shop.jobs_of(jobs.WEBHOOK_PROCESS)}


# -- what does not match


@pytest.mark.parametrize(
    "lie",
    [{"amount": 1049}, {"amount_received": 1}, {"currency": "eur"}, {"livemode": True}],
    ids=lambda lie: next(iter(lie)),
)
def test_a_payload_that_contradicts_us_is_settled_by_stripe_itself(
    shop: Shop, stripe: Stripe, lie: dict[str, Any]
) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    [event] = of_type(stripe, "payment_intent.succeeded")
    news(shop, [altered(event, **lie)])
    assert shop.look(order).status == orders.PAID
    assert shop.ledger(order) == [("payment", 1050)]


@pytest.mark.parametrize("other", [{"amount": 1049}, {"currency": "eur"}], ids=lambda other: next(iter(other)))
def test_what_does_not_match_is_for_a_person_and_posts_nothing(
    shop: Shop, stripe: Stripe, other: dict[str, Any]
) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    shop.change(shop.payment(order), **other)
    news(shop, of_type(stripe, "payment_intent.succeeded"))
    assert shop.payment(order).status == payments.NEEDS_REVIEW
    assert shop.look(order).status == orders.AWAITING_PAYMENT
    assert shop.ledger(order) == []
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    assert job.status == jobs.NEEDS_REVIEW
    assert job.error is not None
    assert next(iter(other)) in job.error["detail"]


def test_a_second_payment_intent_with_our_payments_id_is_for_a_person(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop)
    row = shop.payment(order)
    stripe.post(
        "/v1/payment_intents", amount=1050, currency="usd", confirm="true", payment_method="pm_card_visa",
        **{"metadata[payment_id]": row.id},
    )  # fmt: skip
    news(shop, of_type(stripe, "payment_intent.succeeded"))
    assert shop.look(order).status == orders.AWAITING_PAYMENT
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    assert job.status == jobs.NEEDS_REVIEW


def test_an_event_about_another_accounts_order_touches_that_order_only(shop: Shop, stripe: Stripe) -> None:
    theirs = Shop(account_id="another")
    ours, other = checked_out(shop), checked_out(theirs, "pm_card_visa", stripe)
    news(shop, stripe.events())
    assert shop.look(ours).status == orders.AWAITING_PAYMENT
    assert theirs.look(other).status == orders.PAID
    paid = [job for job in shop.jobs_of(jobs.WEBHOOK_PROCESS) if job.order_id == other.id]
    assert {job.account_id for job in paid} == {"another"}


# -- not ours, or not yet


@pytest.mark.parametrize("type", ["payment_intent.succeeded", "charge.refunded", "refund.created"])
def test_what_carries_none_of_our_ids_is_somebody_elses(shop: Shop, stripe: Stripe, type: str) -> None:
    made = stripe.post(
        "/v1/payment_intents", amount=500, currency="usd", confirm="true", payment_method="pm_card_visa",
        **{"metadata[cart]": "42"},
    )  # fmt: skip
    stripe.post("/v1/refunds", payment_intent=made["id"])
    news(shop, of_type(stripe, type))
    assert shop.inbox() == {type: webhooks.FOREIGN}
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    assert (job.status, job.attempts) == (jobs.SUCCEEDED, 1)


def test_somebody_elses_dispute_and_unknown_types_are_no_concern_of_ours(shop: Shop, stripe: Stripe) -> None:
    stripe.post(
        "/v1/payment_intents", amount=500, currency="usd", confirm="true", payment_method="pm_card_visa"
    )  # fmt: skip
    stripe.control(f"/charges/{stripe.get('/v1/charges')['data'][0]['id']}/dispute")
    news(shop, of_type(stripe, "charge.dispute.created", "charge.succeeded"))
    assert shop.inbox() == {"charge.dispute.created": webhooks.FOREIGN, "charge.succeeded": webhooks.IGNORED}


def test_what_carries_our_ids_but_matches_nothing_is_waited_for_and_then_parked(shop: Shop, stripe: Stripe) -> None:
    stripe.post("/v1/payment_intents", amount=500, currency="usd", **{"metadata[payment_id]": NOWHERE})
    shop.hear(of_type(stripe, "payment_intent.created"))
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    for _ in range(SNOOZES):
        shop.make_due()
        shop.hint(job.kind, job.id)
        assert shop.job(job.id).status == jobs.QUEUED
    shop.work_off()
    parked = shop.job(job.id)
    assert (parked.status, parked.attempts) == (jobs.NEEDS_REVIEW, SNOOZES + 1)
    assert shop.inbox() == {"payment_intent.created": webhooks.UNMATCHED}


def test_what_was_parked_is_matched_when_an_operator_sends_it_back(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    row = shop.payment(order)
    shop.change(row, payment_intent_id="pi_lost_and_found")
    news(shop, of_type(stripe, "payment_intent.succeeded"))
    assert shop.outcomes() == {webhooks.UNMATCHED}
    shop.change(row, payment_intent_id=row.payment_intent_id)
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    shop.resume(job)
    shop.work_off()
    assert shop.outcomes() == {webhooks.PROCESSED}
    assert shop.look(order).status == orders.PAID


def test_a_doubt_that_an_operator_has_settled_is_not_applied_again(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    shop.change(shop.payment(order), amount=1049)
    news(shop, of_type(stripe, "payment_intent.succeeded"))
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    assert job.status == jobs.NEEDS_REVIEW
    shop.change(shop.payment(order), amount=1050)
    shop.resume(job)
    shop.work_off()
    assert shop.job(job.id).result == {"event_id": shop.job(job.id).args["event_id"], "outcome": webhooks.PROCESSED}
    assert shop.ledger(order) == []


def test_what_stripe_does_not_show_is_parked_for_a_person(shop: Shop, stripe: Stripe) -> None:
    checked_out(shop)
    [event] = of_type(stripe, "payment_intent.created")
    refund = {"id": "re_gone", "object": "refund", "payment_intent": event["data"]["object"]["id"], "metadata": {}}
    news(shop, [{**event, "type": "refund.created", "data": {"object": refund}}])
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    assert job.status == jobs.NEEDS_REVIEW
    assert job.error is not None
    assert "re_gone" in job.error["detail"]
    assert shop.inbox() == {"refund.created": webhooks.UNMATCHED}


def test_an_event_faster_than_our_own_row_waits_for_it(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    kill_at("charge.posted")
    shop.work(accepted)
    news(shop, of_type(stripe, "payment_intent.created"))
    assert shop.payment(order).payment_intent_id == stripe.intents()[0]["id"]
    assert shop.payment(order).client_secret


def test_news_of_a_payment_intent_that_we_know_costs_no_call(shop: Shop, stripe: Stripe) -> None:
    checked_out(shop)
    before = len(stripe.requests("GET", ""))
    shop.hear(of_type(stripe, "payment_intent.created"))
    shop.work_off()
    assert shop.inbox() == {"payment_intent.created": webhooks.PROCESSED}
    reads = [line for line in stripe.requests("GET", "")[before:] if line["path"] != "/v1/events"]
    assert reads == []


# -- refunds


def test_a_refund_made_in_the_dashboard_is_imported_once(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=50)
    types = ("charge.refunded", "refund.created", "charge.refund.updated", "refund.updated")
    for order_of_news in itertools.islice(itertools.permutations(of_type(stripe, *types)), 3):
        news(shop, order_of_news)
    [row] = shop.refunds(order)
    assert (row.status, row.amount) == (refunds.SUCCEEDED, 50)
    assert shop.ledger(order) == [("payment", 1050), ("refund", 50)]
    assert shop.look(order).status == orders.PARTIALLY_REFUNDED


def test_news_of_our_refund_that_comes_before_our_answer_is_our_refund(
    shop: Shop, stripe: Stripe, kill_at: KillAt
) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    kill_at("refund.posted")
    shop.work(accepted)
    news(shop, of_type(stripe, "charge.refunded", "refund.created"))
    [row] = shop.refunds(order)
    assert (row.status, row.stripe_refund_id) == (refunds.SUCCEEDED, stripe.refunds()[0]["id"])
    assert shop.job(accepted.job_id).status == jobs.SUCCEEDED
    assert shop.ledger(order) == [("payment", 1050), ("refund", 250)]


def test_more_refunds_than_money_is_for_a_person(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    shop.refund(order, 1000)
    stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    shop.hear(of_type(stripe, "charge.refunded"))
    for job in shop.jobs_of(jobs.WEBHOOK_PROCESS):
        shop.hint(job.kind, job.id)
    assert shop.jobs_of(jobs.WEBHOOK_PROCESS)[-1].status == jobs.NEEDS_REVIEW
    assert ("refund", 100) in shop.ledger(order)


def test_a_refund_that_is_told_before_its_payment_alarms_nobody(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=300)
    news(shop, of_type(stripe, "refund.created"))
    assert shop.jobs_of(jobs.WEBHOOK_PROCESS)[-1].status == jobs.SUCCEEDED
    assert (shop.look(order).status, shop.ledger(order)) == (
        orders.PARTIALLY_REFUNDED, [("payment", 1050), ("refund", 300)],
    )  # fmt: skip


def test_a_refund_in_place_of_one_that_failed_alarms_nobody(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    shop.work(shop.refund(order, 700))
    stripe.control(f"/refunds/{shop.refunds(order)[0].stripe_refund_id}/fail")
    instead = stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=800)
    made = [event for event in of_type(stripe, "refund.created") if event["data"]["object"]["id"] == instead["id"]]
    news(shop, made)
    assert shop.jobs_of(jobs.WEBHOOK_PROCESS)[-1].status == jobs.SUCCEEDED
    assert sorted((one.status, one.amount) for one in shop.refunds(order)) == [
        (refunds.FAILED, 700), (refunds.SUCCEEDED, 800),
    ]  # fmt: skip


# -- disputes


@pytest.mark.parametrize("won", [True, False])
def test_a_disputes_money_is_withdrawn_and_comes_back_only_when_it_is_won(
    shop: Shop, stripe: Stripe, won: bool
) -> None:
    order = shop.paid_order(stripe)
    dispute = stripe.control(f"/charges/{shop.payment(order).charge_id}/dispute")
    news(shop, stripe.events())
    assert (shop.look(order).disputed, shop.look(order).status) == (True, orders.PAID)
    assert shop.ledger(order) == [("payment", 1050), ("dispute_withdrawn", 1050)]
    stripe.control(f"/disputes/{dispute['id']}/close?outcome={'won' if won else 'lost'}")
    shuffled = stripe.events()
    random.Random(1).shuffle(shuffled)
    news(shop, shuffled)
    assert not shop.look(order).disputed
    assert shop.disputes(order)[0].status == ("won" if won else "lost")
    back = [("dispute_reinstated", 1050)] if won else []
    assert shop.ledger(order) == [("payment", 1050), ("dispute_withdrawn", 1050), *back]


def test_an_inquiry_moves_no_money(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    stripe.control(f"/charges/{shop.payment(order).charge_id}/dispute?inquiry=true")
    news(shop, stripe.events())
    assert shop.look(order).disputed
    assert shop.ledger(order) == [("payment", 1050)]


# -- when Stripe cannot be asked


@pytest.mark.parametrize("kind", ["reset", "error_500", "rate_limit_429", "unauthorized_401"])
def test_news_that_cannot_be_asked_about_is_kept(shop: Shop, stripe: Stripe, kind: str) -> None:
    order = checked_out(shop, "pm_card_chargeDeclined", stripe)
    events = of_type(stripe, "payment_intent.payment_failed")
    stripe.faults(fault(kind, "before", "/v1/payment_intents/*", method="GET"))
    shop.hear(events)
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    shop.hint(job.kind, job.id)
    assert (shop.job(job.id).status, shop.outcomes()) == (jobs.QUEUED, {webhooks.RECEIVED})
    shop.work_off()
    assert shop.outcomes() == {webhooks.PROCESSED}
    assert shop.payment(order).detail


def test_news_about_real_money_is_not_answered_from_test_data(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = checked_out(shop, "pm_card_chargeDeclined", stripe)
    events = of_type(stripe, "payment_intent.payment_failed")
    monkeypatch.setenv("STRIPE_ENABLED", "false")
    shop.hear(events)
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    shop.hint(job.kind, job.id)
    assert (shop.job(job.id).status, shop.payment(order).status) == (jobs.QUEUED, payments.REQUIRES_PAYMENT)
    monkeypatch.setenv("STRIPE_ENABLED", "true")
    shop.work_off()
    assert shop.outcomes() == {webhooks.PROCESSED}


def test_a_payload_that_we_cannot_read_is_set_aside_and_not_lost(shop: Shop, stripe: Stripe) -> None:
    checked_out(shop, "pm_card_visa", stripe)
    [event] = of_type(stripe, "payment_intent.succeeded")
    news(shop, [altered(event, status="a state of the future")])
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    assert job.status == jobs.QUARANTINED
    assert shop.outcomes() == {webhooks.RECEIVED}


# -- while Stripe is paused


def pause(seconds: float = 30.0, name: str = pauses.STRIPE) -> None:
    with transaction() as conn:
        pauses.pause(conn, name, seconds, "slow down", widen=True)


def hint_all(shop: Shop) -> None:
    for kind, job_id in shop.queued():
        shop.hint(kind, job_id)


def test_news_that_says_it_all_is_processed_while_stripe_is_paused(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    shop.hear(of_type(stripe, "payment_intent.succeeded"))
    pause()
    hint_all(shop)
    assert shop.look(order).status == orders.PAID


@pytest.mark.parametrize(
    "name", [pauses.STRIPE, jobs.WEBHOOK_PROCESS.name, pauses.of_key(sha256(SECRET_KEY.encode()).hexdigest()[:8])]
)
def test_news_that_must_be_read_again_waits_for_its_moment_after_the_pause_and_asks_nothing(
    name: str, shop: Shop, stripe: Stripe
) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    shop.hear([altered(event, amount=1) for event in of_type(stripe, "payment_intent.succeeded")])
    pause(name=name)
    asked = len(stripe.requests("GET", "/v1/payment_intents/"))
    hint_all(shop)
    [job] = shop.jobs_of(jobs.WEBHOOK_PROCESS)
    row = shop.row(job.id)
    assert (row.status, row.attempts) == (jobs.QUEUED, 0)
    with reading() as conn:
        until = conn.execute(select(pauses.pauses.c.until)).scalar_one()
    moment = until + timedelta(seconds=pauses.FIRST_SPREAD * int(job.id[-2:], 16) / 256)
    assert abs((row.run_at - moment).total_seconds()) < 1  # what passes between the look and the write
    assert len(stripe.requests("GET", "/v1/payment_intents/")) == asked
    shop.work_off()
    assert shop.look(order).status == orders.PAID


def test_news_waits_neither_for_another_key_nor_for_another_kind(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop, "pm_card_visa", stripe)
    shop.hear([altered(event, amount=1) for event in of_type(stripe, "payment_intent.succeeded")])
    pause(name=pauses.of_key("none"))
    pause(name=jobs.REFUND_CREATE.name)
    hint_all(shop)
    assert shop.look(order).status == orders.PAID


def test_news_that_waits_does_not_come_back_all_at_once(shop: Shop, stripe: Stripe) -> None:
    for number in range(8):
        checked_out(shop, "pm_card_visa", stripe, total=1000 + number)
    paid = of_type(stripe, "payment_intent.succeeded")
    shop.hear([altered(event, id=f"evt_{number}", amount=1) for number, event in enumerate(paid)])
    pause()
    hint_all(shop)
    due = sorted((shop.row(job.id).run_at, int(job.id[-2:], 16)) for job in shop.jobs_of(jobs.WEBHOOK_PROCESS))
    apart = pauses.FIRST_SPREAD * (max(share for _, share in due) - min(share for _, share in due)) / 256
    assert abs((due[-1][0] - due[0][0]).total_seconds() - apart) < 1
