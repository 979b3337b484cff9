"""simulator/payments.py and simulator/resources/payment_intents.py"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import stripe

from tests.simulator.conftest import Pay
from tests.simulator.wire import Wire, plain


def types(client: stripe.StripeClient) -> list[str]:
    """All event types, oldest first."""
    return [event.type for event in reversed(client.v1.events.list({"limit": 100}).data)]


def test_an_unconfirmed_payment_intent_waits_for_a_payment_method(client: stripe.StripeClient) -> None:
    made = client.v1.payment_intents.create({"amount": 1050, "currency": "USD", "metadata": {"order_id": "o1"}})
    assert (made.status, made.currency, made.amount_received) == ("requires_payment_method", "usd", 0)
    assert made.client_secret is not None
    assert made.client_secret.startswith(made.id + "_secret_")
    assert made.livemode is False
    assert types(client) == ["payment_intent.created"]


def test_a_confirmed_card_payment_succeeds_and_is_booked_with_its_fee(client: stripe.StripeClient, pay: Pay) -> None:
    paid = pay(amount=1000)
    assert (paid.status, paid.amount_received) == ("succeeded", 1000)
    charge = client.v1.charges.retrieve(str(paid.latest_charge), {"expand": ["balance_transaction"]})
    assert (charge.status, charge.captured, charge.payment_intent) == ("succeeded", True, paid.id)
    booked = charge.balance_transaction
    assert isinstance(booked, stripe.BalanceTransaction)
    assert (booked.amount, booked.fee, booked.net, booked.source) == (1000, 59, 941, charge.id)
    assert types(client) == [
        "payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated",
    ]  # fmt: skip


def test_a_payment_method_moves_it_to_requires_confirmation(client: stripe.StripeClient) -> None:
    intents = client.v1.payment_intents
    made = intents.create({"amount": 500, "currency": "usd"})
    updated = intents.update(made.id, {"payment_method": "pm_card_mastercard", "amount": 700, "metadata": {"a": "b"}})
    assert (updated.status, updated.amount, plain(updated.metadata)) == ("requires_confirmation", 700, {"a": "b"})
    assert intents.confirm(made.id).status == "succeeded"


def test_a_test_payment_method_becomes_one_of_its_own_that_can_be_used_again(client: stripe.StripeClient) -> None:
    intents = client.v1.payment_intents
    first = intents.create({"amount": 500, "currency": "usd", "payment_method": "pm_card_chargeDeclinedLostCard"})
    method = client.v1.payment_methods.retrieve(str(first.payment_method))
    assert method.id not in ("pm_card_chargeDeclinedLostCard", "")
    assert "_test_name" not in method.to_dict()
    second = intents.create({"amount": 500, "currency": "usd", "payment_method": method.id})
    assert second.payment_method == method.id
    with pytest.raises(stripe.CardError):
        intents.confirm(second.id)


def test_a_test_token_works_like_its_payment_method(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError) as caught:
        client.v1.payment_intents.create({
            "amount": 500, "currency": "usd", "confirm": True,
            "payment_method_data": {"type": "card", "card": {"token": "tok_visa_chargeDeclined"}},  # type: ignore[typeddict-unknown-key]  # the SDK types no tokens
        })  # fmt: skip
    assert caught.value.code == "card_declined"


DECLINES = [
    ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
    ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
    ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
    ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
    ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
    ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
]


@pytest.mark.parametrize(("method", "code", "decline_code"), DECLINES)
def test_a_decline_is_a_402_that_carries_the_intent_and_the_charge(
    client: stripe.StripeClient, wire: Wire, method: str, code: str, decline_code: str
) -> None:
    made = client.v1.payment_intents.create({"amount": 500, "currency": "usd"})
    with pytest.raises(stripe.CardError) as caught:
        client.v1.payment_intents.confirm(made.id, {"payment_method": method})
    error = caught.value.error
    assert error is not None
    assert (caught.value.http_status, caught.value.code, error.decline_code) == (402, code, decline_code)
    assert error.payment_intent is not None
    assert error.payment_intent.status == "requires_payment_method"
    after = client.v1.payment_intents.retrieve(made.id)
    assert after.last_payment_error is not None
    assert (after.status, after.last_payment_error.code, after.payment_method) == (
        "requires_payment_method",
        code,
        None,
    )
    assert error.charge == after.latest_charge == after.last_payment_error.charge
    assert client.v1.charges.retrieve(str(error.charge)).failure_code == code
    assert types(client) == ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"]
    assert wire.movements() == []


def test_after_a_decline_another_card_pays(client: stripe.StripeClient, wire: Wire) -> None:
    made = client.v1.payment_intents.create({"amount": 500, "currency": "usd"})
    with pytest.raises(stripe.CardError):
        client.v1.payment_intents.confirm(made.id, {"payment_method": "pm_card_chargeDeclined"})
    paid = client.v1.payment_intents.confirm(made.id, {"payment_method": "pm_card_visa"})
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    assert wire.movements() == [("payment", 500), ("fee", -44)]


def test_a_decline_on_creation_leaves_the_intent_behind(client: stripe.StripeClient, pay: Pay) -> None:
    with pytest.raises(stripe.CardError):
        pay("pm_card_chargeDeclined")
    [left] = client.v1.payment_intents.list().data
    assert left.status == "requires_payment_method"


@pytest.mark.parametrize("method", ["pm_card_authenticationRequired", "pm_card_threeDSecure2Required"])
def test_an_authentication_is_asked_for_and_completed(
    client: stripe.StripeClient, wire: Wire, pay: Pay, method: str
) -> None:
    asked = pay(method)
    assert asked.status == "requires_action"
    assert asked.next_action is not None
    assert asked.next_action.type == "use_stripe_sdk"
    wire.sim("POST", f"payment_intents/{asked.id}/authenticate?outcome=succeeded")
    assert client.v1.payment_intents.retrieve(asked.id).status == "succeeded"
    assert "payment_intent.requires_action" in types(client)


def test_with_a_return_url_the_customer_is_sent_to_the_simulators_page(client: stripe.StripeClient, wire: Wire) -> None:
    asked = client.v1.payment_intents.create({
        "amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_authenticationRequired",
        "return_url": "https://shop.example/done",
    })  # fmt: skip
    assert asked.next_action is not None
    assert asked.next_action.redirect_to_url is not None
    page = wire("GET", str(asked.next_action.redirect_to_url.url).removeprefix(wire.url), key=None)
    assert b"outcome=succeeded" in page.data


def test_a_failed_authentication_charges_nothing(client: stripe.StripeClient, wire: Wire, pay: Pay) -> None:
    asked = pay("pm_card_authenticationRequired")
    wire.sim("POST", f"payment_intents/{asked.id}/authenticate", outcome="failed")
    after = client.v1.payment_intents.retrieve(asked.id)
    assert after.last_payment_error is not None
    assert (after.status, after.latest_charge) == ("requires_payment_method", None)
    assert after.last_payment_error.code == "payment_intent_authentication_failure"
    assert wire("POST", f"/_sim/payment_intents/{asked.id}/authenticate?outcome=succeeded").status == 400


def test_a_card_can_decline_after_its_authentication(wire: Wire, pay: Pay) -> None:
    asked = pay("pm_card_threeDSecureRequiredChargeDeclined")
    after = wire.sim("POST", f"payment_intents/{asked.id}/authenticate", outcome="succeeded")
    assert (after["status"], after["last_payment_error"]["code"]) == ("requires_payment_method", "card_declined")


def test_off_session_a_card_that_needs_authentication_is_declined(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError) as caught:
        client.v1.payment_intents.create({
            "amount": 500, "currency": "usd", "confirm": True, "off_session": True,
            "payment_method": "pm_card_authenticationRequired",
        })  # fmt: skip
    assert caught.value.code == "authentication_required"


def test_a_bank_debit_is_processing_until_the_bank_answers(client: stripe.StripeClient, wire: Wire, pay: Pay) -> None:
    good, bad = pay("pm_usBankAccount_success"), pay("pm_usBankAccount_insufficientFunds")
    assert (good.status, bad.status) == ("processing", "processing")
    wire.sim("POST", f"payment_intents/{good.id}/settle")
    wire.sim("POST", f"payment_intents/{bad.id}/fail")
    assert client.v1.payment_intents.retrieve(good.id).status == "succeeded"
    assert client.v1.payment_intents.retrieve(bad.id).status == "requires_payment_method"
    assert {"payment_intent.processing", "charge.pending"} <= set(types(client))
    with pytest.raises(stripe.InvalidRequestError, match="not allowed"):
        pay("pm_usBankAccount_success", currency="eur")


def test_a_manual_capture_takes_a_part_and_refunds_no_more_than_that(client: stripe.StripeClient, wire: Wire) -> None:
    held = client.v1.payment_intents.create({
        "amount": 1000, "currency": "usd", "capture_method": "manual", "confirm": True,
        "payment_method": "pm_card_visa",
    })  # fmt: skip
    assert (held.status, held.amount_capturable) == ("requires_capture", 1000)
    assert wire.movements() == []
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        client.v1.refunds.create({"payment_intent": held.id})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.payment_intents.capture(held.id, {"amount_to_capture": 1001})
    assert caught.value.code == "amount_too_large"
    done = client.v1.payment_intents.capture(held.id, {"amount_to_capture": 600})
    assert (done.status, done.amount_received, done.amount_capturable) == ("succeeded", 600, 0)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.refunds.create({"payment_intent": held.id, "amount": 601})
    assert wire.movements() == [("payment", 600), ("fee", -47)]
    with pytest.raises(stripe.InvalidRequestError) as again:
        client.v1.payment_intents.capture(held.id)
    assert again.value.code == "payment_intent_unexpected_state"


def test_a_canceled_authorisation_moves_no_money(client: stripe.StripeClient, wire: Wire) -> None:
    held = client.v1.payment_intents.create({
        "amount": 1000, "currency": "usd", "capture_method": "manual", "confirm": True,
        "payment_method": "pm_card_visa",
    })  # fmt: skip
    canceled = client.v1.payment_intents.cancel(held.id, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    assert canceled.canceled_at is not None
    assert client.v1.charges.retrieve(str(held.latest_charge)).refunded
    assert wire.movements() == []


def test_what_is_done_cannot_be_confirmed_canceled_or_repriced(client: stripe.StripeClient, pay: Pay) -> None:
    intents = client.v1.payment_intents
    paid, canceled = pay(), intents.create({"amount": 500, "currency": "usd"})
    intents.cancel(canceled.id)
    attempts: list[Callable[[], object]] = [
        lambda: intents.confirm(paid.id, {"payment_method": "pm_card_visa"}),
        lambda: intents.confirm(canceled.id, {"payment_method": "pm_card_visa"}),
        lambda: intents.cancel(paid.id),
        lambda: intents.cancel(canceled.id),
        lambda: intents.update(paid.id, {"amount": 501}),
        lambda: intents.confirm(intents.create({"amount": 500, "currency": "usd"}).id),
    ]
    for attempt in attempts:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            attempt()
        assert (caught.value.http_status, caught.value.code) == (400, "payment_intent_unexpected_state")
        assert caught.value.error is not None
        assert caught.value.error.payment_intent is not None
    assert plain(intents.update(paid.id, {"metadata": {"late": "yes"}}).metadata) == {"late": "yes"}


def test_intents_are_listed_by_customer(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create()
    mine = client.v1.payment_intents.create({"amount": 500, "currency": "usd", "customer": customer.id})
    client.v1.payment_intents.create({"amount": 500, "currency": "usd"})
    assert [found.id for found in client.v1.payment_intents.list({"customer": customer.id}).data] == [mine.id]


def test_a_browser_pays_with_the_publishable_key_and_the_client_secret(client: stripe.StripeClient, wire: Wire) -> None:
    made = client.v1.payment_intents.create({"amount": 500, "currency": "usd", "metadata": {"internal": "yes"}})
    path, secret = f"/v1/payment_intents/{made.id}", f"client_secret={made.client_secret}"
    seen = wire("GET", f"{path}?{secret}", key="pk_test_of_the_tests").json()
    assert "metadata" not in seen
    assert seen["amount"] == 500
    declined = wire("POST", f"{path}/confirm", f"{secret}&payment_method=pm_card_chargeDeclined", key="pk_test_a")
    assert declined.status == 402
    assert "metadata" not in declined.json()["error"]["payment_intent"]
    paid = wire("POST", f"{path}/confirm", f"{secret}&payment_method=pm_card_visa", key="pk_test_of_the_tests").json()
    assert (paid["status"], "latest_charge" in paid) == ("succeeded", False)


def test_a_publishable_key_can_do_nothing_else(client: stripe.StripeClient, wire: Wire) -> None:
    made = client.v1.payment_intents.create({"amount": 500, "currency": "usd"})
    path = f"/v1/payment_intents/{made.id}"
    assert wire("GET", path, key="pk_test_a").json()["error"]["code"] == "parameter_missing"
    wrong = wire(
        "POST", f"{path}/confirm", "client_secret=pi_secret_wrong&payment_method=pm_card_visa", key="pk_test_a"
    )
    assert wrong.status == 400
    assert wire("POST", f"{path}/cancel", key="pk_test_a").status == 403
    assert wire("GET", "/v1/payment_intents", key="pk_test_a").json()["error"]["code"] == "secret_key_required"
    assert client.v1.payment_intents.retrieve(made.id).status == "requires_payment_method"
