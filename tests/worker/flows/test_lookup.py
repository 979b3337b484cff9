"""Single objects that are due: asked about one by one, and none holds up the others."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from core.database import DatabaseUnavailable, reading, transaction
from core.domain import checks, cursors, disputes, findings, jobs, orders, payments, refunds
from core.domain.jobs import Accepted, Job
from core.domain.orders import Order
from core.payments import Payment, PaymentMisconfigured
from tests.worker.crashes import KillAt, Killed
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe, fault, page_slowly
from worker.flows import reconcile
from worker.work import STOPPING_SECONDS


@pytest.fixture(autouse=True)
def _nothing_new(shop: Shop) -> None:
    """The walks start in the future, so that only the checks of single objects are left."""
    with transaction() as conn:
        for name in reconcile.COMPARED:
            cursors.move(conn, name, {"since": 4_000_000_000})


def compare(shop: Shop) -> Job:
    """One run of the job."""
    [job] = shop.work(shop.enqueue(jobs.RECONCILE_OBJECTS))
    return job


def found(shop: Shop) -> list[tuple[str, str, str]]:
    """Kind, object and status of all findings."""
    return [(one.kind, one.object_id, one.status) for one in shop.findings()]


def unheard_payment(shop: Shop, stripe: Stripe) -> Order:
    """An order that was paid, and no event told us."""
    order = shop.order()
    shop.work(shop.checkout(order))
    stripe.pay(shop.payment(order).payment_intent_id or "")
    return order


def end(accepted: Accepted, status: str) -> None:
    """Leave the job as something that is not under test would have."""
    with transaction() as conn:
        conn.execute(
            update(jobs.jobs).where(jobs.jobs.c.id == accepted.job_id)
            .values(status=status, lease_token=None, lease_expires_at=None)
        )  # fmt: skip


def seconds_until_check(shop: Shop, order: Order) -> float:
    """How far away the payment's next check is."""
    table = payments.payments.c
    with reading() as conn:
        [at] = conn.execute(payments.payments.select().where(table.order_id == order.id)).all()
    return float((at.check_at - shop.clock()).total_seconds())


# -- one that Stripe fails to show


def hide(stripe: Stripe, object_id: str, kind: str = "error_500") -> None:
    """Let Stripe fail whenever it is asked for this object."""
    stripe.faults(fault(kind, "before", f"/v1/*/{object_id}", method="GET", next=1000))


@pytest.mark.parametrize("kind", ["error_500", "reset", "in_use_409"])
def test_an_object_that_stripe_fails_to_show_holds_up_no_other(shop: Shop, stripe: Stripe, kind: str) -> None:
    bad, good = unheard_payment(shop, stripe), unheard_payment(shop, stripe)
    hide(stripe, shop.payment(bad).payment_intent_id or "", kind)
    shop.age(24)
    assert compare(shop).result == {"checked": 2, "compared": 0, "fees": 0}
    assert (shop.look(bad).status, shop.look(good).status) == (orders.AWAITING_PAYMENT, orders.PAID)
    assert 500 < seconds_until_check(shop, bad) <= 600
    stripe.faults()
    shop.age(24)
    compare(shop)
    assert shop.look(bad).status == orders.PAID


def test_an_object_that_stripe_goes_on_failing_to_show_is_asked_about_less_often_and_becomes_a_finding(
    shop: Shop, stripe: Stripe
) -> None:
    order = unheard_payment(shop, stripe)
    intent_id = shop.payment(order).payment_intent_id or ""
    hide(stripe, intent_id)
    for wait in (600, 1200, 2400):
        assert found(shop) == []
        shop.age(24)
        compare(shop)
        assert wait - 60 < seconds_until_check(shop, order) <= wait
    assert found(shop) == [(findings.UNREADABLE, intent_id, findings.OPEN)]
    stripe.faults()
    shop.age(24)
    compare(shop)
    assert found(shop)[0] == (findings.UNREADABLE, intent_id, findings.REPAIRED)
    assert shop.look(order).status == orders.PAID


def test_a_refund_and_a_dispute_that_stripe_fails_to_show_wait_for_a_later_check(shop: Shop, stripe: Stripe) -> None:
    order, disputed = shop.paid_order(stripe, card="pm_card_pendingRefund"), shop.paid_order(stripe)
    shop.work(shop.refund(order, 250))
    dispute = stripe.control(f"/charges/{shop.payment(disputed).charge_id}/dispute")
    shop.hear(stripe.events())
    shop.work_off()
    hide(stripe, "*")
    for _ in range(3):
        shop.age(24)
        assert compare(shop).result == {"checked": 2, "compared": 0, "fees": 0}
    unread = {shop.refunds(order)[0].stripe_refund_id, dispute["id"]}
    assert {object_id for _, object_id, _ in found(shop)} == unread
    stripe.faults()
    shop.age(24)
    compare(shop)
    assert {status for _, _, status in found(shop)} == {findings.REPAIRED}


@pytest.mark.parametrize("kind", ["error_500", "reset"])
def test_a_stripe_that_answers_nothing_puts_the_job_back_and_no_check_off(
    shop: Shop, stripe: Stripe, kind: str
) -> None:
    order = unheard_payment(shop, stripe)
    shop.age(24)
    stripe.faults(fault(kind, "before", "*", method="GET", next=1000))
    assert compare(shop).status == jobs.QUEUED
    assert seconds_until_check(shop, order) < 0
    stripe.faults()
    shop.work_off()
    assert shop.look(order).status == orders.PAID


@pytest.mark.parametrize("kind", ["rate_limit_429", "unauthorized_401"])
def test_a_stripe_that_wants_no_calls_now_puts_the_job_back(shop: Shop, stripe: Stripe, kind: str) -> None:
    order = unheard_payment(shop, stripe)
    shop.age(24)
    stripe.faults(fault(kind, "before", "/v1/payment_intents/*", method="GET"))
    assert compare(shop).status == jobs.QUEUED
    assert seconds_until_check(shop, order) < 0


def test_one_that_takes_its_worker_away_comes_after_the_others_and_is_asked_about_again_soon(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    refunded = shop.paid_order(stripe, card="pm_card_pendingRefund")
    shop.work(shop.refund(refunded, 250))
    stripe.control(f"/refunds/{shop.refunds(refunded)[0].stripe_refund_id}/settle")
    bad, good = unheard_payment(shop, stripe), unheard_payment(shop, stripe)
    shop.age(24)
    shop.change(shop.payment(bad), check_at=shop.clock() - timedelta(hours=48))
    deadly, asked = shop.payment(bad).payment_intent_id, Payment.retrieve_payment_intent

    def dying(self: Payment, intent_id: str) -> dict[str, object]:
        if intent_id == deadly:
            raise Killed
        return asked(self, intent_id)

    monkeypatch.setattr(Payment, "retrieve_payment_intent", dying)
    accepted = shop.enqueue(jobs.RECONCILE_OBJECTS)
    shop.work(accepted)
    assert (shop.job(accepted.job_id).status, shop.look(good).status) == (jobs.RUNNING, orders.AWAITING_PAYMENT)
    assert 60 < seconds_until_check(shop, bad) <= checks.ASKING_SECONDS
    shop.work_off()
    assert (shop.job(accepted.job_id).status, shop.look(good).status) == (jobs.SUCCEEDED, orders.PAID)
    assert shop.refunds(refunded)[0].status == refunds.SUCCEEDED


def test_a_right_that_the_key_lacks_holds_back_only_what_needs_it(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        disputed = shop.paid_order(stripe)
        stripe.control(f"/charges/{shop.payment(disputed).charge_id}/dispute")
    shop.hear(stripe.events())
    shop.work_off()
    unheard = [unheard_payment(shop, stripe) for _ in range(3)]
    shop.age(24)
    asked = list[str]()

    def refused(self: Payment, dispute_id: str) -> dict[str, object]:
        asked.append(dispute_id)
        raise PaymentMisconfigured("no right to read disputes", everywhere=False)

    monkeypatch.setattr(Payment, "retrieve_dispute", refused)
    assert compare(shop).status == jobs.QUEUED
    assert len(asked) == 1
    assert [shop.look(order).status for order in unheard] == [orders.PAID] * 3


def test_a_database_that_goes_away_between_two_pages_is_no_fault_of_stripes(
    shop: Shop, stripe: Stripe, kill_at: KillAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost_checkout(shop, kill_at, "charge.posted")
    shop.age(24)

    def gone(self: Payment, *_: object) -> list[dict[str, object]]:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(Payment, "list_payment_intents", gone)
    assert compare(shop).status == jobs.QUEUED
    with reading() as conn:
        assert not conn.execute(select(payments.payments.c.check_failures)).scalar_one()


def test_a_worker_that_stops_asks_nothing_more_about_an_object_that_stripe_fails_to_show(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = unheard_payment(shop, stripe)
    hide(stripe, shop.payment(order).payment_intent_id or "")
    shop.age(24)
    monkeypatch.setattr(shop.runner.stopping, "seconds", lambda: stripe.fired() * (STOPPING_SECONDS + 0.1))
    assert compare(shop).status == jobs.QUEUED
    assert stripe.requests("GET", "/v1/events") == []
    assert seconds_until_check(shop, order) < 0


def test_a_dispute_that_stripe_does_not_know_is_left_open(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    stripe.control(f"/charges/{shop.payment(order).charge_id}/dispute")
    shop.hear(stripe.events())
    shop.work_off()
    with transaction() as conn:
        conn.execute(update(disputes.disputes).values(stripe_dispute_id="du_gone"))
    shop.age(24)
    compare(shop)
    assert found(shop) == [(findings.MISSING_AT_STRIPE, "du_gone", findings.OPEN)]


# -- one of which nobody knows whether Stripe has it


def lost_checkout(shop: Shop, kill_at: KillAt, point: str, status: str = jobs.QUARANTINED) -> tuple[Order, Accepted]:
    """A checkout whose worker died at a crash point, and whose job nobody runs any more."""
    order = shop.order()
    accepted = shop.checkout(order)
    kill_at(point)
    shop.work(accepted)
    end(accepted, status)
    kill_at("nowhere")
    return order, accepted


def lost_refund(shop: Shop, order: Order, kill_at: KillAt, point: str, status: str) -> Accepted:
    accepted = shop.refund(order, 250)
    kill_at(point)
    shop.work(accepted)
    end(accepted, status)
    kill_at("nowhere")
    return accepted


@pytest.mark.parametrize("status", [payments.CREATING, payments.UNKNOWN])
def test_a_payment_that_no_job_will_find_out_about_is_looked_for_and_found(
    shop: Shop, stripe: Stripe, kill_at: KillAt, status: str
) -> None:
    order, _ = lost_checkout(shop, kill_at, "charge.posted")
    shop.change(shop.payment(order), status=status)
    shop.age(24)
    compare(shop)
    [intent] = stripe.intents()
    assert (shop.payment(order).status, shop.payment(order).payment_intent_id) == (
        payments.REQUIRES_PAYMENT, intent["id"],
    )  # fmt: skip
    assert found(shop) == [(findings.STATE_DIFFERS, intent["id"], findings.REPAIRED)]


def test_a_payment_whose_customer_is_gone_is_looked_for_among_everybodys_for_longer_than_a_lease(
    shop: Shop, stripe: Stripe, kill_at: KillAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, _ = lost_checkout(shop, kill_at, "charge.posted")
    for _ in range(7):
        stripe.post("/v1/payment_intents", amount=500, currency="usd")
    shop.age(23)
    page_slowly(monkeypatch, 0.3, unknown=stripe.intents()[-1]["customer"])
    job = compare(Shop(lease_seconds=2.0))
    assert (job.status, job.attempts) == (jobs.SUCCEEDED, 1)
    assert shop.payment(order).status == payments.REQUIRES_PAYMENT


@pytest.mark.parametrize("status", [refunds.CREATING, refunds.UNKNOWN])
def test_a_refund_that_no_job_will_find_out_about_is_looked_for_and_found(
    shop: Shop, stripe: Stripe, kill_at: KillAt, status: str
) -> None:
    order = shop.paid_order(stripe)
    lost_refund(shop, order, kill_at, "refund.posted", jobs.QUARANTINED)
    shop.change(shop.refunds(order)[0], status=status)
    shop.age(24)
    compare(shop)
    assert shop.refunds(order)[0].status == refunds.SUCCEEDED
    assert shop.ledger(order) == [("payment", 1050), ("refund", 250)]


@pytest.mark.parametrize("point", ["charge.frozen", "charge.customer_kept"])
def test_a_payment_that_stripe_has_nothing_of_waits_for_its_jobs_operator(
    shop: Shop, stripe: Stripe, kill_at: KillAt, point: str
) -> None:
    order, accepted = lost_checkout(shop, kill_at, point)
    shop.age(24)
    compare(shop)
    [finding] = shop.findings()
    assert (finding.kind, finding.object_id, finding.status) == (
        findings.UNRESOLVED, shop.payment(order).id, findings.OPEN,
    )  # fmt: skip
    assert finding.detail["job_id"] == accepted.job_id
    assert shop.payment(order).status == payments.CREATING
    shop.resume(shop.job(accepted.job_id))
    shop.work_off()
    assert shop.payment(order).status == payments.REQUIRES_PAYMENT
    compare(shop)
    assert [one.status for one in shop.findings()] == [findings.REPAIRED]


def test_a_refund_that_stripe_has_nothing_of_waits_for_its_jobs_operator(
    shop: Shop, stripe: Stripe, kill_at: KillAt
) -> None:
    order = shop.paid_order(stripe)
    accepted = lost_refund(shop, order, kill_at, "refund.frozen", jobs.NEEDS_REVIEW)
    shop.age(24)
    compare(shop)
    assert found(shop) == [(findings.UNRESOLVED, shop.refunds(order)[0].id, findings.OPEN)]
    shop.resume(shop.job(accepted.job_id))
    shop.work_off()
    compare(shop)
    assert found(shop)[0][2] == findings.REPAIRED
    assert shop.ledger(order) == [("payment", 1050), ("refund", 250)]


def test_a_payment_without_any_job_is_given_up_once_its_key_is_dead(
    shop: Shop, stripe: Stripe, kill_at: KillAt
) -> None:
    order, _ = lost_checkout(shop, kill_at, "charge.frozen", jobs.FAILED)
    shop.age(2)
    compare(shop)
    assert (shop.payment(order).status, found(shop)[0][2]) == (payments.CREATING, findings.OPEN)
    shop.age(24)
    compare(shop)
    assert (shop.payment(order).status, found(shop)[0][2]) == (payments.CANCELED, findings.REPAIRED)
    shop.work(shop.checkout(order))
    assert shop.payment(order).status == payments.REQUIRES_PAYMENT


def test_a_refund_without_any_job_is_given_up_once_its_key_is_dead_and_its_amount_is_free_again(
    shop: Shop, stripe: Stripe, kill_at: KillAt
) -> None:
    order = shop.paid_order(stripe)
    lost_refund(shop, order, kill_at, "refund.frozen", jobs.FAILED)
    shop.age(2)
    compare(shop)
    assert (shop.refunds(order)[0].status, found(shop)[0][2]) == (refunds.CREATING, findings.OPEN)
    shop.age(24)
    compare(shop)
    assert (shop.refunds(order)[0].status, found(shop)[0][2]) == (refunds.FAILED, findings.REPAIRED)
    shop.work(shop.refund(order, 1050))
    assert shop.ledger(order) == [("payment", 1050), ("refund", 1050)]


def test_a_payment_with_a_job_at_work_is_none_of_ours(shop: Shop, stripe: Stripe, kill_at: KillAt) -> None:
    order, _ = lost_checkout(shop, kill_at, "charge.frozen", jobs.QUEUED)
    shop.age(24)
    assert compare(shop).result == {"checked": 0, "compared": 0, "fees": 0}
    shop.work_off()
    assert (shop.payment(order).status, found(shop)) == (payments.REQUIRES_PAYMENT, [])


@pytest.mark.parametrize("what", ["payment", "refund"])
def test_a_job_that_came_while_stripe_was_asked_is_left_its_work(
    shop: Shop, stripe: Stripe, kill_at: KillAt, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "payment":
        _, accepted = lost_checkout(shop, kill_at, "charge.frozen", jobs.FAILED)
        listing = "list_payment_intents"
    else:
        accepted = lost_refund(shop, shop.paid_order(stripe), kill_at, "refund.frozen", jobs.FAILED)
        listing = "list_refunds"
    shop.age(24)

    def meanwhile(*args: object, **more: object) -> list[object]:
        end(accepted, jobs.QUEUED)
        return []

    monkeypatch.setattr(f"core.payments.Payment.{listing}", meanwhile)
    assert compare(shop).result == {"checked": 1, "compared": 0, "fees": 0}
    assert found(shop) == []


def test_a_list_that_stripe_refuses_decides_nothing(
    shop: Shop, stripe: Stripe, kill_at: KillAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, _ = lost_checkout(shop, kill_at, "charge.frozen", jobs.FAILED)
    row = shop.payment(order)
    shop.change(row, params={**(row.params or {}), "customer_id": ""})
    shop.age(24)
    assert compare(shop).status == jobs.SUCCEEDED
    assert shop.payment(order).status == payments.CREATING
    assert 0 < seconds_until_check(shop, order) <= checks.FIRST_CHECK_SECONDS
