"""One object as Stripe shows it against what we hold: repaired where that is safe, and kept as a finding.

Every `compare_...` takes the order's lock, reads its row under it, and writes in the caller's transaction.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from core import get_logger, payment
from core.domain import disputes, findings, ledger, orders, payments, refunds
from core.domain.disputes import Dispute
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.domain.settlement import (
    INTENT_STATUS,
    REFUND_STATUS,
    dispute_movements,
    dispute_seen,
    intent_seen,
    refund_seen,
)

logger = get_logger(__name__)

Row = Payment | Refund | Dispute


def compare_intent(conn: Connection, payment_id: str, intent: dict[str, Any]) -> None:
    """Apply a PaymentIntent to its payment."""
    stale = payments.get(conn, payment_id)
    order = orders.lock(conn, stale.account_id, stale.order_id)
    row = payments.get(conn, payment_id)
    if intent_agrees(row, intent):
        return
    doubt = intent_seen(conn, order, row, intent, payment.livemode())
    if doubt is not None or payments.get(conn, payment_id).status != row.status:  # else an older reading than ours
        _difference(conn, row, intent, doubt)


def compare_refund(conn: Connection, paid: Payment, seen: dict[str, Any]) -> None:
    """Apply a refund of the payment to its row, which is made when there is none: somebody refunded without us."""
    order = orders.lock(conn, paid.account_id, paid.order_id)
    row = refunds.of_stripe(conn, seen["id"], (seen.get("metadata") or {}).get("refund_id"), paid.id)
    if row is None:
        doubt = refund_seen(conn, order, refunds.adopt(conn, paid, seen), seen)
        detail = {"stripe": shown(seen), "doubt": doubt}
        record(conn, findings.REFUND_UNKNOWN, seen["id"], detail, paid, repaired=doubt is None)
        return
    if refund_agrees(row, seen):
        return
    doubt = refund_seen(conn, order, row, seen)
    if doubt is not None or refunds.get(conn, row.id).status != row.status:
        _difference(conn, row, seen, doubt)


def compare_dispute(conn: Connection, paid: Payment, seen: dict[str, Any]) -> None:
    """Apply a dispute of the payment to its row, which is made when no event told of it."""
    orders.lock(conn, paid.account_id, paid.order_id)
    before = disputes.of_stripe(conn, seen["id"])
    if before is not None and dispute_agrees(conn, before, seen):
        return
    moved = dispute_seen(conn, paid, seen)
    after, doubt = disputes.of_stripe(conn, seen["id"]), withdrawn_otherwise(seen)
    if before is None:
        detail = {"stripe": shown(seen), "doubt": doubt}
        record(conn, findings.DISPUTE_UNKNOWN, seen["id"], detail, paid, repaired=True)
    elif after is not None and (moved or (after.status, after.amount) != (before.status, before.amount)):
        _difference(conn, before, seen, None)
    elif seen["status"] in disputes.CLOSED and seen["status"] != before.status:
        _difference(conn, before, seen, "it was closed here already, another way")
    if doubt is not None:
        record(conn, findings.AMOUNT_DIFFERS, seen["id"], {"stripe": shown(seen), "doubt": doubt}, paid)


def intent_agrees(row: Payment, intent: dict[str, Any]) -> bool:
    """Whether nothing is left to apply."""
    same = (row.amount, row.currency) == (intent["amount"], intent["currency"])
    return same and INTENT_STATUS[intent["status"]] == row.status


def refund_agrees(row: Refund, seen: dict[str, Any]) -> bool:
    """Whether nothing is left to apply."""
    same = (row.amount, row.currency) == (seen["amount"], seen["currency"])
    return same and REFUND_STATUS[seen["status"]] == row.status


def dispute_agrees(conn: Connection, row: Dispute, seen: dict[str, Any]) -> bool:
    """Whether nothing is left to apply, the movements of its funds included."""
    same = (row.amount, row.status) == (seen["amount"], seen["status"]) and withdrawn_otherwise(seen) is None
    return same and ledger.posted(conn, seen["id"]) >= set(dispute_movements(seen))


def withdrawn_otherwise(seen: dict[str, Any]) -> str | None:
    """What is wrong with the money that a dispute took, or None; another currency's cannot be compared."""
    taken = [
        -one["amount"]
        for one in seen.get("balance_transactions") or []
        if one["amount"] < 0 and one.get("currency") == seen["currency"]
    ]
    wrong = next((amount for amount in taken if amount != seen["amount"]), None)
    return None if wrong is None else f"Stripe withdrew {wrong} for a dispute of {seen['amount']} {seen['currency']}"


def record(
    conn: Connection, kind: str, object_id: str, detail: dict[str, Any], row: Row, repaired: bool = False
) -> None:
    """Log a finding and write it down, as one of the row's order."""
    logger.warning("finding", extra={"kind": kind, "object_id": object_id, "repaired": repaired})
    findings.record(conn, kind, object_id, detail, account_id=row.account_id, order_id=row.order_id, repaired=repaired)


def shown(seen: dict[str, Any]) -> dict[str, Any]:
    """What a finding keeps of Stripe's object."""
    return {name: seen.get(name) for name in ("id", "status", "amount", "currency", "metadata")}


def _difference(conn: Connection, row: Row, seen: dict[str, Any], doubt: str | None) -> None:
    kind = findings.STATE_DIFFERS if seen["amount"] == row.amount else findings.AMOUNT_DIFFERS
    detail = {"local": {"status": row.status, "amount": row.amount}, "stripe": shown(seen), "doubt": doubt}
    record(conn, kind, seen["id"], detail, row, repaired=doubt is None)
