"""Reconciliation: what Stripe shows and what we hold is compared; what differs is a finding, repaired where safe."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from core import get_logger, payment
from core.clock import utcnow
from core.crashpoints import crash_point
from core.database import reading
from core.domain import cursors, findings, jobs, orders, payments, refunds
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.domain.settlement import INTENT_STATUS, REFUND_STATUS, intent_seen, ours, refund_seen
from core.payments import PaymentRefused
from worker.flows.evidence import stripe_is_on
from worker.work import Work

logger = get_logger(__name__)

OVERLAP = timedelta(minutes=10)
"""Lists are asked again this far back: `created` has seconds only, and objects become visible out of order."""
FIRST_LOOK_BACK = timedelta(days=1)
CHECKS_PER_RUN = 50


def compare_objects(work: Work) -> None:
    """Ask about every open payment and refund that is due, then compare what Stripe lists with what we hold."""
    if not stripe_is_on():
        with work.succeed({"skipped": "Stripe is switched off"}):
            return
    with reading() as conn:
        due_payments = payments.due_for_check(conn, CHECKS_PER_RUN)
        due_refunds = refunds.due_for_check(conn, CHECKS_PER_RUN)
    for row in due_payments:
        _check_payment(work, row)
    for open_refund in due_refunds:
        _check_refund(work, open_refund)
    compared = _walk(work, "intents", payment.list_payment_intents, _compare_listed_intent)
    compared += _walk(work, "refunds", payment.list_refunds, _compare_listed_refund)
    with work.succeed({"checked": len(due_payments) + len(due_refunds), "compared": compared}):
        pass


def _check_payment(work: Work, row: Payment) -> None:
    intent, refused = _retrieved(work, payment.retrieve_payment_intent, row.payment_intent_id)
    with work.step() as conn:
        if intent is not None:
            _compare_intent(conn, row.id, intent)
        elif refused:
            _missing_at_stripe(conn, row.payment_intent_id, refused, row)
        payments.checked(conn, row)  # last: whoever locks the order locks it before its payments
    crash_point("reconcile.payment_checked")


def _check_refund(work: Work, row: Refund) -> None:
    seen, refused = _retrieved(work, payment.retrieve_refund, row.stripe_refund_id)
    with work.step() as conn:
        if seen is not None:
            _compare_refund(conn, row.id, seen)
        elif refused:
            _missing_at_stripe(conn, row.stripe_refund_id, refused, row)
        refunds.checked(conn, row)
    crash_point("reconcile.refund_checked")


def _retrieved(
    work: Work, retrieve: Callable[[str], dict[str, Any]], object_id: str | None
) -> tuple[dict[str, Any] | None, str | None]:
    """The object, or why Stripe does not show it."""
    if object_id is None:
        return None, None
    work.check_time()
    try:
        return retrieve(object_id), None
    except PaymentRefused as error:
        return None, error.detail


def _missing_at_stripe(conn: Connection, object_id: str | None, refused: str, row: Payment | Refund) -> None:
    detail = {"local": row.status, "stripe": refused}
    _record(conn, findings.MISSING_AT_STRIPE, object_id or row.id, detail, row)


def _walk(
    work: Work,
    name: str,
    listed: Callable[..., list[dict[str, Any]]],
    compare: Callable[[Work, dict[str, Any]], None],
) -> int:
    with reading() as conn:
        since = int(cursors.place(conn, name).get("since") or _ago(FIRST_LOOK_BACK))
    work.check_time()
    started = _ago(OVERLAP)
    found = listed(created_gte=since)
    for seen in found:
        compare(work, seen)
    with work.step() as conn:
        cursors.move(conn, name, {"since": started})
    return len(found)


def _compare_listed_intent(work: Work, intent: dict[str, Any]) -> None:
    marks = intent.get("metadata") or {}
    with reading() as conn:
        row = payments.of_intent(conn, intent["id"], marks.get("payment_id"))
        if row is not None and (_intent_agrees(row, intent) or _is_worked_on(conn, row)):
            return
    if row is None:
        _missing_locally(work, intent)
        return
    work.check_time()
    fresh = payment.retrieve_payment_intent(intent["id"])  # the list is older than what a webhook may have told since
    with work.step() as conn:
        _compare_intent(conn, row.id, fresh)
    crash_point("reconcile.intent_compared")


def _compare_listed_refund(work: Work, seen: dict[str, Any]) -> None:
    with reading() as conn:
        paid = payments.of_intent(conn, seen["payment_intent"]) if seen.get("payment_intent") else None
        mine = refunds.of_stripe(
            conn, seen["id"], (seen.get("metadata") or {}).get("refund_id"), paid.id if paid else None
        )
        if mine is not None and (_refund_agrees(mine, seen) or _is_worked_on(conn, mine)):
            return
    if paid is None:
        _missing_locally(work, seen)
        return
    work.check_time()
    fresh = payment.retrieve_refund(seen["id"])
    with work.step() as conn:
        _import_or_compare(conn, paid, fresh)
    crash_point("reconcile.refund_compared")


def _is_worked_on(conn: Connection, row: Payment | Refund) -> bool:
    """Whether the answer to our own call is still to be stored: the job will do that."""
    if row.status not in payments.UNCREATED:
        return False
    kinds, alive = (jobs.PAYMENT_CREATE.name, jobs.REFUND_CREATE.name), (jobs.QUEUED, jobs.RUNNING)
    return any(job.kind in kinds and job.status in alive for job in jobs.of_order(conn, row.order_id))


def _missing_locally(work: Work, seen: dict[str, Any]) -> None:
    if ours(seen):  # else it is somebody else's
        logger.warning("finding", extra={"kind": findings.MISSING_LOCALLY, "object_id": seen["id"]})
        with work.step() as conn:
            findings.record(conn, findings.MISSING_LOCALLY, seen["id"], _shown(seen))


def _import_or_compare(conn: Connection, paid: Payment, seen: dict[str, Any]) -> None:
    order = orders.lock(conn, paid.account_id, paid.order_id)
    mine = refunds.of_stripe(conn, seen["id"], (seen.get("metadata") or {}).get("refund_id"), paid.id)
    if mine is not None:
        _compare_refund(conn, mine.id, seen)
        return
    doubt = refund_seen(conn, order, refunds.adopt(conn, paid, seen), seen)
    detail = {"stripe": _shown(seen), "doubt": doubt}
    _record(conn, findings.REFUND_UNKNOWN, seen["id"], detail, paid, repaired=doubt is None)


def _compare_intent(conn: Connection, payment_id: str, intent: dict[str, Any]) -> None:
    stale = payments.get(conn, payment_id)
    order = orders.lock(conn, stale.account_id, stale.order_id)
    row = payments.get(conn, payment_id)
    if _intent_agrees(row, intent):
        return
    doubt = intent_seen(conn, order, row, intent, payment.livemode())
    if doubt is not None or payments.get(conn, payment_id).status != row.status:  # else an older reading than ours
        _record_difference(conn, row, intent, doubt)


def _compare_refund(conn: Connection, refund_id: str, seen: dict[str, Any]) -> None:
    stale = refunds.get(conn, refund_id)
    order = orders.lock(conn, stale.account_id, stale.order_id)
    row = refunds.get(conn, refund_id)
    if _refund_agrees(row, seen):
        return
    doubt = refund_seen(conn, order, row, seen)
    if doubt is not None or refunds.get(conn, refund_id).status != row.status:
        _record_difference(conn, row, seen, doubt)


def _intent_agrees(row: Payment, intent: dict[str, Any]) -> bool:
    same = (row.amount, row.currency) == (intent["amount"], intent["currency"])
    return same and INTENT_STATUS[intent["status"]] == row.status


def _refund_agrees(row: Refund, seen: dict[str, Any]) -> bool:
    same = (row.amount, row.currency) == (seen["amount"], seen["currency"])
    return same and REFUND_STATUS[seen["status"]] == row.status


def _record_difference(conn: Connection, row: Payment | Refund, seen: dict[str, Any], doubt: str | None) -> None:
    kind = findings.STATE_DIFFERS if seen["amount"] == row.amount else findings.AMOUNT_DIFFERS
    detail = {"local": {"status": row.status, "amount": row.amount}, "stripe": _shown(seen), "doubt": doubt}
    _record(conn, kind, seen["id"], detail, row, repaired=doubt is None)


def _record(
    conn: Connection, kind: str, object_id: str, detail: dict[str, Any], row: Payment | Refund, repaired: bool = False
) -> None:
    logger.warning("finding", extra={"kind": kind, "object_id": object_id, "repaired": repaired})
    findings.record(conn, kind, object_id, detail, account_id=row.account_id, order_id=row.order_id, repaired=repaired)


def _ago(span: timedelta) -> int:
    return int((utcnow() - span).timestamp())


def _shown(seen: dict[str, Any]) -> dict[str, Any]:
    return {name: seen.get(name) for name in ("id", "status", "amount", "currency", "metadata")}
