"""simulator/resources/disputes.py"""

from __future__ import annotations

import pytest
import stripe

from tests.simulator.conftest import Pay
from tests.simulator.receiver import eventually
from tests.simulator.wire import Wire, plain


def dispute_events(client: stripe.StripeClient) -> list[str]:
    """Types of the dispute events, oldest first, without their common prefix."""
    events = reversed(client.v1.events.list({"type": "charge.dispute.*", "limit": 100}).data)
    return [event.type.removeprefix("charge.dispute.") for event in events]


def disputed(wire: Wire, paid: stripe.PaymentIntent, **members: object) -> str:
    """The id of a new dispute of the payment."""
    return str(wire.sim("POST", f"charges/{paid.latest_charge}/dispute", **members)["id"])


def test_a_dispute_withdraws_the_money_and_blocks_refunds(client: stripe.StripeClient, wire: Wire, pay: Pay) -> None:
    paid = pay(amount=2000)
    dispute = client.v1.disputes.retrieve(disputed(wire, paid, reason="product_not_received"))
    assert (dispute.status, dispute.reason, dispute.amount) == ("needs_response", "product_not_received", 2000)
    assert dispute.payment_intent == paid.id
    assert wire.movements()[2:] == [("dispute_withdrawn", -2000), ("fee", -1500)]
    assert dispute_events(client) == ["created", "funds_withdrawn"]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.refunds.create({"payment_intent": paid.id})
    assert caught.value.code == "charge_disputed"


def test_a_won_dispute_brings_the_money_back(client: stripe.StripeClient, wire: Wire, pay: Pay) -> None:
    dispute = disputed(wire, pay(amount=2000))
    assert wire.sim("POST", f"disputes/{dispute}/close", outcome="won")["status"] == "won"
    assert wire.movements()[-1] == ("dispute_reinstated", 2000)
    assert dispute_events(client)[2:] == ["closed", "funds_reinstated"]


def test_a_dispute_is_lost_when_the_bank_or_the_merchant_says_so(
    client: stripe.StripeClient, wire: Wire, pay: Pay
) -> None:
    by_bank, by_us = disputed(wire, pay()), disputed(wire, pay())
    assert wire.sim("POST", f"disputes/{by_bank}/close?outcome=lost")["status"] == "lost"
    assert client.v1.disputes.close(by_us).status == "lost"
    assert "dispute_reinstated" not in dict(wire.movements())
    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        client.v1.disputes.close(by_us)


def test_evidence_puts_a_dispute_under_review(client: stripe.StripeClient, wire: Wire, pay: Pay) -> None:
    dispute = disputed(wire, pay())
    evidence = {"product_description": "a counterfoil"}
    updated = client.v1.disputes.update(dispute, {"evidence": evidence, "metadata": {"case": "4"}})  # type: ignore[arg-type]  # a plain dict
    assert (updated.status, updated.evidence_details.submission_count) == ("under_review", 1)
    assert plain(updated.metadata) == {"case": "4"}
    assert dispute_events(client)[-1] == "updated"


def test_an_inquiry_moves_no_money(client: stripe.StripeClient, wire: Wire, pay: Pay) -> None:
    paid = pay()
    inquiry = disputed(wire, paid, inquiry=True)
    assert client.v1.disputes.retrieve(inquiry).status == "warning_needs_response"
    assert client.v1.refunds.create({"payment_intent": paid.id, "amount": 100}).status == "succeeded"
    assert wire.sim("POST", f"disputes/{inquiry}/close", outcome="won")["status"] == "warning_closed"
    assert not [kind for kind, _ in wire.movements() if kind.startswith("dispute")]
    assert dispute_events(client) == ["created", "closed"]


@pytest.mark.parametrize(
    ("method", "reason", "status"),
    [
        ("pm_card_createDispute", "fraudulent", "needs_response"),
        ("pm_card_createDisputeProductNotReceived", "product_not_received", "needs_response"),
        ("pm_card_createDisputeInquiry", "fraudulent", "warning_needs_response"),
    ],
)
def test_the_disputing_test_cards_dispute_some_time_later(
    client: stripe.StripeClient, wire: Wire, pay: Pay, method: str, reason: str, status: str
) -> None:
    paid = pay(method)
    assert client.v1.disputes.list({"payment_intent": paid.id}).data == []
    wire.sim("POST", "clock", hours=2)
    eventually(lambda: len(client.v1.disputes.list({"charge": str(paid.latest_charge)}).data) == 1)
    [dispute] = client.v1.disputes.list().data
    assert (dispute.reason, dispute.status) == (reason, status)


def test_a_charge_is_disputed_once_and_not_by_more_than_it_took(wire: Wire, pay: Pay) -> None:
    charge = pay(amount=500).latest_charge
    assert wire("POST", f"/_sim/charges/{charge}/dispute?amount=501").status == 400
    assert wire("POST", f"/_sim/charges/{charge}/dispute?amount=200").status == 200
    assert wire("POST", f"/_sim/charges/{charge}/dispute").status == 400
