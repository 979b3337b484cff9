"""The PaymentIntent's state machine: what a confirmation, an authentication and a bank's answer do to it.

requires_payment_method -> requires_confirmation -> requires_action | processing -> succeeded | requires_capture;
a decline leads back to requires_payment_method (docs.stripe.com/payments/paymentintents/lifecycle).
"""

from __future__ import annotations

from simulator.behaviours import BANK_DECLINE, OFF_SESSION, Decline
from simulator.errors import JSON, ApiError, invalid, unexpected_state
from simulator.events import emit
from simulator.operation import Operation
from simulator.resources import charges
from simulator.resources.payment_methods import behaviour_of
from simulator.store import public

OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
"""Statuses in which a PaymentIntent may still be changed."""
AUTHENTICATION_FAILED = (
    "We are unable to authenticate your payment method. Please choose a different payment method and try again."
)


def check_confirmable(intent: JSON) -> None:
    """Refuse to confirm what is done or under way.

    Raises:
        ApiError: 400 payment_intent_unexpected_state.
    """
    status = intent["status"]
    if status in OPEN:
        return
    if status == "succeeded":
        message = (
            "You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed."
        )
    else:
        message = (
            f"You cannot confirm this PaymentIntent because it has a status of {status}. Only a PaymentIntent with "
            f"one of the following statuses may be confirmed: {', '.join(OPEN)}."
        )
    raise unexpected_state(message, intent)


def confirm_with(op: Operation, intent: JSON, method: JSON | None, given: JSON) -> JSON:
    """Try to take the money with `method`.

    Raises:
        ApiError: 402 card_error; the attempt stays on record.
    """
    if method is None:
        raise invalid("You cannot confirm this PaymentIntent because it's missing a payment method.",
                      "payment_method", "parameter_missing")  # fmt: skip
    if method["type"] not in intent["payment_method_types"]:
        raise invalid(f"The payment method type \"{method['type']}\" is not allowed for this PaymentIntent.",
                      "payment_method")  # fmt: skip
    does = behaviour_of(method)
    intent = intent | {"payment_method": method["id"], "next_action": None, "last_payment_error": None}
    if does.authenticate and given.get("off_session"):
        raise _declined(op, intent, method, OFF_SESSION)
    if does.authenticate:
        return _ask_for_authentication(op, intent, given.get("return_url"))
    if does.processing:
        return _process(op, intent, method)
    return _charge(op, intent, method)


def authenticate(op: Operation, intent_id: str, *, succeeded: bool) -> JSON:
    """The customer completes or fails the authentication. A decline after it is no error of this call.

    Raises:
        ApiError: 400, nothing is waiting for it.
    """
    intent = op.tx.get("payment_intent", intent_id, "intent")
    if intent["status"] != "requires_action":
        raise unexpected_state(f"The PaymentIntent has a status of {intent['status']}.", intent)
    method = op.tx.get("payment_method", intent["payment_method"])
    intent = intent | {"next_action": None}
    if succeeded:
        try:
            return _charge(op, intent, method)
        except ApiError as declined:
            return dict(declined.error["payment_intent"])
    error = {
        "code": "payment_intent_authentication_failure",
        "doc_url": "https://stripe.com/docs/error-codes/payment-intent-authentication-failure",
        "message": AUTHENTICATION_FAILED,
        "payment_method": public(method),
        "type": "card_error",
    }
    return _back_to_start(op, intent, error)


def finish_processing(op: Operation, intent_id: str, *, succeeded: bool) -> JSON:
    """The bank answers a payment that was processing.

    Raises:
        ApiError: 400, it is not processing.
    """
    intent = op.tx.get("payment_intent", intent_id, "intent")
    if intent["status"] != "processing":
        raise unexpected_state(f"The PaymentIntent has a status of {intent['status']}.", intent)
    charge = op.tx.get("charge", intent["latest_charge"])
    intent = intent | {"processing": None}
    if succeeded:
        return _succeed(op, intent, charge)
    method = op.tx.get("payment_method", charge["payment_method"])
    charge = charges.fail(op, charge, BANK_DECLINE)
    return _back_to_start(op, intent, _payment_error(BANK_DECLINE, charge, method))


def give_up(op: Operation, intent: JSON, reason: str | None) -> JSON:
    """Cancel, releasing what was authorised."""
    if intent["status"] == "requires_capture":
        charges.release(op, op.tx.get("charge", intent["latest_charge"]))
    intent = intent | {
        "status": "canceled",
        "canceled_at": op.now,
        "cancellation_reason": reason,
        "amount_capturable": 0,
        "next_action": None,
        "processing": None,
    }
    emit(op, "payment_intent.canceled", op.tx.put(intent))
    return intent


def _ask_for_authentication(op: Operation, intent: JSON, return_url: str | None) -> JSON:
    url = f"{op.base_url}/_sim/payment_intents/{intent['id']}/authenticate"
    action: JSON = {"type": "redirect_to_url", "redirect_to_url": {"return_url": return_url, "url": url}}
    if return_url is None:
        action = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url}}
    intent = intent | {"status": "requires_action", "next_action": action}
    emit(op, "payment_intent.requires_action", op.tx.put(intent))
    return intent


def _process(op: Operation, intent: JSON, method: JSON) -> JSON:
    """A bank debit: days at Stripe, the settle delay here."""
    charge = charges.attempt(op, intent, method)
    intent = intent | {"status": "processing", "latest_charge": charge["id"]}
    emit(op, "payment_intent.processing", op.tx.put(intent))
    emit(op, "charge.pending", charge)
    outcome = behaviour_of(method).processing
    if outcome != "stuck":
        op.later(f"payment_{outcome}", intent["id"])
    return intent


def _charge(op: Operation, intent: JSON, method: JSON) -> JSON:
    decline = behaviour_of(method).decline
    if decline:
        raise _declined(op, intent, method, decline)
    return _succeed(op, intent, charges.attempt(op, intent, method))


def _succeed(op: Operation, intent: JSON, charge: JSON) -> JSON:
    manual = intent["capture_method"] == "manual"
    charge = charges.succeed(op, charge, capture=not manual)
    intent = intent | {"latest_charge": charge["id"]}
    if manual:
        intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
        emit(op, "payment_intent.amount_capturable_updated", op.tx.put(intent))
    else:
        intent |= {"status": "succeeded", "amount_received": intent["amount"]}
        emit(op, "payment_intent.succeeded", op.tx.put(intent))
        charges.settle(op, charge)
    return intent


def _declined(op: Operation, intent: JSON, method: JSON, decline: Decline) -> ApiError:
    """Record the failed attempt; returns the 402 to raise."""
    charge = charges.fail(op, charges.attempt(op, intent, method), decline)
    error = _payment_error(decline, charge, method)
    after = _back_to_start(op, intent | {"latest_charge": charge["id"]}, error)
    return ApiError(
        402,
        decline.message,
        type="card_error",
        code=decline.code,
        param=decline.param,
        executed=True,
        charge=charge["id"],
        decline_code=decline.decline_code,
        payment_intent=after,
        payment_method=error["payment_method"],
    )


def _payment_error(decline: Decline, charge: JSON, method: JSON) -> JSON:
    error: JSON = {
        "charge": charge["id"],
        "code": decline.code,
        "decline_code": decline.decline_code,
        "doc_url": "https://stripe.com/docs/error-codes/" + decline.code.replace("_", "-"),
        "message": decline.message,
        "payment_method": public(method),
        "type": "card_error",
    }
    return error | ({"param": decline.param} if decline.param else {})


def _back_to_start(op: Operation, intent: JSON, error: JSON) -> JSON:
    intent = intent | {"status": "requires_payment_method", "payment_method": None, "last_payment_error": error}
    emit(op, "payment_intent.payment_failed", op.tx.put(intent))
    return intent
