"""Charges: made by PaymentIntents, never by a caller (docs.stripe.com/api/charges)."""

from __future__ import annotations

from simulator import ids, ledger
from simulator.behaviours import Decline
from simulator.errors import JSON
from simulator.events import emit
from simulator.operation import Operation
from simulator.resources.payment_methods import behaviour_of, details


def attempt(op: Operation, intent: JSON, method: JSON) -> JSON:
    """A new charge, status pending, for this attempt of the PaymentIntent; the caller decides its fate."""
    return op.tx.add({
        "id": ids.new("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "COUNTERFOIL",
        "captured": False,
        "created": op.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": intent["metadata"],
        "on_behalf_of": None,
        "outcome": None,
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": details(method),
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": intent["shipping"],
        "source": None,
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": "pending",
        "transfer_data": None,
        "transfer_group": None,
    })  # fmt: skip


def succeed(op: Operation, charge: JSON, *, capture: bool) -> JSON:
    """The bank said yes: charge.succeeded, and the money moves when it is captured."""
    charge = charge | {
        "status": "succeeded",
        "paid": True,
        "captured": capture,
        "amount_captured": charge["amount"] if capture else 0,
        "outcome": _outcome("approved_by_network", "authorized", "Payment complete."),
    }
    emit(op, "charge.succeeded", op.tx.put(charge))
    if capture and (after := behaviour_of(op.tx.find("payment_method", charge["payment_method"])).afterwards):
        op.later(after, charge["id"])
    return charge


def fail(op: Operation, charge: JSON, decline: Decline) -> JSON:
    """The bank said no: charge.failed."""
    charge = charge | {
        "status": "failed",
        "failure_code": decline.code,
        "failure_message": decline.message,
        "outcome": _outcome("declined_by_network", "issuer_declined", decline.message)
        | {"reason": decline.decline_code},
    }
    emit(op, "charge.failed", op.tx.put(charge))
    return charge


def settle(op: Operation, charge: JSON) -> JSON:
    """Book a captured charge: its balance transaction, the movements, and charge.updated.

    Comes after payment_intent.succeeded, as with Stripe's automatic_async capture.
    """
    amount, currency = charge["amount_captured"], charge["currency"]
    booked = ledger.move(op, "payment", amount, charge, charge=charge, type="charge", category="charge",
                         fee=ledger.fee_of(amount, currency))  # fmt: skip
    after = charge | {"balance_transaction": booked["id"]}
    emit(op, "charge.updated", op.tx.put(after), charge)
    return after


def capture(op: Operation, charge: JSON, amount: int) -> JSON:
    """Take `amount` minor units of an authorised charge; what is left of it is released."""
    charge = charge | {
        "captured": True,
        "amount_captured": amount,
        "amount_refunded": charge["amount"] - amount,
    }
    emit(op, "charge.captured", op.tx.put(charge))
    return charge


def release(op: Operation, charge: JSON) -> None:
    """Give up an authorisation: the charge counts as refunded although no money moved."""
    after = charge | {"amount_refunded": charge["amount"], "refunded": True}
    emit(op, "charge.refunded", op.tx.put(after), charge)


def retrieve(op: Operation, given: JSON, charge_id: str) -> JSON:
    """GET /v1/charges/{id}"""
    return op.tx.get("charge", charge_id)


def _outcome(network: str, type: str, message: str) -> JSON:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": network,
        "reason": None,
        "risk_level": "normal",
        "risk_score": 8,
        "seller_message": message,
        "type": type,
    }
