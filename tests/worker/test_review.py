"""An operator's decisions about money in doubt, against Stripe's stand-in, through the commands that make them."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import update

from core import payment
from core.database import now_plus, transaction
from core.domain import jobs, orders, payments, refunds
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.ids import new_id
from core.payments import PaymentRefused
from core.proof import prove
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe, fault
from web import factory

BY = ("--by", "ada")


def run(*arguments: str) -> Result:
    return factory.build().test_cli_runner().invoke(args=list(arguments))


def said(*arguments: str) -> str:
    """The one line of a command that changed nothing."""
    ended = run(*arguments)
    assert ended.exit_code == 1, ended.output
    [line] = ended.stderr.splitlines()
    return str(line)


def decide(*arguments: str) -> str:
    """What a command said that did its work, twice: repeating it changes nothing."""
    first, again = run(*arguments, *BY), run(*arguments, *BY)
    assert (first.exit_code, again.exit_code) == (0, 0), first.output + again.output
    assert "nothing to" in again.stdout
    return str(first.stdout)


def changed_at_stripe(shop: Shop, stripe: Stripe, card: str | None, **change: Any) -> tuple[Order, Payment]:
    """An order of 1050 whose PaymentIntent somebody changed at Stripe; what came of it was heard."""
    order = shop.order(1050)
    [job] = shop.work(shop.checkout(order))
    assert job.result is not None
    intent_id = job.result["payment_intent_id"]
    stripe.post(f"/v1/payment_intents/{intent_id}", **change)
    if card:
        stripe.pay(intent_id, card)
        shop.hear(stripe.events())
        shop.work_off()
    else:
        shop.change(shop.payment(order), status=payments.NEEDS_REVIEW, detail="it was changed")
    row = shop.payment(order)
    assert row.status == payments.NEEDS_REVIEW
    return order, row


def doubtful_refund(shop: Shop, stripe: Stripe, amount: int = 250, age: float = 7200) -> tuple[Order, Refund]:
    """A paid order's refund that was set aside before Stripe heard of it."""
    order = shop.paid_order(stripe, 1050)
    accepted = shop.refund(order, amount)
    [row] = shop.refunds(order)
    shop.change(row, status=refunds.NEEDS_REVIEW, detail="in doubt", updated_at=now_plus(-age))
    assert shop.work(accepted)[0].status == jobs.NEEDS_REVIEW
    return order, shop.refunds(order)[0]


def at_stripe(stripe: Stripe, row: Refund, amount: int, **more: Any) -> dict[str, Any]:
    """A refund at Stripe that carries our id."""
    intent = stripe.intents()[0]["id"]
    return stripe.post("/v1/refunds", payment_intent=intent, amount=amount, **{"metadata[refund_id]": row.id}, **more)


# -- payments


def test_a_payment_of_another_amount_is_settled_as_stripe_shows_it(shop: Shop, stripe: Stripe) -> None:
    order, row = changed_at_stripe(shop, stripe, "pm_card_visa", amount=999)
    listed = run("payments", "review").stdout
    assert listed.startswith(f"{row.id}  order {order.id}  1050 usd  {row.payment_intent_id}  Stripe shows amount 999")
    shown = decide("payments", "settle", row.id)
    assert f"payment {row.id} settled: succeeded, 999 usd; Stripe shows {row.payment_intent_id} succeeded" in shown
    assert run("payments", "review").stdout == ""
    assert (shop.payment(order).amount_received, shop.look(order).status) == (999, orders.PAID)
    assert shop.ledger(order) == [("payment", 999)]
    assert prove().holds


def test_a_settled_payment_stays_settled_whatever_is_told_again(shop: Shop, stripe: Stripe) -> None:
    order, row = changed_at_stripe(shop, stripe, "pm_card_visa", amount=999)
    decide("payments", "settle", row.id)
    for job in shop.jobs_of(jobs.WEBHOOK_PROCESS):
        if job.status == jobs.NEEDS_REVIEW:
            shop.resume(job)
    shop.work(shop.enqueue(jobs.RECONCILE_OBJECTS))
    shop.work_off()
    assert run("jobs", "waiting").stdout == ""
    assert shop.findings("open") == []
    assert shop.payment(order).status == payments.SUCCEEDED


def test_who_decided_is_on_the_timeline_and_the_caller_gets_the_answer(shop: Shop, stripe: Stripe) -> None:
    order, row = changed_at_stripe(shop, stripe, "pm_card_visa", amount=999)
    [checkout] = shop.jobs_of(jobs.PAYMENT_CREATE)
    with transaction() as conn:
        conn.execute(update(jobs.jobs).where(jobs.jobs.c.id == checkout.id).values(status=jobs.NEEDS_REVIEW))
    shown = run("payments", "settle", row.id, *BY).stdout
    assert shop.told(checkout.id)[-2:] == ["settled by an operator", "resumed"]
    [webhook] = [job for job in shop.jobs_of(jobs.WEBHOOK_PROCESS) if job.status == jobs.NEEDS_REVIEW]
    assert f"still set aside: {webhook.id}  webhooks.process  Stripe shows amount 999" in shown
    shop.work_off()
    assert shop.job(checkout.id).status == jobs.SUCCEEDED
    assert shop.look(order).status == orders.PAID


def test_a_payment_that_can_still_be_paid_is_settled_as_open_and_paid_later(shop: Shop, stripe: Stripe) -> None:
    order, row = changed_at_stripe(shop, stripe, None, amount=999)
    assert "requires_payment, 999 usd" in decide("payments", "settle", row.id)
    stripe.pay(str(row.payment_intent_id))
    shop.hear(stripe.events())
    shop.work_off()
    assert (shop.payment(order).status, shop.ledger(order)) == (payments.SUCCEEDED, [("payment", 999)])


def test_another_currency_is_not_taken_into_the_ledger(shop: Shop, stripe: Stripe) -> None:
    order, row = changed_at_stripe(shop, stripe, "pm_card_visa", currency="eur")
    assert "is in eur" in said("payments", "settle", row.id, *BY)
    assert "took money" in said("payments", "discard", row.id, *BY)
    assert shop.payment(order) == row
    assert shop.ledger(order) == []


def test_an_intent_that_was_never_stored_is_found_by_our_id(shop: Shop, stripe: Stripe) -> None:
    order, row = changed_at_stripe(shop, stripe, "pm_card_visa", amount=999)
    shop.change(row, payment_intent_id=None)
    decide("payments", "settle", row.id)
    assert shop.payment(order).payment_intent_id == row.payment_intent_id


def test_of_several_intents_the_operator_names_the_one_that_counts(shop: Shop, stripe: Stripe) -> None:
    order, row = changed_at_stripe(shop, stripe, "pm_card_visa", amount=999)
    marks = {"metadata[payment_id]": row.id}
    other = stripe.post("/v1/payment_intents", amount=1050, currency="usd", customer=_customer(row), **marks)["id"]
    assert "several" in said("payments", "settle", row.id, *BY)
    assert "no pi_nothing" in said("payments", "settle", row.id, "--intent", "pi_nothing", *BY)
    decide("payments", "settle", row.id, "--intent", str(row.payment_intent_id))
    assert shop.payment(order).payment_intent_id == row.payment_intent_id != other
    assert stripe.get(f"/v1/payment_intents/{other}")["status"] == "canceled", "nobody can pay it as well"


def test_another_payments_intent_with_our_id_on_it_is_not_canceled(shop: Shop, stripe: Stripe) -> None:
    _, row = changed_at_stripe(shop, stripe, "pm_card_visa", amount=999)
    theirs = shop.payment_of(shop.checkout(shop.order()))
    [job] = [shop.job(job_id) for kind, job_id in shop.queued() if kind == jobs.PAYMENT_CREATE.name]
    shop.hint(job.kind, job.id)
    intent_id = shop.job(job.id).result["payment_intent_id"]  # type: ignore[index]  # it succeeded
    stripe.post(f"/v1/payment_intents/{intent_id}", **{"metadata[payment_id]": row.id})
    decide("payments", "settle", row.id, "--intent", str(row.payment_intent_id))
    assert stripe.get(f"/v1/payment_intents/{intent_id}")["status"] == "requires_payment_method"
    assert theirs.id != row.id


def test_another_payments_intent_cannot_be_taken(shop: Shop, stripe: Stripe) -> None:
    theirs = shop.payment(shop.paid_order(stripe))
    order, row = changed_at_stripe(shop, stripe, None, amount=999)
    shop.change(row, payment_intent_id=None)
    stripe.post(f"/v1/payment_intents/{theirs.payment_intent_id}", **{"metadata[payment_id]": row.id})
    assert f"belongs to payment {theirs.id}" in said(
        "payments", "settle", row.id, "--intent", str(theirs.payment_intent_id), *BY
    )
    assert shop.payment(order).amount == 1050


def test_money_that_came_after_all_is_settled_even_on_a_canceled_payment(shop: Shop, stripe: Stripe) -> None:
    order, row = changed_at_stripe(shop, stripe, "pm_card_visa", amount=999)
    shop.change(row, status=payments.CANCELED)
    decide("payments", "settle", row.id)
    assert shop.look(order).status == orders.PAID


def test_money_that_came_twice_is_settled_and_said(shop: Shop, stripe: Stripe) -> None:
    order, row = changed_at_stripe(shop, stripe, "pm_card_visa", amount=999)
    shop.change(row, status=payments.CANCELED)
    [job] = shop.work(shop.checkout(order))
    assert job.result is not None
    stripe.pay(job.result["payment_intent_id"])
    shop.hear(stripe.events())
    shop.work_off()
    assert "still in doubt: the order is paid 2049 of 1050" in run("payments", "settle", row.id, *BY).stdout
    assert prove().holds


def test_a_discarded_payment_is_canceled_at_stripe_and_its_order_checked_out_again(shop: Shop, stripe: Stripe) -> None:
    order, row = changed_at_stripe(shop, stripe, None, amount=999)
    shown = decide("payments", "discard", row.id)
    assert f"payment {row.id} discarded: canceled" in shown
    assert [intent["status"] for intent in stripe.intents()] == ["canceled"]
    assert (shop.payment(order).status, shop.look(order).status) == (payments.CANCELED, orders.PENDING)
    [again] = shop.work(shop.checkout(order))
    assert again.status == jobs.SUCCEEDED
    shop.hear(stripe.events())
    shop.work_off()
    assert shop.look(order).status == orders.AWAITING_PAYMENT
    assert run("jobs", "waiting").stdout == ""


def test_a_payment_that_took_money_or_is_taking_it_is_not_discarded(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, row = changed_at_stripe(shop, stripe, "pm_usBankAccount_success", amount=999)
    with monkeypatch.context() as bank:
        bank.setattr(payment, "cancel_payment_intent", refuse)
        assert "does not cancel" in said("payments", "discard", row.id, *BY)
    stripe.control(f"/payment_intents/{row.payment_intent_id}/settle")
    assert "took money" in said("payments", "discard", row.id, *BY)
    assert shop.payment(order).status == payments.NEEDS_REVIEW


def test_a_payment_that_stripe_never_saw_is_discarded(shop: Shop, stripe: Stripe) -> None:
    order = shop.order()
    shop.checkout(order)
    shop.change(shop.payment(order), status=payments.NEEDS_REVIEW, detail="in doubt")
    row = shop.payment(order)
    assert "discard it" in said("payments", "settle", row.id, *BY)
    assert "Stripe shows nothing" in decide("payments", "discard", row.id)
    assert shop.payment(order).status == payments.CANCELED


def test_test_data_that_stripe_deleted_is_discarded_and_live_money_is_not(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, row = changed_at_stripe(shop, stripe, None, amount=999)
    shop.change(row, payment_intent_id="pi_of_another_account")
    stripe.post(f"/v1/payment_intents/{row.payment_intent_id}/cancel")
    with monkeypatch.context() as live:
        live.setattr(payment, "livemode", lambda: True)
        assert "right account" in said("payments", "discard", row.id, *BY)
    decide("payments", "discard", row.id)
    assert shop.payment(order).status == payments.CANCELED


def test_an_answer_to_the_cancellation_that_is_lost_changes_nothing_until_it_is_repeated(
    shop: Shop, stripe: Stripe
) -> None:
    order, row = changed_at_stripe(shop, stripe, None, amount=999)
    stripe.faults(fault("reset", "after", "*cancel"))
    assert "no answer from Stripe" in said("payments", "discard", row.id, *BY)
    assert shop.payment(order).status == payments.NEEDS_REVIEW
    decide("payments", "discard", row.id)
    assert shop.payment(order).status == payments.CANCELED


def test_nothing_is_discarded_while_a_worker_is_at_it(shop: Shop, stripe: Stripe) -> None:
    _, row = changed_at_stripe(shop, stripe, None, amount=999)
    running = {"status": jobs.RUNNING, "lease_token": new_id()}
    with transaction() as conn:
        conn.execute(update(jobs.jobs).values(**running))
    assert "is at it" in said("payments", "discard", row.id, *BY)


def test_a_payment_that_moves_meanwhile_is_left_as_it_is(
    shop: Shop, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, row = changed_at_stripe(shop, stripe, "pm_card_visa", amount=999)
    asked = payment.retrieve_payment_intent

    def retrieve(intent_id: str) -> dict[str, Any]:
        shop.change(row, status=payments.SUCCEEDED)
        return asked(intent_id)

    monkeypatch.setattr(payment, "retrieve_payment_intent", retrieve)
    assert "moved meanwhile" in said("payments", "settle", row.id, *BY)
    assert shop.payment(order).amount == 1050
    assert shop.ledger(order) == []


def test_what_is_not_in_doubt_is_left_alone(shop: Shop, stripe: Stripe) -> None:
    row = shop.payment(shop.paid_order(stripe))
    for what in ("settle", "discard"):
        assert f"payment {row.id} is succeeded: there is nothing to {what}" in decide("payments", what, row.id)


@pytest.mark.parametrize("group", ["payments", "refunds"])
@pytest.mark.parametrize("what", ["settle", "discard"])
def test_what_is_not_there_is_said(shop: Shop, stripe: Stripe, group: str, what: str) -> None:
    for wrong in (new_id(), "7"):
        assert said(group, what, wrong, *BY) == f"Error: there is no {group[:-1]} {wrong}"


@pytest.mark.parametrize("group", ["payments", "refunds"])
def test_without_stripe_nothing_is_decided(shop: Shop, group: str) -> None:
    assert "STRIPE_ENABLED is off" in said(group, "settle", new_id(), *BY)


# -- refunds


def test_a_refund_is_settled_with_the_amount_that_stripe_gave_back(shop: Shop, stripe: Stripe) -> None:
    order, row = doubtful_refund(shop, stripe)
    made = at_stripe(stripe, row, 300)
    assert run("refunds", "review").stdout == f"{row.id}  order {order.id}  250 usd  -  in doubt\n"
    shown = decide("refunds", "settle", row.id)
    assert shown.startswith(f"refund {row.id} settled: succeeded, 300 usd; Stripe shows {made['id']} succeeded")
    assert shop.ledger(order) == [("payment", 1050), ("refund", 300)]
    assert shop.look(order).status == orders.PARTIALLY_REFUNDED
    shop.hear(stripe.events())
    shop.work_off()
    assert len(shop.refunds(order)) == 1
    assert run("jobs", "waiting").stdout == ""
    assert prove().holds


def test_a_refund_made_at_stripe_is_settled_on_its_payments_timeline(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe, 1050)
    made = stripe.post("/v1/refunds", payment_intent=stripe.intents()[0]["id"], amount=300)
    with transaction() as conn:
        refunds.adopt(conn, shop.payment(order), {**made, "amount": 250})
    [row] = shop.refunds(order)
    shop.change(row, status=refunds.NEEDS_REVIEW)
    decide("refunds", "settle", row.id)
    [checkout] = shop.jobs_of(jobs.PAYMENT_CREATE)
    assert "settled by an operator" in shop.told(checkout.id)


def test_of_several_refunds_the_operator_names_the_one_that_counts(shop: Shop, stripe: Stripe) -> None:
    order, row = doubtful_refund(shop, stripe)
    first, second = at_stripe(stripe, row, 250), at_stripe(stripe, row, 100)
    assert "several" in said("refunds", "settle", row.id, *BY)
    decide("refunds", "settle", row.id, "--refund", first["id"])
    shop.hear(stripe.events())  # the other one is imported: it gave money back, too
    shop.work_off()
    assert {one.stripe_refund_id for one in shop.refunds(order)} == {first["id"], second["id"]}
    assert prove().holds


def test_a_refund_that_stripe_never_saw_is_discarded_and_its_amount_is_free(shop: Shop, stripe: Stripe) -> None:
    order, row = doubtful_refund(shop, stripe, amount=1050)
    decide("refunds", "discard", row.id)
    assert shop.refunds(order)[0].status == refunds.CANCELED
    [again] = shop.work(shop.refund(order, 1050))
    assert again.status == jobs.SUCCEEDED, again.error
    assert sum(movement["amount"] for movement in stripe.moved("refund")) == -1050


def test_a_refund_that_stripe_may_still_carry_out_is_not_discarded(shop: Shop, stripe: Stripe) -> None:
    order, row = doubtful_refund(shop, stripe, age=60)
    assert "repeat this after" in said("refunds", "discard", row.id, *BY)
    assert shop.refunds(order)[0].status == refunds.NEEDS_REVIEW


def test_a_refund_that_gave_money_back_is_not_discarded(shop: Shop, stripe: Stripe) -> None:
    order, row = doubtful_refund(shop, stripe)
    made = at_stripe(stripe, row, 250)
    assert f"{made['id']} as" in said("refunds", "discard", row.id, *BY)
    assert shop.refunds(order)[0] == row


def test_a_refund_that_failed_at_stripe_is_discarded_as_it_is_shown(shop: Shop, stripe: Stripe) -> None:
    order, row = doubtful_refund(shop, stripe, age=0)
    made = at_stripe(stripe, row, 250)
    shop.change(row, stripe_refund_id=made["id"])
    stripe.control(f"/refunds/{made['id']}/fail")
    assert stripe.refunds()[0]["status"] == "failed"
    decide("refunds", "discard", row.id)
    assert (shop.refunds(order)[0].status, shop.look(order).status) == (refunds.FAILED, orders.PAID)
    assert shop.ledger(order) == [("payment", 1050)]


def test_an_account_that_does_not_know_the_payment_proves_nothing(shop: Shop, stripe: Stripe) -> None:
    order, row = doubtful_refund(shop, stripe)
    shop.change(shop.payment(order), payment_intent_id="pi_of_another_account")
    for what in ("settle", "discard"):
        assert "right account" in said("refunds", what, row.id, *BY)
    shop.change(shop.payment(order), payment_intent_id=None)
    assert "has no PaymentIntent" in said("refunds", "discard", row.id, *BY)


def test_another_refund_or_currency_is_not_taken(shop: Shop, stripe: Stripe) -> None:
    order, row = doubtful_refund(shop, stripe)
    made = at_stripe(stripe, row, 250)
    with transaction() as conn:
        refunds.adopt(conn, shop.payment(order), made)
    assert "belongs to refund" in said("refunds", "settle", row.id, *BY)
    shop.change(row, currency="eur")
    assert "is in usd" in said("refunds", "settle", row.id, *BY)


def test_what_is_not_in_doubt_of_a_refund_is_left_alone(shop: Shop, stripe: Stripe) -> None:
    order = shop.paid_order(stripe)
    shop.work(shop.refund(order))
    [row] = shop.refunds(order)
    for what in ("settle", "discard"):
        assert "there is nothing to" in decide("refunds", what, row.id)


def refuse(intent_id: str) -> None:
    raise PaymentRefused("the bank has it already")


def _customer(row: Payment) -> str:
    assert row.params is not None
    return str(row.params["customer_id"])
