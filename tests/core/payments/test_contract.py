"""What callers may rely on whether Stripe is on or off; the real side is the SDK against the simulator."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core import payment
from core.payments import PaymentInvalid
from core.payments.backend import Answer, Listed

INTENT = {"id", "object", "amount", "amount_received", "client_secret", "created", "currency", "customer",
          "latest_charge", "last_payment_error", "livemode", "metadata", "status", "test_mode"}  # fmt: skip
REFUND = {"id", "object", "amount", "charge", "created", "currency", "metadata", "payment_intent", "reason",
          "status", "test_mode"}  # fmt: skip


def plain(answer: Any) -> bool:
    return type(answer) is dict and json.loads(json.dumps(answer)) == answer


def test_a_payment_intent_has_what_a_checkout_needs(mode: str) -> None:
    made = payment.create_payment_intent(1050, "usd", metadata={"order_id": "o1", "user_id": 7})
    assert plain(made)
    assert made.keys() >= INTENT
    assert (made["object"], made["amount"], made["currency"]) == ("payment_intent", 1050, "usd")
    assert (made["status"], made["amount_received"], made["livemode"]) == ("requires_payment_method", 0, False)
    assert made["client_secret"].startswith(made["id"] + "_secret_")
    assert made["metadata"] == {"order_id": "o1", "user_id": "7"}
    assert made["test_mode"] is (mode == "disabled")


def test_a_payment_intent_can_be_retrieved_and_canceled(mode: str) -> None:
    made = payment.create_payment_intent(900, "eur")
    seen = payment.retrieve_payment_intent(made["id"])
    assert {name: seen[name] for name in INTENT} == {name: made[name] for name in INTENT}
    canceled = payment.cancel_payment_intent(made["id"], idempotency_key="cancel:1")
    assert (canceled["id"], canceled["amount"], canceled["status"]) == (made["id"], 900, "canceled")


def test_a_customer_is_made_first_and_then_pays(mode: str) -> None:
    customer = payment.create_customer("jo@example.com", name="Jo", metadata={"user_id": "7"})
    assert plain(customer)
    assert (customer["object"], customer["email"], customer["name"]) == ("customer", "jo@example.com", "Jo")
    assert payment.create_payment_intent(1000, customer_id=customer["id"])["customer"] == customer["id"]


def calls(key: str | None) -> list[Answer]:
    return [
        payment.create_payment_intent(1000, "usd", {"order_id": "1"}, idempotency_key=key and f"pi:{key}"),
        payment.create_customer("jo@example.com", idempotency_key=key and f"cus:{key}"),
    ]


def test_the_same_key_gives_the_same_object_and_another_key_another(mode: str) -> None:
    first, again, other = calls("a"), calls("a"), calls("b")
    assert first == again
    assert not {made["id"] for made in first} & {made["id"] for made in other}


@pytest.mark.parametrize("amount", [10.0, 10.5, True, "1000", None, 0, -1, 100_000_000])
def test_an_amount_that_is_no_sum_is_refused_before_anything_is_sent(mode: str, amount: Any) -> None:
    with pytest.raises(PaymentInvalid):
        payment.create_payment_intent(amount)
    if amount is not None:  # which means the whole
        with pytest.raises(PaymentInvalid):
            payment.create_refund("pi_1", amount)
    assert payment.list_payment_intents() == []


@pytest.mark.parametrize(("amount", "currency"), [(1000, "xxx"), (1000, ""), (1234, "isk"), (1234, "kwd")])
def test_a_currency_that_is_none_or_cannot_hold_the_amount_is_refused(mode: str, amount: int, currency: str) -> None:
    with pytest.raises(PaymentInvalid):
        payment.create_payment_intent(amount, currency)


def test_a_currency_may_be_in_capitals(mode: str) -> None:
    assert payment.create_payment_intent(500, "JPY")["currency"] == "jpy"


def test_lists_are_lists(mode: str) -> None:
    assert payment.list_payment_intents(customer_id=None, created_gte=1, created_lte=2) == []
    assert payment.list_refunds(created_gte=1) == []
    assert payment.list_disputes(created_gte=1) == []
    kinds: tuple[Listed, ...] = ("payment_intents", "refunds", "disputes", "balance_transactions")
    for page in (payment.list_events(created_gte=1, limit=10), *(payment.list_page(of, limit=10) for of in kinds)):
        assert (page["data"], page["has_more"]) == ([], False)


def test_neither_side_moves_real_money(mode: str) -> None:
    assert payment.livemode() is False
    assert payment.api_version == "2026-10-28.endive"


def paid(mode: str, request: pytest.FixtureRequest, amount: int = 1000) -> str:
    """The id of a PaymentIntent that can be refunded."""
    made = payment.create_payment_intent(amount)
    if mode == "simulator":
        from tests.core.payments.customer import pay

        pay(request.getfixturevalue("simulator"), made["id"])
    return str(made["id"])


@pytest.mark.parametrize(("amount", "refunded"), [(None, 1000), (400, 400)])
def test_a_refund_is_of_the_whole_unless_an_amount_is_given(
    mode: str, request: pytest.FixtureRequest, amount: int | None, refunded: int
) -> None:
    intent_id = paid(mode, request)
    made = payment.create_refund(intent_id, amount, reason="requested_by_customer", metadata={"refund_id": "r1"})
    assert plain(made)
    assert made.keys() >= REFUND
    assert (made["object"], made["amount"], made["currency"]) == ("refund", refunded, "usd")
    assert (made["payment_intent"], made["status"]) == (intent_id, "succeeded")
    assert (made["reason"], made["metadata"]) == ("requested_by_customer", {"refund_id": "r1"})
    seen = payment.retrieve_refund(made["id"])
    assert (seen["id"], seen["amount"], seen["payment_intent"]) == (made["id"], refunded, intent_id)


def test_the_same_key_refunds_once(mode: str, request: pytest.FixtureRequest) -> None:
    intent_id = paid(mode, request)
    first, again = (payment.create_refund(intent_id, 100, idempotency_key="refund:1:0") for _ in range(2))
    assert first == again
    assert payment.create_refund(intent_id, 100, idempotency_key="refund:2:0")["id"] != first["id"]
