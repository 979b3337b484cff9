"""Refunds (docs.stripe.com/api/refunds). What is refunded is reserved on the charge when the refund is made."""

from __future__ import annotations

from simulator import ids, ledger, money
from simulator.errors import JSON, ApiError, invalid
from simulator.events import emit
from simulator.operation import Operation
from simulator.params import Spec, integer, merged, metadata, one_of, string
from simulator.resources.payment_methods import behaviour_of

CREATE: Spec = {
    "payment_intent": string(clearable=False),
    "charge": string(clearable=False),
    "amount": integer(),
    "reason": one_of("duplicate", "fraudulent", "requested_by_customer"),
    "metadata": metadata,
}
UPDATE: Spec = {"metadata": metadata}


def create(op: Operation, given: JSON, _: str) -> JSON:
    """POST /v1/refunds, of a payment_intent or a charge; the whole rest without an amount."""
    charge = _charge_of(op, given)
    left = charge["amount"] - charge["amount_refunded"]
    amount = given.get("amount", left)
    _check(charge, amount, left)
    does = behaviour_of(op.tx.find("payment_method", charge["payment_method"]))
    pending = does.refund == "pending"
    refund: JSON = {
        "id": ids.new("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": op.now,
        "currency": charge["currency"],
        "destination_details": {
            "card": {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"},
            "type": "card",
        },
        "metadata": merged({}, given.get("metadata")),
        "payment_intent": charge["payment_intent"],
        "reason": given.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "pending" if pending else "succeeded",
        "transfer_reversal": None,
    }
    if pending:
        refund["pending_reason"] = "processing"
    booked = ledger.move(op, "refund", -amount, refund, charge=charge, type="refund", category="refund")
    refund["balance_transaction"] = booked["id"]
    emit(op, "refund.created", op.tx.add(refund))
    _take_off(op, charge, amount)
    if does.refund:
        op.later("refund_settle" if pending else "refund_fail", refund["id"])
    return refund


def retrieve(op: Operation, given: JSON, refund_id: str) -> JSON:
    """GET /v1/refunds/{id}"""
    return op.tx.get("refund", refund_id)


def update(op: Operation, given: JSON, refund_id: str) -> JSON:
    """POST /v1/refunds/{id}: its metadata only."""
    before = op.tx.get("refund", refund_id)
    if "metadata" not in given:
        return before
    return _change(op, before, {"metadata": merged(before["metadata"], given["metadata"])})


def cancel(op: Operation, given: JSON, refund_id: str) -> JSON:
    """POST /v1/refunds/{id}/cancel: only one that requires_action."""
    refund = op.tx.get("refund", refund_id)
    if refund["status"] != "requires_action":
        raise ApiError(400, f"You cannot cancel this refund because it has a status of {refund['status']}. Only a "
                       "refund with a status of requires_action may be canceled.", executed=True)  # fmt: skip
    return _give_back(op, refund, "canceled", "merchant_request")


def settle(op: Operation, refund_id: str) -> JSON:
    """The bank took a pending refund.

    Raises:
        ApiError: 400, it is not on its way.
    """
    refund = _expect(op, refund_id, "pending", "requires_action")
    refund.pop("pending_reason", None)
    return _change(op, refund, {"status": "succeeded"})


def require_action(op: Operation, refund_id: str) -> JSON:
    """A pending refund waits for the customer."""
    return _change(op, _expect(op, refund_id, "pending"), {"status": "requires_action"})


def fail(op: Operation, refund_id: str) -> JSON:
    """The bank returned the money, perhaps after the refund had succeeded.

    Raises:
        ApiError: 400, it had already failed or was canceled.
    """
    refund = _expect(op, refund_id, "pending", "requires_action", "succeeded")
    return _give_back(op, refund, "failed", "expired_or_canceled_card")


def _charge_of(op: Operation, given: JSON) -> JSON:
    if "charge" in given:
        charge = op.tx.get("charge", given["charge"], "charge")
        if given.get("payment_intent", charge["payment_intent"]) != charge["payment_intent"]:
            raise invalid("The charge and the payment_intent do not belong together.", "charge")
    elif "payment_intent" in given:
        intent = op.tx.get("payment_intent", given["payment_intent"], "payment_intent")
        found = op.tx.find("charge", intent["latest_charge"])
        if found is None or not found["captured"]:
            raise ApiError(400, f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
                           param="payment_intent", executed=True)  # fmt: skip
        charge = found
    else:
        raise invalid("One of the following params should be provided for this request: payment_intent or charge.")
    if not charge["captured"]:
        raise ApiError(400, f"Charge {charge['id']} has not been captured; there is nothing to refund.",
                       param="charge", executed=True)  # fmt: skip
    return charge


def _check(charge: JSON, amount: int, left: int) -> None:
    if charge["disputed"]:
        raise ApiError(400, f"Charge {charge['id']} has been charged back; cannot issue a refund.",
                       code="charge_disputed", executed=True)  # fmt: skip
    if left == 0:
        raise ApiError(400, f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded",
                       executed=True)  # fmt: skip
    if amount > left:
        raise money.too_much_refunded(amount, left, charge["amount"], charge["currency"])
    money.check_digits(amount, charge["currency"])


def _take_off(op: Operation, charge: JSON, amount: int) -> None:
    refunded = charge["amount_refunded"] + amount
    after = charge | {"amount_refunded": refunded, "refunded": refunded == charge["amount"]}
    emit(op, "charge.refunded", op.tx.put(after), charge)


def _give_back(op: Operation, refund: JSON, status: str, reason: str) -> JSON:
    charge = op.tx.get("charge", refund["charge"])
    booked = ledger.move(op, "refund_reversal", refund["amount"], refund, charge=charge, type="refund_failure",
                         category="refund_failure")  # fmt: skip
    op.tx.put(charge | {"amount_refunded": charge["amount_refunded"] - refund["amount"], "refunded": False})
    refund.pop("pending_reason", None)
    return _change(op, refund, {
        "status": status, "failure_reason": reason, "failure_balance_transaction": booked["id"],
    })  # fmt: skip


def _change(op: Operation, before: JSON, change: JSON) -> JSON:
    after = op.tx.put(before | change)
    if change.get("status") == "failed":
        emit(op, "refund.failed", after)
    emit(op, "refund.updated", after, before)
    emit(op, "charge.refund.updated", after, before)
    return after


def _expect(op: Operation, refund_id: str, *statuses: str) -> JSON:
    refund = op.tx.get("refund", refund_id)
    if refund["status"] not in statuses:
        wanted = " or ".join(statuses)
        raise ApiError(400, f"The refund has a status of {refund['status']}, not {wanted}.", executed=True)
    return refund
