"""simulator/resources/refunds.py"""

from __future__ import annotations

import pytest
import stripe

from tests.simulator.conftest import Pay
from tests.simulator.receiver import eventually
from tests.simulator.wire import Wire, plain


def refund_events(client: stripe.StripeClient) -> list[str]:
    """Types of the events about refunds, oldest first."""
    events = reversed(client.v1.events.list({"limit": 100}).data)
    return [event.type for event in events if "refund" in event.type]


def test_a_partial_refund_then_the_rest(client: stripe.StripeClient, wire: Wire, pay: Pay) -> None:
    paid = pay(amount=1000)
    first = client.v1.refunds.create({
        "payment_intent": paid.id, "amount": 300, "reason": "requested_by_customer", "metadata": {"refund_id": "r1"},
    })  # fmt: skip
    assert (first.status, first.amount, first.reason, plain(first.metadata)) == (
        "succeeded", 300, "requested_by_customer", {"refund_id": "r1"},
    )  # fmt: skip
    assert (first.payment_intent, first.charge) == (paid.id, paid.latest_charge)
    charge = client.v1.charges.retrieve(str(paid.latest_charge))
    assert (charge.amount_refunded, charge.refunded) == (300, False)
    rest = client.v1.refunds.create({"charge": charge.id})
    assert rest.amount == 700
    assert client.v1.charges.retrieve(charge.id).refunded
    assert wire.movements() == [("payment", 1000), ("fee", -59), ("refund", -300), ("refund", -700)]
    assert refund_events(client) == ["refund.created", "charge.refunded"] * 2
    by_intent = client.v1.refunds.list({"payment_intent": paid.id})
    by_charge = client.v1.refunds.list({"charge": charge.id})
    assert [found.id for found in by_intent.data] == [found.id for found in by_charge.data] == [rest.id, first.id]


def test_more_than_is_left_is_refused(client: stripe.StripeClient, wire: Wire, pay: Pay) -> None:
    paid = pay(amount=1000)
    with pytest.raises(stripe.InvalidRequestError, match=r"greater than charge amount \(\$10.00\)") as too_much:
        client.v1.refunds.create({"payment_intent": paid.id, "amount": 1001})
    assert (too_much.value.code, too_much.value.param) == ("amount_too_large", "amount")
    client.v1.refunds.create({"payment_intent": paid.id, "amount": 600})
    with pytest.raises(stripe.InvalidRequestError, match="unrefunded amount on charge"):
        client.v1.refunds.create({"payment_intent": paid.id, "amount": 401})
    client.v1.refunds.create({"payment_intent": paid.id})
    with pytest.raises(stripe.InvalidRequestError) as nothing_left:
        client.v1.refunds.create({"payment_intent": paid.id, "amount": 1})
    assert nothing_left.value.code == "charge_already_refunded"
    assert sum(amount for kind, amount in wire.movements() if kind == "refund") == -1000


def test_what_was_not_paid_cannot_be_refunded(client: stripe.StripeClient) -> None:
    unpaid = client.v1.payment_intents.create({"amount": 500, "currency": "usd"})
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge to refund"):
        client.v1.refunds.create({"payment_intent": unpaid.id})
    with pytest.raises(stripe.InvalidRequestError, match="payment_intent or charge"):
        client.v1.refunds.create({"amount": 500})
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        client.v1.refunds.create({"payment_intent": "pi_nobody"})
    assert (unknown.value.http_status, unknown.value.code) == (400, "resource_missing")


def test_a_pending_refund_succeeds_when_the_bank_takes_it(client: stripe.StripeClient, wire: Wire, pay: Pay) -> None:
    paid = pay("pm_card_pendingRefund")
    refund = client.v1.refunds.create({"payment_intent": paid.id})
    assert (refund.status, refund.pending_reason) == ("pending", "processing")
    wire.sim("POST", f"refunds/{refund.id}/settle")
    assert client.v1.refunds.retrieve(refund.id).status == "succeeded"
    assert refund_events(client)[2:] == ["refund.updated", "charge.refund.updated"]
    assert wire("POST", f"/_sim/refunds/{refund.id}/settle").status == 400


@pytest.mark.parametrize("method", ["pm_card_refundFail", "pm_card_pendingRefund", "pm_card_visa"])
def test_a_refund_that_fails_gives_the_money_back(
    client: stripe.StripeClient, wire: Wire, pay: Pay, method: str
) -> None:
    paid = pay(method, amount=1000)
    refund = client.v1.refunds.create({"payment_intent": paid.id, "amount": 400})
    wire.sim("POST", f"refunds/{refund.id}/fail")
    failed = client.v1.refunds.retrieve(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    assert failed.failure_balance_transaction is not None
    assert client.v1.charges.retrieve(str(refund.charge)).amount_refunded == 0
    assert wire.movements()[2:] == [("refund", -400), ("refund_reversal", 400)]
    assert refund_events(client)[2:] == ["refund.failed", "refund.updated", "charge.refund.updated"]
    assert client.v1.refunds.create({"payment_intent": paid.id, "amount": 1000}).amount == 1000


def test_only_a_refund_that_waits_for_the_customer_can_be_canceled(
    client: stripe.StripeClient, wire: Wire, pay: Pay
) -> None:
    paid = pay("pm_card_pendingRefund")
    refund = client.v1.refunds.create({"payment_intent": paid.id})
    with pytest.raises(stripe.InvalidRequestError, match="status of pending"):
        client.v1.refunds.cancel(refund.id)
    wire.sim("POST", f"refunds/{refund.id}/require_action")
    assert client.v1.refunds.retrieve(refund.id).status == "requires_action"
    assert client.v1.refunds.cancel(refund.id).status == "canceled"
    assert wire.movements()[-1] == ("refund_reversal", 1000)


def test_the_metadata_of_a_refund_can_be_changed(client: stripe.StripeClient, pay: Pay) -> None:
    refund = client.v1.refunds.create({"payment_intent": pay().id, "metadata": {"a": "1"}})
    assert plain(client.v1.refunds.update(refund.id, {"metadata": {"b": "2"}}).metadata) == {"a": "1", "b": "2"}
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
        client.v1.refunds.update(refund.id, {"amount": 5})  # type: ignore[arg-type]  # that is the point


def test_the_clock_brings_what_happens_some_time_later(client: stripe.StripeClient, wire: Wire, pay: Pay) -> None:
    pending = client.v1.refunds.create({"payment_intent": pay("pm_card_pendingRefund").id})
    failing = client.v1.refunds.create({"payment_intent": pay("pm_card_refundFail").id})
    assert (pending.status, failing.status) == ("pending", "succeeded")
    wire.sim("POST", "clock", hours=2)
    eventually(lambda: client.v1.refunds.retrieve(failing.id).status == "failed")
    eventually(lambda: client.v1.refunds.retrieve(pending.id).status == "succeeded")
