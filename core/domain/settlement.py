"""What Stripe shows of an object, applied to our rows: only legal moves, each posted to the ledger once.

Every function expects the order's lock (`orders.lock`) and a row read under it. Each returns None, or why a
person must look. What cannot be ours as Stripe shows it is not posted; a person decides about it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from core.domain import disputes, ledger, orders, payments, refunds
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.errors import Retryable
from core.ids import is_id

# docs.stripe.com/payments/paymentintents/lifecycle
INTENT_STATUS = {
    "requires_payment_method": payments.REQUIRES_PAYMENT,
    "requires_confirmation": payments.REQUIRES_PAYMENT,
    "requires_action": payments.REQUIRES_ACTION,
    "processing": payments.PROCESSING,
    "requires_capture": payments.PROCESSING,
    "succeeded": payments.SUCCEEDED,
    "canceled": payments.CANCELED,
}
REFUND_STATUS = {
    "pending": refunds.PENDING,
    "requires_action": refunds.REQUIRES_ACTION,
    "succeeded": refunds.SUCCEEDED,
    "failed": refunds.FAILED,
    "canceled": refunds.CANCELED,
}

OUR_MARKS = ("payment_id", "refund_id")
"""An `order_id` proves nothing: other shops' software writes one, too."""


def ours(seen: dict[str, Any]) -> bool:
    """Whether an object of Stripe's carries one of our ids; without one it belongs to somebody else's shop."""
    marks = seen.get("metadata") or {}
    return any(is_id(str(marks.get(mark))) for mark in OUR_MARKS)


def intent_seen(
    conn: Connection, order: Order, payment: Payment, intent: dict[str, Any], livemode: bool | None = None
) -> str | None:
    """Apply a PaymentIntent as Stripe shows it.

    Args:
        livemode: what this deployment's key implies, or None when that is not known.

    Raises:
        Retryable: the payment moved since it was read.
    """
    doubt = mismatch(payment, intent, livemode)
    if doubt:
        # A final payment stays final: its money is posted already, and another one may be the order's live one.
        final = payment.status in (payments.SUCCEEDED, payments.CANCELED)
        status = payment.status if final else payments.NEEDS_REVIEW
        _written(payments.change(conn, payment, status=status, detail=doubt))
        return doubt
    return intent_taken(conn, order, payment, intent)


def intent_taken(conn: Connection, order: Order, payment: Payment, intent: dict[str, Any]) -> str | None:
    """Apply a PaymentIntent that is not in doubt: nothing of it contradicts the payment, or an operator settled it.

    Raises:
        Retryable: the payment moved since it was read.
    """
    status = INTENT_STATUS[intent["status"]]
    if payment.status == payments.SUCCEEDED:
        # Anything not final is what Stripe showed before: a reading that was on its way while the news arrived.
        return "Stripe shows canceled for a payment that succeeded" if status == payments.CANCELED else None
    if payment.status == payments.CANCELED and status != payments.SUCCEEDED:
        return None
    decline = intent.get("last_payment_error") or {}
    changed = payments.change(
        conn,
        payment,
        status=status,
        payment_intent_id=intent["id"],
        client_secret=intent.get("client_secret") or payment.client_secret,
        charge_id=intent.get("latest_charge"),
        amount_received=intent.get("amount_received") or 0,
        test_mode=payment.test_mode or bool(intent.get("test_mode")),
        detail=decline.get("message"),
    )
    _written(changed)
    if status == payments.SUCCEEDED:
        ledger.post(
            conn, ledger.PAYMENT, cause=intent["id"], account_id=payment.account_id, order_id=payment.order_id,
            currency=payment.currency, amount=intent["amount_received"],
        )  # fmt: skip
    captured = settle_order(conn, order)
    return f"the order is paid {captured} of {order.total}" if captured > order.total else None


def refund_seen(conn: Connection, order: Order, refund: Refund, seen: dict[str, Any]) -> str | None:
    """Apply a refund as Stripe shows it. A refund that succeeded can fail later; one that failed there stays failed.

    Raises:
        Retryable: the refund moved since it was read.
    """
    if (seen["amount"], seen["currency"]) != (refund.amount, refund.currency):
        doubt = f"Stripe shows {seen['amount']} {seen['currency']} for a refund of {refund.amount} {refund.currency}"
        status = refund.status if _final(refund) else refunds.NEEDS_REVIEW
        _written(refunds.change(conn, refund, status=status, detail=doubt))
        return doubt
    return refund_taken(conn, order, refund, seen)


def refund_taken(conn: Connection, order: Order, refund: Refund, seen: dict[str, Any]) -> str | None:
    """Apply a refund that is not in doubt: its amount is as we asked, or an operator settled it.

    Raises:
        Retryable: the refund moved since it was read.
    """
    final = _final(refund)
    status = REFUND_STATUS[seen["status"]]
    if final and refund.status in refunds.RETURNED:
        return None  # anything else is a reading from before it failed
    reverted = refund.status == refunds.SUCCEEDED and status in refunds.RETURNED
    if refund.status == refunds.SUCCEEDED and not reverted:
        return None
    detail = seen.get("failure_reason")
    _written(refunds.change(conn, refund, status=status, stripe_refund_id=seen["id"], detail=detail))
    moved = {refunds.SUCCEEDED: ledger.REFUND}.get(status) or (ledger.REFUND_REVERSAL if reverted else None)
    if moved:
        ledger.post(
            conn, moved, cause=seen["id"], account_id=refund.account_id, order_id=refund.order_id,
            currency=refund.currency, amount=refund.amount,
        )  # fmt: skip
    settle_order(conn, order)
    captured, gone = payments.captured(conn, order.id), refunds.total(conn, order.id)
    return f"refunds of {gone} stand against {captured} captured" if gone > captured else None


def dispute_seen(conn: Connection, payment: Payment, dispute: dict[str, Any]) -> bool:
    """Apply a dispute as Stripe shows it; its balance transactions say which funds moved, whatever event told of it.

    Returns:
        Whether the ledger heard of a movement for the first time.
    """
    disputes.keep(conn, payment, dispute)
    orders.flag_dispute(conn, payment.order_id, disputes.open_on(conn, payment.order_id))
    posted = [
        ledger.post(
            conn, kind, cause=dispute["id"], account_id=payment.account_id, order_id=payment.order_id,
            currency=dispute["currency"], amount=dispute["amount"],
        )
        for kind in dispute_movements(dispute)
    ]  # fmt: skip
    return any(posted)


def dispute_movements(dispute: dict[str, Any]) -> list[str]:
    """Which funds a dispute moved, as the ledger calls it, oldest first."""
    moved = dispute.get("balance_transactions") or []
    return [ledger.DISPUTE_WITHDRAWN if one["amount"] < 0 else ledger.DISPUTE_REINSTATED for one in moved]


def fee_seen(conn: Connection, payment: Payment, transaction: dict[str, Any]) -> bool:
    """Post what Stripe took for itself, or gave back, in one of its balance transactions; needs no lock.

    Args:
        payment: the payment that the transaction's source (a charge, refund or dispute) belongs to.
        transaction: its `fee` is in minor units of its own currency, which may be another than the payment's.

    Returns:
        Whether the ledger heard of it for the first time.
    """
    fee = transaction["fee"]
    return fee != 0 and ledger.post(
        conn, ledger.FEE if fee > 0 else ledger.FEE_REVERSAL, cause=transaction["id"], account_id=payment.account_id,
        order_id=payment.order_id, currency=transaction["currency"], amount=abs(fee),
    )  # fmt: skip


def _final(refund: Refund) -> bool:
    # One that we gave up without ever seeing it at Stripe is not final: seen there now, it moves money.
    return refund.stripe_refund_id is not None and refund.status in (refunds.SUCCEEDED, *refunds.RETURNED)


def _written(changed: bool) -> None:
    if not changed:
        raise Retryable("it moved while Stripe's answer was being applied")


def settle_order(conn: Connection, order: Order) -> int:
    """Derive the order's status from its payments and refunds; returns the minor units captured."""
    captured = payments.captured(conn, order.id)
    orders.move(conn, order, _status(conn, order, captured))
    return captured


def _status(conn: Connection, order: Order, captured: int) -> str:
    refunded = refunds.total(conn, order.id, settled=True)
    if captured == 0:
        if order.status == orders.CANCELED:
            return orders.CANCELED
        waiting = any(
            payment.status in payments.LIVE and payment.payment_intent_id
            for payment in payments.of_order(conn, order.id)
        )
        # Refunded before its success was known: then it must not seem that its money needs no sum (`news.pay`).
        return orders.AWAITING_PAYMENT if waiting and not refunded else orders.PENDING
    if refunded == 0:
        return orders.PAID
    return orders.REFUNDED if refunded >= captured else orders.PARTIALLY_REFUNDED


def mismatch(payment: Payment, intent: dict[str, Any], livemode: bool | None) -> str | None:
    """Where a PaymentIntent contradicts its payment, or None."""
    expected = {"amount": payment.amount, "currency": payment.currency}
    if payment.payment_intent_id:
        expected["id"] = payment.payment_intent_id
    if livemode is not None and not intent.get("test_mode"):
        expected["livemode"] = livemode
    if intent["status"] == "succeeded":
        # Of one that succeeded, an operator may have settled less than was asked for.
        settled = payment.status == payments.SUCCEEDED
        expected["amount_received"] = payment.amount_received if settled else payment.amount
    wrong = [
        f"{name} {intent.get(name)} where {value} was expected"
        for name, value in expected.items()
        if intent.get(name) != value
    ]
    return f"Stripe shows {', '.join(wrong)}" if wrong else None
