"""Checkout, from every state that a crash or a lost answer can leave."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import update

from core import payment
from core.database import transaction
from core.domain import customers, jobs, orders, payments
from core.domain.customers import users
from core.domain.jobs import Accepted, Job
from core.domain.orders import Order
from core.payments import PaymentRefused
from tests.worker.crashes import KillAt
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe, fault, page_slowly
from worker.work import STOPPING_SECONDS

INTENTS = "/v1/payment_intents"

CRASH_POINTS = [
    "runner.claimed",
    "charge.customer_made",
    "charge.customer_kept",
    "charge.frozen",
    "charge.posted",
    "runner.ended",
]
LOST_ANSWERS = [
    ("reset", "before"),
    ("reset", "after"),
    ("reset_mid_body", "after"),
    ("timeout", "before"),
    ("timeout", "after"),
    ("error_500", "before"),
    ("error_500", "after"),
]


def assert_checked_out_once(shop: Shop, stripe: Stripe, order: Order, job: Job) -> None:
    """One PaymentIntent at Stripe, and it is what the customer was told."""
    assert job.status == jobs.SUCCEEDED, job.error
    assert job.result is not None
    [intent] = stripe.intents()
    assert (intent["id"], intent["client_secret"]) == (job.result["payment_intent_id"], job.result["client_secret"])
    assert (intent["amount"], intent["metadata"]["order_id"]) == (order.total, order.id)
    row = shop.payment(order)
    assert (row.status, row.payment_intent_id) == (payments.REQUIRES_PAYMENT, intent["id"])
    assert shop.look(order).status == orders.AWAITING_PAYMENT


@contextmanager
def told_meanwhile(shop: Shop, stripe: Stripe, kill_at: KillAt, order: Order, card: str) -> Iterator[None]:
    """Stripe made the PaymentIntent, the customer used it, and webhooks came before our own answer was stored."""
    accepted = shop.checkout(order)
    kill_at("charge.posted")
    shop.work(accepted)
    stripe.pay(stripe.intents()[0]["id"], card)
    yield
    shop.work_off()
    assert len(stripe.intents()) == 1


# -- the usual


def test_a_checkout_makes_one_payment_intent_and_hands_out_its_client_secret(shop: Shop, stripe: Stripe) -> None:
    order = shop.order(1050)
    [job] = shop.work(shop.checkout(order))
    assert job.result is not None
    assert job.result["client_secret"].startswith(job.result["payment_intent_id"])
    assert (job.result["total"], job.result["currency"]) == (1050, "usd")
    assert "test_mode" not in job.result
    assert_checked_out_once(shop, stripe, order, job)


def test_the_timeline_says_what_happened_and_names_stripes_requests(shop: Shop, stripe: Stripe) -> None:
    accepted = shop.checkout(shop.order())
    shop.work(accepted)
    assert shop.told(accepted.job_id) == ["accepted", "claimed", "Stripe answered", "Stripe answered", "succeeded"]


def test_a_paid_order_is_paid_refunded_in_part_and_then_in_full(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, 1050)
    [part] = shop.work(shop.refund(order, 250))
    assert part.status == jobs.SUCCEEDED, part.error
    assert shop.look(order).status == orders.PARTIALLY_REFUNDED
    [rest] = shop.work(shop.refund(order))
    assert rest.result is not None
    assert rest.result["amount"] == 800
    assert shop.look(order).status == orders.REFUNDED
    assert sum(movement["amount"] for movement in stripe.moved("refund")) == -1050
    shop.hear(stripe.events())
    shop.work_off()
    assert shop.look(order).status == orders.REFUNDED
    assert len(shop.refunds(order)) == 2


@pytest.mark.parametrize(("total", "currency"), [(50, "usd"), (99_999_999, "eur"), (500, "jpy"), (12_340, "kwd")])
def test_stripe_is_asked_for_the_orders_minor_units(shop: Shop, stripe: Stripe, total: int, currency: str) -> None:
    order = shop.order(total, currency)
    [job] = shop.work(shop.checkout(order))
    assert job.status == jobs.SUCCEEDED, job.error
    [intent] = stripe.intents()
    assert (intent["amount"], intent["currency"]) == (total, currency)


def test_a_customer_of_two_orders_is_one_customer_at_stripe(shop: Shop, stripe: Stripe) -> None:
    shop.work(shop.checkout(shop.order()), shop.checkout(shop.order()))
    first, second = stripe.intents()
    assert first["customer"] == second["customer"]
    assert len(stripe.get("/v1/customers")["data"]) == 1


# -- twice


def test_a_hint_that_comes_twice_does_the_work_once(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    shop.work(accepted)
    [job] = shop.work(accepted)
    assert job.attempts == 1
    assert_checked_out_once(shop, stripe, order, job)


def test_two_keyed_requests_for_one_order_share_its_payment_intent(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    first, second = shop.work(shop.checkout(order, "one"), shop.checkout(order, "two"))
    assert first.id != second.id
    assert first.result == second.result
    assert_checked_out_once(shop, stripe, order, second)


def test_two_keyed_requests_that_run_at_the_same_time_share_it_too(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    both = shop.checkout(order, "one"), shop.checkout(order, "two")
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(shop.work, both))
    shop.work_off()  # one of them may have been told to come back: the key was in use
    first, second = [shop.job(one.job_id) for one in both]
    assert first.result == second.result
    assert_checked_out_once(shop, stripe, order, second)


def test_two_orders_of_a_new_customer_at_the_same_time_give_it_one_stripe_customer(shop: Shop, stripe: Stripe) -> None:
    both = [shop.checkout(shop.order()) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(shop.work, both))
    shop.work_off()
    assert len({intent["customer"] for intent in stripe.intents()}) == 1


# -- crashes


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_worker_that_dies_anywhere_leaves_one_payment_intent(
    shop: Shop, stripe: Stripe, kill_at: KillAt, point: str
) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    killed = kill_at(point)
    shop.work(accepted)
    assert killed == [point]
    shop.work_off()
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))
    assert len(stripe.get("/v1/customers")["data"]) == 1
    assert stripe.keys(INTENTS) == [shop.payment(order).idempotency_key]


def test_dying_three_times_in_a_row_leaves_one_payment_intent(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    killed = kill_at("charge.posted", times=3)
    shop.work(accepted)
    shop.work_off()
    assert len(killed) == 3
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))


def test_dying_while_the_loss_of_an_answer_is_noted_leaves_one_payment_intent(
    shop: Shop, stripe: Stripe, kill_at: KillAt
) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault("reset", "after", INTENTS))
    killed = kill_at("charge.unknown")
    shop.work(accepted)
    assert killed
    assert shop.payment(order).status == payments.UNKNOWN
    shop.work_off()
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))


# -- lost answers


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("kind", "when"), LOST_ANSWERS)
def test_a_lost_answer_is_unknown_until_the_same_key_answers(shop: Shop, stripe: Stripe, kind: str, when: str) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault(kind, when, INTENTS, seconds=20.0))
    while not stripe.fired():  # a slow machine may lose an earlier answer to the same impatience
        shop.make_due()
        shop.work(accepted)
    job = shop.job(accepted.job_id)
    assert (job.status, shop.payment(order).status) == (jobs.QUEUED, payments.UNKNOWN)
    assert len(stripe.intents()) == (1 if when == "after" else 0)
    shop.work_off()
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))
    assert stripe.keys(INTENTS) == [shop.payment(order).idempotency_key]


@pytest.mark.parametrize("kind", ["reset", "error_500"])
def test_answers_that_are_lost_again_and_again_still_end_in_one_payment_intent(
    shop: Shop, stripe: Stripe, kind: str
) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault(kind, "before", INTENTS, next=2), fault(kind, "after", INTENTS, next=3))
    shop.work_off()
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))


@pytest.mark.parametrize(("kind", "when"), [("reset", "before"), ("reset", "after"), ("error_500", "before")])
def test_a_lost_answer_about_the_customer_makes_no_second_customer(
    shop: Shop, stripe: Stripe, kind: str, when: str
) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault(kind, when, "/v1/customers"))
    [job] = shop.work(accepted)
    assert (job.status, shop.payment(order).status) == (jobs.QUEUED, payments.CREATING)
    shop.work_off()
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))
    assert len(stripe.get("/v1/customers")["data"]) == 1


def test_an_error_that_stripe_keeps_for_the_customers_key_does_not_stop_the_checkout(
    shop: Shop, stripe: Stripe
) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault("error_500", "after", "/v1/customers"))
    shop.work_off()
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))


def test_a_customers_key_that_was_used_otherwise_does_not_stop_the_checkout(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    with transaction() as conn:
        conn.execute(update(users).values(full_name="Augusta Ada King"))
    stripe.post_keyed("/v1/customers", f"customer:{order.user_id}", email="ada@example.com")
    [job] = shop.work(accepted)
    assert_checked_out_once(shop, stripe, order, job)


def test_an_error_that_stripe_replays_advances_the_epoch_when_nothing_was_made(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault("error_500", "after", INTENTS))
    shop.work(accepted)
    [made] = stripe.intents()
    # What was made is not of this payment: as if the error had come before the effect.
    stripe.post(f"{INTENTS}/{made['id']}", **{"metadata[payment_id]": "another"})
    shop.make_due()
    [job] = shop.work(accepted)
    row = shop.payment(order)
    assert (job.status, row.status, row.epoch, row.params) == (jobs.QUEUED, payments.UNKNOWN, 1, None)
    shop.work_off()
    assert shop.payment(order).status == payments.REQUIRES_PAYMENT
    assert stripe.keys(INTENTS)[:2] == [f"payment:{row.id}:0", f"payment:{row.id}:1"]


def test_an_error_that_stripe_replays_keeps_the_epoch_when_something_was_made(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault("error_500", "after", INTENTS))
    shop.work_off()
    assert shop.payment(order).epoch == 0
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))


# -- old keys


def test_a_key_of_yesterday_is_not_posted_again_but_looked_for(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault("reset", "after", INTENTS))
    shop.work(accepted)
    posts = len(stripe.requests("POST", INTENTS))
    shop.age(23.5)
    shop.work_off()
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))
    assert len(stripe.requests("POST", INTENTS)) == posts
    assert shop.payment(order).epoch == 0


def test_a_key_of_yesterday_that_made_nothing_is_replaced_by_a_new_one(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault("reset", "before", INTENTS))
    shop.work(accepted)
    shop.age(25)
    shop.work_off()
    assert shop.payment(order).epoch == 1
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))


def test_a_key_that_waited_a_day_for_its_first_use_looks_first_too(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    shop.age(30)
    shop.work(accepted)
    assert stripe.requests("POST", INTENTS) == []
    shop.work_off()
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))


# -- told to wait


@pytest.mark.parametrize(
    ("kind", "attempts", "least"), [("in_use_409", 1, 0.9), ("rate_limit_429", 0, 7.0), ("unauthorized_401", 0, 30.0)]
)
def test_who_is_told_to_wait_waits_and_nothing_is_unknown(
    shop: Shop, stripe: Stripe, kind: str, attempts: int, least: float
) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault(kind, "before", INTENTS, retry_after=7))
    [job] = shop.work(accepted)
    row = shop.row(accepted.job_id)
    assert (job.status, job.attempts, shop.payment(order).status) == (jobs.QUEUED, attempts, payments.CREATING)
    assert least < (row.run_at - row.clock).total_seconds() + 1 < least * 1.2 + 2
    shop.work_off()
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))


def test_a_stripe_that_is_not_there_is_no_failure(shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    monkeypatch.setenv("STRIPE_API_BASE", "http://127.0.0.1:1")
    [job] = shop.work(accepted)
    assert (job.status, shop.payment(order).status) == (jobs.QUEUED, payments.CREATING)
    monkeypatch.setenv("STRIPE_API_BASE", stripe.url)
    shop.work_off()
    assert_checked_out_once(shop, stripe, order, shop.job(accepted.job_id))


# -- no


def refused_order(shop: Shop) -> Order:
    """Stripe takes no less than half a dollar; our own rule about it is older, say."""
    order = shop.order()
    with transaction() as conn:
        conn.execute(update(orders.orders).where(orders.orders.c.id == order.id).values(total=49))
    return shop.look(order)


def test_what_stripe_refuses_fails_and_the_order_can_be_checked_out_again(shop: Shop, stripe: Stripe) -> None:
    order = refused_order(shop)
    [job] = shop.work(shop.checkout(order))
    assert (job.status, shop.payment(order).status) == (jobs.FAILED, payments.CANCELED)
    assert job.error is not None
    assert (job.error["type"], job.error["status"]) == ("stripe-refused", 502)
    assert shop.look(order).status == orders.PENDING
    with transaction() as conn:
        conn.execute(update(orders.orders).values(total=1050))
    [again] = shop.work(shop.checkout(order))
    assert_checked_out_once(shop, stripe, shop.look(order), again)


def test_a_second_request_for_a_refused_payment_is_told_so(shop: Shop, stripe: Stripe) -> None:
    order = refused_order(shop)
    one, two = shop.checkout(order, "one"), shop.checkout(order, "two")
    shop.work(one)
    [job] = shop.work(two)
    assert (job.status, job.error and job.error["type"]) == (jobs.FAILED, "payment-canceled")


def test_a_refusal_after_a_lost_answer_looks_before_it_gives_up(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault("reset", "after", INTENTS))
    shop.work(accepted)
    shop.change(shop.payment(order), amount=49, params={**(shop.payment(order).params or {}), "amount": 49}, epoch=7)
    shop.make_due()
    [job] = shop.work(accepted)
    # It was found, and being of another amount it is a person's to decide about: not canceled behind the customer.
    assert (job.status, shop.payment(order).status) == (jobs.NEEDS_REVIEW, payments.NEEDS_REVIEW)
    assert len(stripe.intents()) == 1


def test_a_key_that_was_used_with_other_parameters_is_for_a_person(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    key = shop.payment(order).idempotency_key
    stripe.post_keyed(INTENTS, key, amount=7777, currency="usd")
    [job] = shop.work(accepted)
    assert (job.status, shop.payment(order).status) == (jobs.NEEDS_REVIEW, payments.NEEDS_REVIEW)
    [again] = shop.work(accepted)
    assert again == job


def test_a_request_about_a_payment_in_review_waits_for_a_person_too(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    one, two = shop.checkout(order, "one"), shop.checkout(order, "two")
    shop.change(shop.payment(order), status=payments.NEEDS_REVIEW)
    assert {job.status for job in shop.work(one, two)} == {jobs.NEEDS_REVIEW}
    assert stripe.intents() == []


def test_an_answer_of_another_amount_is_for_a_person(shop: Shop, stripe: Stripe) -> None:
    order = shop.order(1050)
    accepted = shop.checkout(order)
    row = shop.payment(order)
    shop.work(shop.checkout(shop.order()))  # so that there is a Stripe customer
    with transaction() as conn:
        user = customers.find(conn, shop.account_id, order.user_id)
    assert user is not None
    params: dict[str, Any] = {"amount": 1049, "currency": "usd", "customer_id": user.stripe_customer_id, "metadata": {}}
    shop.change(row, params=params)
    [job] = shop.work(accepted)
    assert (job.status, shop.payment(order).status) == (jobs.NEEDS_REVIEW, payments.NEEDS_REVIEW)
    assert job.error is not None
    assert "1049" in job.error["detail"]


# -- webhooks that are faster


def test_a_webhook_faster_than_our_own_answer_is_taken(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.order()
    with told_meanwhile(shop, stripe, kill_at, order, "pm_card_visa"):
        shop.hear(stripe.events())
    [job] = shop.jobs_of(jobs.PAYMENT_CREATE)
    assert job.status == jobs.SUCCEEDED
    assert job.result is not None
    assert job.result["payment_intent_id"] == stripe.intents()[0]["id"]
    assert job.result["client_secret"]
    assert shop.look(order).status == orders.PAID
    assert shop.ledger(order) == [("payment", order.total)]


def test_an_old_answer_does_not_undo_what_a_webhook_told_since(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The webhook comes between our call and its bookkeeping: the answer says requires_payment_method, and is old."""
    from core.payments import Payment

    order = shop.order()
    accepted = shop.checkout(order)
    asked = Payment.create_payment_intent

    def overtaken(self: Payment, *args: Any, **kwargs: Any) -> dict[str, Any]:
        answer = asked(self, *args, **kwargs)
        stripe.pay(answer["id"], "pm_usBankAccount_processing")
        other = Shop()
        other.hear(stripe.events())
        for event in other.jobs_of(jobs.WEBHOOK_PROCESS):
            other.hint(event.kind, event.id)
        assert shop.payment(order).status == payments.PROCESSING
        return answer

    monkeypatch.setattr(Payment, "create_payment_intent", overtaken)
    [job] = shop.work(accepted)
    assert job.status == jobs.SUCCEEDED, job.error
    assert shop.payment(order).status == payments.PROCESSING


def test_a_payment_intent_that_was_canceled_while_its_answer_was_lost_is_not_handed_out(
    shop: Shop, stripe: Stripe
) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault("error_500", "after", INTENTS))
    shop.work(accepted)
    stripe.post(f"{INTENTS}/{stripe.intents()[0]['id']}/cancel")
    shop.work_off()
    job = shop.job(accepted.job_id)
    assert (job.status, job.error and job.error["type"]) == (jobs.FAILED, "payment-canceled")
    assert shop.payment(order).status == payments.CANCELED


# -- without Stripe


@pytest.mark.parametrize("point", [None, "charge.customer_made", "charge.frozen", "charge.posted"])
def test_with_stripe_off_a_checkout_ends_in_test_data_and_the_order_awaits_payment(
    shop: Shop, kill_at: KillAt, point: str | None
) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    if point:
        kill_at(point)
    shop.work(accepted)
    shop.work_off()
    job = shop.job(accepted.job_id)
    assert job.result is not None, job.error
    assert job.result["test_mode"] is True
    assert shop.look(order).status == orders.AWAITING_PAYMENT
    assert shop.payment(order).test_mode


def test_a_customer_of_the_test_data_is_not_shown_to_stripe(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_ENABLED", "false")
    shop.work(shop.checkout(shop.order()))
    monkeypatch.setenv("STRIPE_ENABLED", "true")
    order = shop.order()
    [job] = shop.work(shop.checkout(order))
    assert_checked_out_once(shop, stripe, order, job)


# -- what cannot be


@pytest.mark.parametrize("missing", ["order", "user"])
def test_a_row_that_vanished_is_a_bug_and_not_a_loop(shop: Shop, stripe: Stripe, missing: str) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    with transaction() as conn:
        if missing == "order":
            conn.execute(update(orders.orders).values(account_id="another"))
        else:
            conn.execute(update(users).values(account_id="another"))
    shop.work_off()
    assert shop.job(accepted.job_id).status == jobs.QUARANTINED
    assert stripe.intents() == []


# -- a customer that was deleted at Stripe


def known_customer(shop: Shop, stripe: Stripe) -> str:
    """The Stripe customer that an earlier checkout made."""
    shop.work(shop.checkout(shop.order()))
    return str(stripe.get("/v1/customers")["data"][0]["id"])


def test_a_customer_that_was_deleted_at_stripe_is_made_anew(shop: Shop, stripe: Stripe) -> None:
    gone = known_customer(shop, stripe)
    stripe.delete_customer(gone)
    order = shop.order()
    [job] = shop.work(shop.checkout(order))
    assert (job.status, shop.payment(order).epoch) == (jobs.QUEUED, 1)
    shop.work_off()
    assert shop.job(job.id).status == jobs.SUCCEEDED
    [customer] = stripe.get("/v1/customers")["data"]
    [intent] = [one for one in stripe.intents() if one["metadata"]["order_id"] == order.id]
    assert gone != customer["id"] == intent["customer"]
    stripe.delete_customer(customer["id"])
    again = shop.checkout(shop.order())
    shop.work_off()
    assert shop.job(again.job_id).status == jobs.SUCCEEDED


def test_two_checkouts_that_miss_the_customer_share_the_new_one(shop: Shop, stripe: Stripe) -> None:
    stripe.delete_customer(known_customer(shop, stripe))
    both = [shop.checkout(shop.order()) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(shop.work, both))
    shop.work_off()
    assert [shop.job(one.job_id).status for one in both] == [jobs.SUCCEEDED] * 2
    assert len(stripe.get("/v1/customers")["data"]) == 1


@pytest.mark.parametrize("point", ["runner.ended", "charge.customer_made", "charge.customer_kept", "charge.posted"])
def test_dying_while_the_customer_is_made_anew_leaves_one_payment_intent(
    shop: Shop, stripe: Stripe, kill_at: KillAt, point: str
) -> None:
    stripe.delete_customer(known_customer(shop, stripe))
    order = shop.order()
    accepted = shop.checkout(order)
    killed = kill_at(point)
    shop.work_off()
    assert killed
    assert shop.job(accepted.job_id).status == jobs.SUCCEEDED
    assert len([one for one in stripe.intents() if one["metadata"]["order_id"] == order.id]) == 1
    assert len(stripe.get("/v1/customers")["data"]) == 1


def test_an_intent_that_an_earlier_key_made_is_found_although_its_customer_was_deleted(
    shop: Shop, stripe: Stripe
) -> None:
    gone = known_customer(shop, stripe)
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault("reset", "after", INTENTS))
    shop.work(accepted)
    assert shop.payment(order).status == payments.UNKNOWN
    stripe.delete_customer(gone)
    stripe.later(25)  # Stripe has forgotten the key, so it looks at the parameters again
    shop.work_off()
    assert shop.job(accepted.job_id).status == jobs.SUCCEEDED
    assert len([one for one in stripe.intents() if one["metadata"]["order_id"] == order.id]) == 1
    assert shop.payment(order).epoch == 0


def lost_with_its_customer(shop: Shop, stripe: Stripe) -> tuple[Order, Accepted, str]:
    """A checkout whose answer was lost, and its customer, who was deleted."""
    gone = known_customer(shop, stripe)
    order = shop.order()
    accepted = shop.checkout(order)
    stripe.faults(fault("reset", "after", INTENTS))
    shop.work(accepted)
    stripe.delete_customer(gone)
    return order, accepted, gone


def test_many_pages_of_everybodys_intents_outlast_the_lease_and_it_is_found(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, accepted, gone = lost_with_its_customer(shop, stripe)
    for _ in range(7):
        stripe.post(INTENTS, amount=500, currency="usd")
    stripe.later(25)
    shop.make_due()
    hurried, began = Shop(lease_seconds=2.0), time.monotonic()
    page_slowly(monkeypatch, 0.3, gone)
    [job] = hurried.work(accepted)
    assert time.monotonic() - began > 3.0
    assert (job.status, job.attempts, shop.payment(order).epoch) == (jobs.SUCCEEDED, 2, 0)


def test_of_everybodys_intents_only_those_are_read_that_its_key_can_have_made(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, accepted, gone = lost_with_its_customer(shop, stripe)
    stripe.later(25)
    for _ in range(3):
        stripe.post(INTENTS, amount=500, currency="usd")
    shop.make_due()
    page_slowly(monkeypatch, 0.0, gone)
    [job] = shop.work(accepted)
    assert (job.status, shop.payment(order).epoch) == (jobs.SUCCEEDED, 0)
    assert len(stripe.requests("GET", INTENTS)) == 2  # the first order's intent, and this one's


def test_a_worker_that_stops_leaves_the_pages_to_the_next(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, accepted, gone = lost_with_its_customer(shop, stripe)
    stripe.later(25)
    shop.make_due()
    page_slowly(monkeypatch, 0.0, gone)
    monkeypatch.setattr(shop.runner.stopping, "seconds", lambda: 0.0 if not listed() else STOPPING_SECONDS + 0.1)

    def listed() -> list[dict[str, Any]]:
        return stripe.requests("GET", INTENTS)

    [job] = shop.work(accepted)
    assert (job.status, job.attempts, len(listed())) == (jobs.QUEUED, 1, 1)


def test_any_other_refusal_still_cancels_the_payment(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise PaymentRefused("No such coupon", "resource_missing", "coupon")

    monkeypatch.setattr(payment, "create_payment_intent", refuse)
    order = shop.order()
    [job] = shop.work(shop.checkout(order))
    assert (job.status, shop.payment(order).status) == (jobs.FAILED, payments.CANCELED)
