"""What Stripe shows against what we hold: findings of each kind, repaired where that is safe, else left open."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import update

from core.database import reading, transaction
from core.domain import cursors, disputes, findings, jobs, orders, payments, refunds
from core.domain.jobs import Job
from core.domain.orders import Order
from core.payments import Payment, PaymentBusy
from tests.worker.crashes import KillAt
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe, fault
from worker.flows import reconcile

CHARGED, DISPUTED = ("fee", 60, "usd"), ("fee", 1500, "usd")
LOST = "019b7a5e-0d3c-7a10-8a4e-5f1c2b3d4e5f"


def compare(shop: Shop) -> Job:
    """One run of the job."""
    [job] = shop.work(shop.enqueue(jobs.RECONCILE_OBJECTS))
    return job


def found(shop: Shop) -> list[tuple[str, str, str]]:
    """Kind, object and status of all findings."""
    return [(one.kind, one.object_id, one.status) for one in shop.findings()]


def look_at_nothing_new() -> None:
    """Let the walks start in the future, so that only the checks of single objects are left."""
    with transaction() as conn:
        for name in reconcile.COMPARED:
            cursors.move(conn, name, {"since": 4_000_000_000})


def list_as(monkeypatch: pytest.MonkeyPatch, wanted: str, **changed: Any) -> None:
    """Let Stripe list objects of a kind otherwise than they are."""
    asked = Payment.list_page

    def lying(self: Payment, of: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        page = asked(self, of, *args, **kwargs)
        return {**page, "data": [{**one, **changed} for one in page["data"]]} if of == wanted else page

    monkeypatch.setattr(Payment, "list_page", lying)


def checked_out(shop: Shop) -> Order:
    order = shop.order()
    shop.work(shop.checkout(order))
    return order


def unheard_payment(shop: Shop, stripe: Stripe) -> Order:
    """An order that was paid, and no event told us."""
    order = checked_out(shop)
    stripe.pay(shop.payment(order).payment_intent_id or "")
    return order


# -- nothing to say


def test_what_agrees_is_no_finding(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    shop.work(shop.refund(order, 250))
    checked_out(shop)
    shop.age(24)
    job = compare(shop)
    assert job.result == {"checked": 1, "compared": 3, "fees": 1}
    assert found(shop) == []


def test_somebody_elses_objects_are_no_findings(shop: Shop, stripe: Stripe) -> None:
    theirs = stripe.post(
        "/v1/payment_intents", amount=500, currency="usd", confirm="true", payment_method="pm_card_visa"
    )  # fmt: skip
    stripe.post("/v1/refunds", payment_intent=theirs["id"])
    compare(shop)
    assert found(shop) == []


def test_a_payment_that_a_job_is_at_work_on_is_no_finding(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    kill_at("charge.posted")
    shop.work(accepted)
    compare(shop)
    assert found(shop) == []
    assert shop.payment(order).status == payments.CREATING


def test_a_refund_that_a_job_is_at_work_on_is_no_finding(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.paid_order(stripe)
    accepted = shop.refund(order, 250)
    kill_at("refund.posted")
    shop.work(accepted)
    compare(shop)
    assert found(shop) == []
    assert shop.refunds(order)[0].status == refunds.CREATING


def test_a_list_older_than_our_news_is_no_finding(shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch) -> None:
    order = checked_out(shop)
    asked = Payment.list_page

    def stale(self: Payment, of: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        listed = asked(self, of, *args, **kwargs)
        if of != "payment_intents":
            return listed
        stripe.pay(listed["data"][0]["id"])
        other = Shop()
        other.hear(stripe.events())
        for event in other.jobs_of(jobs.WEBHOOK_PROCESS):
            other.hint(event.kind, event.id)
        assert shop.look(order).status == orders.PAID
        return listed

    monkeypatch.setattr(Payment, "list_page", stale)
    compare(shop)
    assert found(shop) == []
    assert shop.look(order).status == orders.PAID


def test_an_object_that_was_read_before_our_news_is_no_finding(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = shop.paid_order(stripe)
    asked = Payment.retrieve_payment_intent

    def stale(self: Payment, *args: Any) -> dict[str, Any]:
        return {**asked(self, *args), "status": "processing", "amount_received": 0}

    monkeypatch.setattr(Payment, "retrieve_payment_intent", stale)
    list_as(monkeypatch, "payment_intents", status="processing")
    compare(shop)
    assert found(shop) == []
    assert shop.look(order).status == orders.PAID


def test_a_refund_that_was_read_before_our_news_is_no_finding(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = shop.paid_order(stripe)
    shop.work(shop.refund(order, 250))
    read = Payment.list_refunds
    monkeypatch.setattr(
        Payment, "list_refunds", lambda self, *args: [{**one, "status": "pending"} for one in read(self, *args)]
    )
    list_as(monkeypatch, "refunds", status="pending")
    compare(shop)
    assert found(shop) == []
    assert shop.refunds(order)[0].status == refunds.SUCCEEDED


# -- repaired


def test_a_payment_whose_news_never_came_is_repaired(shop: Shop, stripe: Stripe) -> None:
    order = unheard_payment(shop, stripe)
    compare(shop)
    assert shop.look(order).status == orders.PAID
    assert shop.ledger(order) == [("payment", 1050)]
    intent = shop.payment(order).payment_intent_id
    assert found(shop) == [(findings.STATE_DIFFERS, intent, findings.REPAIRED)]
    [finding] = shop.findings()
    assert finding.detail["local"]["status"] == payments.REQUIRES_PAYMENT
    assert finding.detail["stripe"]["status"] == "succeeded"
    assert finding.order_id == order.id


def test_a_payment_older_than_the_walk_is_asked_about_by_itself(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop)
    stripe.pay(shop.payment(order).payment_intent_id or "")
    look_at_nothing_new()
    assert compare(shop).result == {"checked": 0, "compared": 0, "fees": 0}
    shop.age(24)
    look_at_nothing_new()
    assert compare(shop).result == {"checked": 1, "compared": 0, "fees": 0}
    assert shop.look(order).status == orders.PAID


def test_an_open_payment_is_asked_about_less_and_less_often(shop: Shop, stripe: Stripe) -> None:
    checked_out(shop)
    shop.age(24)
    results = [compare(shop).result, compare(shop).result]
    assert [result and result["checked"] for result in results] == [1, 0]


def test_a_payment_whose_job_gave_up_is_found_by_its_metadata(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order = shop.order()
    accepted = shop.checkout(order)
    kill_at("charge.posted")
    shop.work(accepted)
    with transaction() as conn:
        conn.execute(
            update(jobs.jobs).where(jobs.jobs.c.id == accepted.job_id)
            .values(status=jobs.QUARANTINED, lease_token=None, lease_expires_at=None)
        )  # fmt: skip
    compare(shop)
    assert shop.payment(order).status == payments.REQUIRES_PAYMENT
    assert found(shop) == [(findings.STATE_DIFFERS, stripe.intents()[0]["id"], findings.REPAIRED)]


@pytest.mark.parametrize(("verb", "status"), [("settle", refunds.SUCCEEDED), ("fail", refunds.FAILED)])
def test_a_pending_refund_whose_news_never_came_is_repaired(shop: Shop, stripe: Stripe, verb: str, status: str) -> None:
    order = shop.paid_order(stripe, card="pm_card_pendingRefund")
    shop.work(shop.refund(order, 250))
    refund_id = shop.refunds(order)[0].stripe_refund_id
    compare(shop)
    stripe.control(f"/refunds/{refund_id}/{verb}")
    look_at_nothing_new()
    shop.age(24)
    compare(shop)
    assert shop.refunds(order)[0].status == status
    assert found(shop) == [(findings.STATE_DIFFERS, refund_id, findings.REPAIRED)]


def test_a_refund_made_without_us_is_imported(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    made = stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    compare(shop)
    compare(shop)
    assert found(shop) == [(findings.REFUND_UNKNOWN, made["id"], findings.REPAIRED)]
    assert shop.ledger(order) == [("payment", 1050), ("refund", 100)]
    assert shop.look(order).status == orders.PARTIALLY_REFUNDED


def test_a_refund_that_failed_without_news_is_reversed(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    [job] = shop.work(shop.refund(order, 250))
    assert job.result is not None
    stripe.control(f"/refunds/{job.result['stripe_refund_id']}/fail")
    compare(shop)
    assert shop.ledger(order) == [("payment", 1050), ("refund", 250), ("refund_reversal", 250)]
    assert found(shop) == [(findings.STATE_DIFFERS, job.result["stripe_refund_id"], findings.REPAIRED)]


# -- left for a person


def test_a_payment_of_another_amount_is_left_open(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop)
    intent = shop.payment(order).payment_intent_id
    stripe.post(f"/v1/payment_intents/{intent}", amount=999)
    compare(shop)
    compare(shop)
    assert found(shop) == [(findings.AMOUNT_DIFFERS, intent, findings.OPEN)]
    assert shop.payment(order).status == payments.NEEDS_REVIEW
    assert shop.ledger(order) == []


def test_a_refund_of_another_amount_is_left_open_although_its_state_agrees(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    shop.work(shop.refund(order, 250))
    [row] = shop.refunds(order)
    shop.change(row, amount=200)
    compare(shop)
    assert found(shop) == [(findings.AMOUNT_DIFFERS, row.stripe_refund_id, findings.OPEN)]


def test_a_payment_that_stripe_does_not_know_is_left_open(shop: Shop, stripe: Stripe) -> None:
    order = checked_out(shop)
    shop.change(shop.payment(order), payment_intent_id="pi_gone")
    look_at_nothing_new()
    shop.age(24)
    compare(shop)
    assert found(shop) == [(findings.MISSING_AT_STRIPE, "pi_gone", findings.OPEN)]
    assert shop.payment(order).status == payments.REQUIRES_PAYMENT


def test_a_refund_that_stripe_does_not_know_is_left_open(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, card="pm_card_pendingRefund")
    shop.work(shop.refund(order, 250))
    shop.change(shop.refunds(order)[0], stripe_refund_id="re_gone")
    look_at_nothing_new()
    shop.age(24)
    compare(shop)
    assert found(shop) == [(findings.MISSING_AT_STRIPE, "re_gone", findings.OPEN)]


def test_an_order_id_alone_makes_an_object_nobody_elses_business(shop: Shop, stripe: Stripe) -> None:
    stripe.post("/v1/payment_intents", amount=500, currency="usd", **{"metadata[order_id]": "WC-1001"})
    compare(shop)
    assert found(shop) == []


def test_objects_with_our_ids_that_we_do_not_know_are_left_open(shop: Shop, stripe: Stripe) -> None:
    lost = stripe.post(
        "/v1/payment_intents", amount=500, currency="usd", confirm="true", payment_method="pm_card_visa",
        **{"metadata[payment_id]": LOST},
    )  # fmt: skip
    refund = stripe.post("/v1/refunds", payment_intent=lost["id"], **{"metadata[refund_id]": LOST})
    compare(shop)
    assert found(shop) == [
        (findings.MISSING_LOCALLY, lost["id"], findings.OPEN),
        (findings.MISSING_LOCALLY, refund["id"], findings.OPEN),
    ]


def test_an_open_payment_that_never_got_its_id_is_only_checked(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    shop.checkout(order)
    shop.change(shop.payment(order), status=payments.REQUIRES_PAYMENT)
    shop.age(24)
    assert compare(shop).result == {"checked": 1, "compared": 0, "fees": 0}
    assert found(shop) == []


def test_an_open_refund_that_never_got_its_id_is_only_checked(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    shop.refund(order, 250)
    shop.change(shop.refunds(order)[0], status=refunds.PENDING)
    shop.age(24)
    assert compare(shop).result == {"checked": 1, "compared": 1, "fees": 1}
    assert found(shop) == []


# -- disputes


def disputed_order(shop: Shop, stripe: Stripe, **body: Any) -> tuple[Order, str]:
    """A paid order, and the id of a dispute that no event told of."""
    order = shop.paid_order(stripe)
    query = "&".join(f"{name}={value}" for name, value in body.items())
    made = stripe.control(f"/charges/{shop.payment(order).charge_id}/dispute?{query}")
    return order, made["id"]


def test_a_dispute_that_no_event_told_of_is_imported_once(shop: Shop, stripe: Stripe) -> None:
    order, dispute_id = disputed_order(shop, stripe)
    compare(shop)
    compare(shop)
    assert found(shop) == [(findings.DISPUTE_UNKNOWN, dispute_id, findings.REPAIRED)]
    assert shop.ledger(order) == [("payment", 1050), ("dispute_withdrawn", 1050)]
    assert shop.look(order).disputed


def test_a_dispute_that_ended_unheard_is_repaired(shop: Shop, stripe: Stripe) -> None:
    order, dispute_id = disputed_order(shop, stripe)
    shop.hear(stripe.events())
    shop.work_off()
    stripe.control(f"/disputes/{dispute_id}/close?outcome=won")
    compare(shop)
    assert found(shop) == [(findings.STATE_DIFFERS, dispute_id, findings.REPAIRED)]
    assert shop.ledger(order)[1:] == [("dispute_withdrawn", 1050), ("dispute_reinstated", 1050)]
    assert not shop.look(order).disputed


def test_funds_that_moved_after_the_end_of_a_dispute_are_posted(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, dispute_id = disputed_order(shop, stripe)
    stripe.control(f"/disputes/{dispute_id}/close?outcome=won")
    read = Payment.retrieve_dispute

    def without_the_last(self: Payment, *args: Any) -> dict[str, Any]:
        seen = read(self, *args)
        return {**seen, "balance_transactions": seen["balance_transactions"][:-1]}

    with monkeypatch.context() as patch:
        patch.setattr(Payment, "retrieve_dispute", without_the_last)
        shop.hear(stripe.events())
        shop.work_off()
    assert shop.ledger(order)[1:] == [("dispute_withdrawn", 1050)]
    compare(shop)
    assert shop.ledger(order)[1:] == [("dispute_withdrawn", 1050), ("dispute_reinstated", 1050)]
    assert found(shop) == [(findings.STATE_DIFFERS, dispute_id, findings.REPAIRED)]


def test_the_journal_tells_of_a_dispute_older_than_the_walk(shop: Shop, stripe: Stripe) -> None:
    order, dispute_id = disputed_order(shop, stripe)
    with transaction() as conn:
        for name in ("payment_intents", "refunds", "disputes"):
            cursors.move(conn, name, {"since": 4_000_000_000})
    compare(shop)
    assert found(shop) == [(findings.DISPUTE_UNKNOWN, dispute_id, findings.REPAIRED)]
    assert shop.look(order).disputed


def test_an_open_dispute_older_than_the_walk_is_asked_about_by_itself(shop: Shop, stripe: Stripe) -> None:
    order, dispute_id = disputed_order(shop, stripe, inquiry="true")
    compare(shop)
    stripe.control(f"/disputes/{dispute_id}/close?outcome=lost")
    look_at_nothing_new()
    shop.age(24)
    assert compare(shop).result == {"checked": 1, "compared": 0, "fees": 0}
    assert [dispute.status for dispute in shop.disputes(order)] == ["warning_closed"]
    assert not shop.look(order).disputed


def test_a_dispute_that_was_closed_another_way_is_left_open(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, dispute_id = disputed_order(shop, stripe)
    stripe.control(f"/disputes/{dispute_id}/close?outcome=lost")
    compare(shop)
    list_as(monkeypatch, "disputes", status="warning_closed")
    read = Payment.retrieve_dispute
    monkeypatch.setattr(
        Payment, "retrieve_dispute", lambda self, *args: {**read(self, *args), "status": "warning_closed"}
    )
    compare(shop)
    assert found(shop)[1:] == [(findings.STATE_DIFFERS, dispute_id, findings.OPEN)]
    assert [dispute.status for dispute in shop.disputes(order)] == ["lost"]


def test_a_dispute_that_took_another_sum_than_it_is_about_is_left_open(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, dispute_id = disputed_order(shop, stripe)
    read = Payment.retrieve_dispute
    monkeypatch.setattr(
        Payment, "retrieve_dispute",
        lambda self, *args: {**read(self, *args), "balance_transactions": [{"amount": -1000, "currency": "usd"}]},
    )  # fmt: skip
    compare(shop)
    assert found(shop) == [
        (findings.DISPUTE_UNKNOWN, dispute_id, findings.REPAIRED),
        (findings.AMOUNT_DIFFERS, dispute_id, findings.OPEN),
    ]


def test_a_dispute_of_another_amount_by_now_is_repaired(shop: Shop, stripe: Stripe) -> None:
    order, dispute_id = disputed_order(shop, stripe, amount=1000)
    compare(shop)
    with transaction() as conn:
        conn.execute(update(disputes.disputes).values(amount=900))
    compare(shop)
    assert found(shop)[1:] == [(findings.AMOUNT_DIFFERS, dispute_id, findings.REPAIRED)]
    assert [dispute.amount for dispute in shop.disputes(order)] == [1000]


# -- fees


def test_fees_of_our_charges_and_disputes_are_posted_once(shop: Shop, stripe: Stripe) -> None:
    order, dispute_id = disputed_order(shop, stripe)
    shop.work(shop.refund(shop.paid_order(stripe), 250))
    theirs = stripe.post(
        "/v1/payment_intents", amount=500, currency="usd", confirm="true", payment_method="pm_card_visa"
    )  # fmt: skip
    assert theirs["status"] == "succeeded"
    results = [compare(shop).result, compare(shop).result]
    assert [result and result["fees"] for result in results] == [3, 0]
    assert shop.fees(order) == [CHARGED, DISPUTED]
    stripe.control(f"/disputes/{dispute_id}/close?outcome=won")
    compare(shop)
    assert shop.fees(order) == [CHARGED, DISPUTED]


def test_a_fee_is_posted_although_no_event_told_of_its_payment(shop: Shop, stripe: Stripe) -> None:
    order = unheard_payment(shop, stripe)
    look_at_nothing_new()
    with transaction() as conn:
        cursors.move(conn, "balance_transactions", {"since": 0})
    compare(shop)
    assert (shop.ledger(order), shop.fees(order)) == ([], [CHARGED])


def test_a_fee_that_was_given_back_is_posted_the_other_way_and_in_its_own_currency(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = shop.paid_order(stripe)
    list_as(monkeypatch, "balance_transactions", fee=-31, currency="eur")
    compare(shop)
    assert shop.fees(order) == [("fee_reversal", 31, "eur")]


def test_stripes_own_fees_belong_to_no_order(shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch) -> None:
    order = shop.paid_order(stripe)
    for source in (None, "tu_1"):
        list_as(monkeypatch, "balance_transactions", source=source)
        assert compare(shop).status == jobs.SUCCEEDED
    assert shop.fees(order) == []


# -- many pages


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe answers with two objects a page."""
    asked = Payment.list_page
    monkeypatch.setattr(Payment, "list_page", lambda self, *args, **more: asked(self, *args, **{**more, "limit": 2}))


@pytest.mark.usefixtures("small_pages")
def test_a_walk_longer_than_one_attempt_goes_on_in_the_next(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "PAGES_PER_RUN", 1)
    made = [unheard_payment(shop, stripe) for _ in range(5)]
    accepted = shop.enqueue(jobs.RECONCILE_OBJECTS)
    [job] = shop.work(accepted)
    assert (job.status, job.attempts) == (jobs.QUEUED, 0)
    assert [shop.look(order).status for order in made] == [orders.AWAITING_PAYMENT] * 3 + [orders.PAID] * 2
    with reading() as conn:
        assert cursors.place(conn, "payment_intents")["after"] == stripe.intents()[1]["id"]
    shop.work_off()
    assert shop.job(job.id).status == jobs.SUCCEEDED
    assert [shop.ledger(order) for order in made] == [[("payment", 1050)]] * 5
    assert [shop.fees(order) for order in made] == [[CHARGED]] * 5


@pytest.mark.usefixtures("small_pages")
def test_a_walk_outlasts_its_lease_page_by_page(stripe: Stripe, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [unheard_payment(shop, stripe) for _ in range(9)]
    asked = Payment.list_page

    def slow(self: Payment, *args: Any, **kwargs: Any) -> dict[str, Any]:
        time.sleep(0.4)
        return asked(self, *args, **kwargs)

    monkeypatch.setattr(Payment, "list_page", slow)
    began = time.monotonic()
    hurried = Shop(lease_seconds=2.0)
    job = compare(hurried)
    assert time.monotonic() - began > 4.0
    assert (job.status, job.attempts) == (jobs.SUCCEEDED, 1)
    assert {shop.look(order).status for order in made} == {orders.PAID}


@pytest.mark.usefixtures("small_pages")
def test_more_due_objects_than_a_run_takes_are_asked_about_in_the_next(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "CHECKS_PER_RUN", 2)
    made = [unheard_payment(shop, stripe) for _ in range(5)]
    look_at_nothing_new()
    shop.age(24)
    assert compare(shop).status == jobs.QUEUED
    shop.work_off()
    assert {shop.look(order).status for order in made} == {orders.PAID}


def test_checks_end_between_two_objects_when_their_time_is_up_and_go_on_in_the_next_attempt(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "SECONDS_PER_PART", 0.0)
    made = [unheard_payment(shop, stripe) for _ in range(3)]
    look_at_nothing_new()
    shop.age(24)
    job = compare(shop)
    assert (job.status, job.attempts) == (jobs.QUEUED, 0)
    assert [shop.look(order).status for order in made].count(orders.PAID) == 1
    shop.work_off()
    assert (shop.job(job.id).status, {shop.look(order).status for order in made}) == (jobs.SUCCEEDED, {orders.PAID})


def test_checks_take_each_kind_in_turn(shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.work(shop.refund(shop.paid_order(stripe, card="pm_card_pendingRefund"), 250))
    made = [unheard_payment(shop, stripe) for _ in range(2)]
    look_at_nothing_new()
    shop.age(24)
    compare(shop)
    read = [line["path"] for line in stripe.requests("GET") if line["path"].count("/") == 3]
    assert [path.split("/")[2] for path in read[-3:]] == ["payment_intents", "refunds", "payment_intents"]
    assert {shop.look(order).status for order in made} == {orders.PAID}


def test_a_page_is_left_between_two_objects_when_its_time_is_up_and_the_rest_is_compared_in_the_next_attempt(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "SECONDS_PER_PART", 0.0)
    made = [unheard_payment(shop, stripe) for _ in range(3)]
    job = compare(shop)
    assert (job.status, job.attempts) == (jobs.QUEUED, 0)
    assert [shop.look(order).status for order in made] == [orders.AWAITING_PAYMENT] * 2 + [orders.PAID]
    with reading() as conn:
        assert cursors.place(conn, "payment_intents")["after"] == stripe.intents()[0]["id"]
    shop.work_off()
    assert shop.job(job.id).status == jobs.SUCCEEDED
    assert [shop.ledger(order) for order in made] == [[("payment", 1050)]] * 3
    assert [shop.fees(order) for order in made] == [[CHARGED]] * 3
    with reading() as conn:
        assert "after" not in cursors.place(conn, "payment_intents")


# -- crashes and trouble


@pytest.mark.parametrize("times", [1, 2, 3, 4])
@pytest.mark.parametrize("point", ["reconcile.object_checked", "reconcile.object_compared", "reconcile.page_kept"])
def test_a_worker_that_dies_anywhere_repairs_once(
    shop: Shop, stripe: Stripe, kill_at: KillAt, point: str, times: int
) -> None:
    pending = shop.paid_order(stripe, card="pm_card_pendingRefund")
    shop.work(shop.refund(pending, 250))
    disputed = shop.paid_order(stripe)
    dispute = stripe.control(f"/charges/{shop.payment(disputed).charge_id}/dispute")
    shop.hear(stripe.events())
    shop.work_off()
    stripe.control(f"/disputes/{dispute['id']}/close?outcome=won")
    order, other = unheard_payment(shop, stripe), unheard_payment(shop, stripe)
    stripe.control(f"/charges/{stripe.intents()[0]['latest_charge']}/dispute")
    if "checked" in point:
        shop.age(24)
    stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    accepted = shop.enqueue(jobs.RECONCILE_OBJECTS)
    killed = kill_at(point, times)
    shop.work(accepted)
    assert killed[0] == point
    shop.work_off()
    assert killed == [point] * times
    assert shop.job(accepted.job_id).status == jobs.SUCCEEDED
    assert shop.ledger(order) == [("payment", 1050), ("refund", 100)]
    assert shop.ledger(other) == [("payment", 1050), ("dispute_withdrawn", 1050)]
    assert shop.ledger(disputed) == [("payment", 1050), ("dispute_withdrawn", 1050), ("dispute_reinstated", 1050)]
    assert [shop.fees(one) for one in (order, other, disputed)] == [[CHARGED], [CHARGED, DISPUTED], [CHARGED, DISPUTED]]
    assert {status for _, _, status in found(shop)} == {findings.REPAIRED}


LISTS = ["/v1/payment_intents", "/v1/refunds", "/v1/disputes", "/v1/balance_transactions"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("kind", ["reset", "error_500", "rate_limit_429", "unauthorized_401"])
def test_a_stripe_in_trouble_is_asked_again(shop: Shop, stripe: Stripe, path: str, kind: str) -> None:
    order = unheard_payment(shop, stripe)
    stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    stripe.faults(fault(kind, "before", path, method="GET"))
    job = compare(shop)
    assert job.status == jobs.QUEUED
    shop.work_off()
    assert shop.ledger(order) == [("payment", 1050), ("refund", 100)]


@pytest.mark.parametrize("path", ["/v1/payment_intents/*", "/v1/disputes/*"])
@pytest.mark.parametrize("kind", ["rate_limit_429", "unauthorized_401"])
def test_a_stripe_that_wants_no_calls_now_is_asked_again(shop: Shop, stripe: Stripe, path: str, kind: str) -> None:
    disputed_order(shop, stripe)
    order = unheard_payment(shop, stripe)
    stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    stripe.faults(fault(kind, "before", path, method="GET"))
    assert compare(shop).status == jobs.QUEUED
    shop.work_off()
    assert shop.ledger(order) == [("payment", 1050), ("refund", 100)]


def test_refunds_of_a_payment_that_stripe_fails_to_list_are_taken_one_by_one(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = shop.paid_order(stripe)
    stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)

    def failing(*args: Any) -> list[dict[str, Any]]:
        raise PaymentBusy("Stripe answered 500")

    monkeypatch.setattr(Payment, "list_refunds", failing)
    assert compare(shop).status == jobs.SUCCEEDED
    assert shop.ledger(order) == [("payment", 1050), ("refund", 100)]


def test_a_refund_that_came_in_place_of_one_that_failed_is_no_false_alarm(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    [job] = shop.work(shop.refund(order, 1050))
    assert job.result is not None
    failed = job.result["stripe_refund_id"]
    stripe.control(f"/refunds/{failed}/fail")
    made = stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=1050)
    compare(shop)
    assert found(shop) == [
        (findings.STATE_DIFFERS, failed, findings.REPAIRED), (findings.REFUND_UNKNOWN, made["id"], findings.REPAIRED),
    ]  # fmt: skip
    assert shop.look(order).status == orders.REFUNDED


def test_a_refund_whose_payment_is_heard_of_late_is_no_false_alarm(shop: Shop, stripe: Stripe) -> None:
    order = unheard_payment(shop, stripe)
    made = stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    with transaction() as conn:
        cursors.move(conn, "payment_intents", {"since": 4_000_000_000})
    compare(shop)
    assert {status for _, _, status in found(shop)} == {findings.REPAIRED}
    assert shop.ledger(order) == [("payment", 1050), ("refund", 100)]
    assert made["status"] == "succeeded"


@pytest.mark.parametrize("path", ["/v1/payment_intents/*", "/v1/disputes/*"])
@pytest.mark.parametrize("kind", ["reset", "error_500"])
def test_what_stripe_lists_and_fails_to_show_by_itself_is_taken_as_listed(
    shop: Shop, stripe: Stripe, path: str, kind: str
) -> None:
    order, disputed = unheard_payment(shop, stripe), unheard_payment(shop, stripe)
    stripe.control(f"/charges/{stripe.intents()[0]['latest_charge']}/dispute")
    stripe.post("/v1/refunds", payment_intent=shop.payment(order).payment_intent_id, amount=100)
    stripe.faults(fault(kind, "before", path, method="GET", next=1000))
    assert compare(shop).status == jobs.SUCCEEDED
    assert stripe.fired() > 0
    assert shop.ledger(order) == [("payment", 1050), ("refund", 100)]
    assert shop.ledger(disputed) == [("payment", 1050), ("dispute_withdrawn", 1050)]


def test_with_stripe_off_nothing_is_compared_and_no_payment_is_doubted(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = checked_out(shop)
    shop.age(24)
    monkeypatch.setenv("STRIPE_ENABLED", "false")
    assert compare(shop).status == jobs.SUCCEEDED
    assert (shop.payment(order).status, found(shop)) == (payments.REQUIRES_PAYMENT, [])
    with reading() as conn:
        assert cursors.place(conn, "payment_intents") == {}
