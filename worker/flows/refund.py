"""A refund: its amount is reserved already; ask Stripe for it once, and look before asking again."""

from __future__ import annotations

from typing import Any

from core import cache, get_logger, monitor, payment
from core.clock import utcnow
from core.crashpoints import crash_point
from core.database import reading
from core.domain import orders, payments, refunds
from core.domain.refunds import UNCREATED, Refund
from core.domain.settlement import refund_seen
from core.errors import Conflict, Permanent
from core.payments import PaymentKeyReused, PaymentRefused, PaymentUnknown
from worker.flows.keys import KEY_LIFE
from worker.work import Work

logger = get_logger(__name__)


def create_refund(work: Work) -> None:
    """Create the refund at Stripe, or find the one that a lost answer made."""
    with reading() as conn:
        row = refunds.get(conn, work.args["refund_id"])
        paid = payments.get(conn, row.payment_id)
    if row.status not in UNCREATED:  # an earlier attempt or the webhook was faster
        _answer(work, row)
        return
    if paid.payment_intent_id is None:
        raise LookupError(f"payment {paid.id} was captured without a PaymentIntent")
    params = row.params or _freeze(work, row, paid.payment_intent_id)
    seen = _find_or_post(work, row, params)
    if seen is not None:
        crash_point("refund.posted")
        settle(work, row, seen)


def settle(work: Work, row: Refund, seen: dict[str, Any]) -> None:
    """Write down what Stripe answered and end the job."""
    with work.succeed(_result(row, seen["id"], seen["status"])) as conn:
        order = orders.lock(conn, row.account_id, row.order_id)
        doubt = refund_seen(conn, order, refunds.get(conn, row.id), seen)
        if doubt:
            work.doubt(conn, doubt)
    crash_point("refund.settled")
    cache.delete(f"stats:{row.account_id}:{order.user_id}")
    logger.info("refund created", extra={"refund_id": row.id, "stripe_refund_id": seen["id"]})


def _answer(work: Work, row: Refund) -> None:
    if row.status in refunds.RETURNED:
        raise Conflict(f"the refund {row.status}: {row.detail or 'its amount is free again'}", type="refund-failed")
    if row.status == refunds.NEEDS_REVIEW:
        with work.review("the refund waits for an operator"):
            return
    with work.succeed(_result(row, row.stripe_refund_id, row.status)):
        return


def _freeze(work: Work, row: Refund, payment_intent_id: str) -> dict[str, Any]:
    params = {
        "payment_intent_id": payment_intent_id,
        "amount": row.amount,
        "reason": row.reason,
        "metadata": {"order_id": row.order_id, "refund_id": row.id, "job_id": work.claim.job_id},
    }
    with work.step() as conn:
        refunds.freeze(conn, row, params)
        frozen = refunds.get(conn, row.id).params or params
    crash_point("refund.frozen")
    return frozen


def _find_or_post(work: Work, row: Refund, params: dict[str, Any]) -> dict[str, Any] | None:
    """The refund at Stripe, or None when the job ended or was put back."""
    too_old = utcnow() - row.epoch_at > KEY_LIFE
    if too_old or row.status == refunds.UNKNOWN or work.claim.attempt > 1:
        found = _look(work, row, params)
        if found is not None:
            return found
    if too_old:
        with work.again(0.0, "the key is too old and nothing was made with it") as conn:
            refunds.advance(conn, row)
        return None
    work.check_time()
    try:
        return payment.create_refund(**params, idempotency_key=row.idempotency_key)
    except PaymentUnknown as error:
        monitor.add_breadcrumb("answer lost", category="payment", data={"reason": str(error)})
        _unknown(work, row, params, error)
    except PaymentKeyReused as error:
        with work.review(error.detail) as conn:
            refunds.change(conn, row, status=refunds.NEEDS_REVIEW, detail=error.detail)
    except PaymentRefused as error:
        _refused(work, row, params, error)
    return None


def _unknown(work: Work, row: Refund, params: dict[str, Any], error: PaymentUnknown) -> None:
    # A replayed error is all that this key will ever answer: nothing listed then proves that nothing was made.
    nothing_made = error.replayed and _look(work, row, params) is None
    with work.again(2.0 if row.status == refunds.CREATING else 10.0, str(error)) as conn:
        if nothing_made:
            refunds.advance(conn, row)
        refunds.change(conn, row, status=refunds.UNKNOWN, detail=str(error))
    crash_point("refund.unknown")


def _refused(work: Work, row: Refund, params: dict[str, Any], error: Permanent) -> None:
    found = _look(work, row, params)
    if found is not None:
        settle(work, row, found)
        return
    with work.fail(error) as conn:
        refunds.change(conn, row, status=refunds.FAILED, detail=error.detail)


def _look(work: Work, row: Refund, params: dict[str, Any]) -> dict[str, Any] | None:
    """The refund that carries our id; lists read their own writes, search does not."""
    work.check_time()
    for found in payment.list_refunds(params["payment_intent_id"]):
        if (found.get("metadata") or {}).get("refund_id") == row.id:
            return found
    return None


def _result(row: Refund, stripe_refund_id: str | None, status: str) -> dict[str, Any]:
    return {
        "order_id": row.order_id,
        "refund_id": row.id,
        "stripe_refund_id": stripe_refund_id,
        "amount": row.amount,
        "currency": row.currency,
        "status": status,
    }
