"""PaymentIntents: endpoints (docs.stripe.com/api/payment_intents). What a confirmation does is in payments.py."""

from __future__ import annotations

from simulator import ids, money
from simulator.errors import JSON, ApiError, invalid, unexpected_state
from simulator.events import emit
from simulator.operation import Operation
from simulator.params import SHIPPING, Spec, boolean, hash_of, integer, merged, metadata, one_of, string
from simulator.payments import OPEN, check_confirmable, confirm_with, give_up
from simulator.resources import charges, payment_methods

_FIELDS: Spec = {
    "description": string(1000),
    "receipt_email": string(800),
    "setup_future_usage": one_of("off_session", "on_session"),
    "shipping": SHIPPING,
    "statement_descriptor": string(22),
    "statement_descriptor_suffix": string(22),
    "metadata": metadata,
    "customer": string(),
    "payment_method": string(clearable=False),
    "payment_method_data": payment_methods.DATA,
}
UPDATE: Spec = _FIELDS | {
    "amount": integer(),
    "currency": money.currency,
    "capture_method": one_of("automatic", "automatic_async", "manual"),
}
_CONFIRMATION: Spec = {"off_session": boolean, "return_url": string(clearable=False), "use_stripe_sdk": boolean}
CREATE: Spec = UPDATE | _CONFIRMATION | {
    "confirm": boolean,
    "confirmation_method": one_of("automatic"),
    "automatic_payment_methods": hash_of(
        {"enabled": boolean, "allow_redirects": one_of("always", "never")}, required=("enabled",)
    ),
}  # fmt: skip
CONFIRM: Spec = _CONFIRMATION | {
    "client_secret": string(clearable=False),
    "payment_method": string(clearable=False),
    "payment_method_data": payment_methods.DATA,
    "receipt_email": string(800),
    "setup_future_usage": one_of("off_session", "on_session"),
    "shipping": SHIPPING,
    "capture_method": one_of("automatic", "automatic_async", "manual"),
}
REASONS = one_of("duplicate", "fraudulent", "requested_by_customer", "abandoned")
ANY_STATUS = frozenset({"description", "metadata", "receipt_email", "shipping"})
"""What may still be changed when the PaymentIntent is done."""


def create(op: Operation, given: JSON, _: str) -> JSON:
    """POST /v1/payment_intents, with confirm=true in one step."""
    money.check_charge(given["amount"], given["currency"])
    confirm = given.pop("confirm", False)
    confirmation = {name: given.pop(name) for name in _CONFIRMATION if name in given}
    if confirmation and not confirm:
        name = next(iter(confirmation))
        raise invalid(f"You can only pass `{name}` when `confirm` is set to true.", name)
    if given.get("customer"):
        op.tx.get("customer", given["customer"], "customer")
    method = payment_methods.use(op, given)
    intent = op.tx.add(_new(op, given, method))
    emit(op, "payment_intent.created", intent)
    return confirm_with(op, intent, method, confirmation) if confirm else intent


def retrieve(op: Operation, given: JSON, intent_id: str) -> JSON:
    """GET /v1/payment_intents/{id}; with a publishable key, only what Stripe.js may see."""
    intent = op.tx.get("payment_intent", intent_id, "intent")
    return _admit(op, intent, given)


def update(op: Operation, given: JSON, intent_id: str) -> JSON:
    """POST /v1/payment_intents/{id}"""
    before = op.tx.get("payment_intent", intent_id, "intent")
    if before["status"] not in OPEN:
        for name in given.keys() - ANY_STATUS:
            raise unexpected_state(
                f"This PaymentIntent's {name} could not be updated because it has a status of {before['status']}. "
                f"You may only update the {name} of a PaymentIntent with one of the following statuses: "
                f"{', '.join(OPEN)}.",
                before,
            )
    if given.get("customer"):
        op.tx.get("customer", given["customer"], "customer")
    method = payment_methods.use(op, given)
    after = before | {name: value for name, value in given.items() if name != "payment_method_data"}
    money.check_charge(after["amount"], after["currency"])
    if "metadata" in given:
        after["metadata"] = merged(before["metadata"], given["metadata"])
    if method:
        after |= {"payment_method": method["id"], "status": "requires_confirmation", "next_action": None}
    return op.tx.put(after)


def confirm(op: Operation, given: JSON, intent_id: str) -> JSON:
    """POST /v1/payment_intents/{id}/confirm, also with a publishable key and the client_secret."""
    intent = op.tx.get("payment_intent", intent_id, "intent")
    _admit(op, intent, given)
    check_confirmable(intent)
    method = payment_methods.use(op, given) or op.tx.find("payment_method", intent["payment_method"])
    if method is None:
        raise unexpected_state(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a "
            "payment method or ConfirmationToken.",
            intent,
        )
    kept = ("receipt_email", "setup_future_usage", "shipping", "capture_method")
    intent = intent | {name: given[name] for name in kept if name in given}
    try:
        answer = confirm_with(op, intent, method, given)
    except ApiError as declined:
        if op.publishable and "payment_intent" in declined.error:
            declined.error["payment_intent"] = _for_the_browser(declined.error["payment_intent"])
        raise
    return _for_the_browser(answer) if op.publishable else answer


def cancel(op: Operation, given: JSON, intent_id: str) -> JSON:
    """POST /v1/payment_intents/{id}/cancel"""
    intent = op.tx.get("payment_intent", intent_id, "intent")
    allowed = (*OPEN, "requires_capture", "processing")
    if intent["status"] not in allowed:
        raise unexpected_state(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a PaymentIntent "
            f"with one of the following statuses may be canceled: {', '.join(allowed)}.",
            intent,
        )
    return give_up(op, intent, given.get("cancellation_reason"))


def capture(op: Operation, given: JSON, intent_id: str) -> JSON:
    """POST /v1/payment_intents/{id}/capture, all or part of what was authorised."""
    intent = op.tx.get("payment_intent", intent_id, "intent")
    if intent["status"] != "requires_capture":
        raise unexpected_state(
            f"This PaymentIntent could not be captured because it has a status of {intent['status']}. Only a "
            "PaymentIntent with one of the following statuses may be captured: requires_capture.",
            intent,
        )
    amount: int = given.get("amount_to_capture") or intent["amount_capturable"]
    if amount > intent["amount_capturable"]:
        raise ApiError(400, "The amount to capture is greater than the amount that can be captured.",
                       code="amount_too_large", param="amount_to_capture", executed=True)  # fmt: skip
    money.check_digits(amount, intent["currency"], "amount_to_capture")
    charge = charges.capture(op, op.tx.get("charge", intent["latest_charge"]), amount)
    intent = intent | {"status": "succeeded", "amount_capturable": 0, "amount_received": amount}
    if "metadata" in given:
        intent["metadata"] = merged(intent["metadata"], given["metadata"])
    emit(op, "payment_intent.succeeded", op.tx.put(intent))
    charges.settle(op, charge)
    return intent


def _admit(op: Operation, intent: JSON, given: JSON) -> JSON:
    """Let a publishable key in with the right client_secret only."""
    secret = given.get("client_secret")
    if op.publishable and secret is None:
        raise invalid("Missing required param: client_secret.", "client_secret", "parameter_missing")
    if secret is not None and secret != intent["client_secret"]:
        raise invalid(
            "The client_secret provided does not match the client_secret associated with the PaymentIntent.",
            "client_secret", "payment_intent_invalid_parameter",
        )  # fmt: skip
    return _for_the_browser(intent) if op.publishable else intent


_BROWSER = frozenset({
    "id", "object", "amount", "amount_details", "automatic_payment_methods", "canceled_at", "cancellation_reason",
    "capture_method", "client_secret", "confirmation_method", "created", "currency", "description",
    "last_payment_error", "livemode", "next_action", "payment_method", "payment_method_configuration_details",
    "payment_method_types", "processing", "receipt_email", "setup_future_usage", "shipping", "source", "status",
})  # fmt: skip


def _for_the_browser(intent: JSON) -> JSON:
    return {name: value for name, value in intent.items() if name in _BROWSER}


def _new(op: Operation, given: JSON, method: JSON | None) -> JSON:
    intent_id = ids.new("pi")
    dynamic = given.get("automatic_payment_methods", {"enabled": True})
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": given["amount"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": {"allow_redirects": "always"} | dynamic,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": given.get("capture_method", "automatic_async"),
        "client_secret": f"{intent_id}_secret_{ids.token()}",
        "confirmation_method": "automatic",
        "created": op.now,
        "currency": given["currency"],
        "customer": given.get("customer"),
        "customer_account": None,
        "description": given.get("description"),
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": merged({}, given.get("metadata")),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": method["id"] if method else None,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card", "us_bank_account"] if given["currency"] == "usd" else ["card"],
        "processing": None,
        "receipt_email": given.get("receipt_email"),
        "review": None,
        "setup_future_usage": given.get("setup_future_usage"),
        "shipping": given.get("shipping"),
        "source": None,
        "statement_descriptor": given.get("statement_descriptor"),
        "statement_descriptor_suffix": given.get("statement_descriptor_suffix"),
        "status": "requires_confirmation" if method else "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }
