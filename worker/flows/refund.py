"""A refund: its amount is reserved already; ask Stripe for it once, and look before asking again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from core import cache, get_logger, monitor, payment
from core.clock import utcnow
from core.crashpoints import crash_point
from core.database import reading
from core.domain import orders, payments, refunds
from core.domain.refunds import UNCREATED, Refund
from core.domain.settlement import REFUND_STATUS, refund_seen
from core.errors import Conflict, Permanent, Retryable
from core.payments import PaymentKeyReused, PaymentUnknown
from worker.backoff import backoff
from worker.flows.evidence import insist_on_stripe, marked, too_old
from worker.work import Work

logger = get_logger(__name__)

INDETERMINATE = timedelta(hours=1)
"""Stripe calls a 500 indeterminate and may finish the work later: before this an empty list proves nothing."""


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
    insist_on_stripe(paid.test_mode)
    params = row.params or _freeze(work, row, paid.payment_intent_id)
    seen = _find_or_post(work, row, params)
    if seen is not None:
        crash_point("refund.posted")
        _settle(work, row, seen)


def _settle(work: Work, row: Refund, seen: dict[str, Any]) -> None:
    status = REFUND_STATUS[seen["status"]]
    returned = status in refunds.RETURNED
    with work.fail(_returned(seen)) if returned else work.succeed(_result(row, seen["id"], status)) as conn:
        order = orders.lock(conn, row.account_id, row.order_id)
        doubt = refund_seen(conn, order, refunds.get(conn, row.id), seen)
        if doubt:
            work.doubt(conn, doubt)
        elif refunds.get(conn, row.id).status != status:
            raise Retryable("a webhook told more than this answer", delay=0.0)  # the row answers next time
    crash_point("refund.settled")
    cache.delete(f"stats:{row.account_id}:{order.user_id}")
    logger.info("refund known", extra={"refund_id": row.id, "stripe_refund_id": seen["id"], "status": status})


def _answer(work: Work, row: Refund) -> None:
    if row.status in refunds.RETURNED:
        raise _returned({"status": row.status, "failure_reason": row.detail})
    if row.status == refunds.NEEDS_REVIEW:
        with work.review("the refund waits for an operator"):
            return
    with work.succeed(_result(row, row.stripe_refund_id, row.status)):
        return


def _returned(seen: dict[str, Any]) -> Conflict:
    reason = seen.get("failure_reason") or "its amount is free again"
    return Conflict(f"the refund {seen['status']}: {reason}", type="refund-failed")


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
    old = too_old(row.epoch_at)
    if old or row.status == refunds.UNKNOWN or work.claim.attempt > 1:
        found = _look(work, params)
        if found is not None:
            return found
    if old:
        with work.again(0.0, "the key is too old and nothing was made with it") as conn:
            refunds.advance(conn, row)
        return None
    work.check_time()
    try:
        return payment.create_refund(**params, idempotency_key=row.idempotency_key)
    except PaymentUnknown as error:
        monitor.add_breadcrumb("answer lost", category="payment", data={"reason": str(error)})
        return _resolve(work, row, params, error)
    except PaymentKeyReused as error:
        with work.review(error.detail) as conn:
            refunds.change(conn, row, status=refunds.NEEDS_REVIEW, detail=error.detail)
    except Permanent as error:
        return _refused(work, row, params, error)
    return None


def _resolve(work: Work, row: Refund, params: dict[str, Any], error: PaymentUnknown) -> dict[str, Any] | None:
    # Stripe keeps this error for the key; nothing listed an hour later proves that nothing was made with it.
    final = error.replayed and utcnow() - row.epoch_at > INDETERMINATE
    found = _look(work, params) if error.replayed else None
    if found is not None:
        return found
    with work.again(backoff(work.claim.attempt), str(error)) as conn:
        if final:
            refunds.advance(conn, row)
        refunds.change(conn, row, status=refunds.UNKNOWN, detail=str(error))
    crash_point("refund.unknown")
    return None


def _refused(work: Work, row: Refund, params: dict[str, Any], error: Permanent) -> dict[str, Any] | None:
    found = _look(work, params)  # "already refunded", perhaps by us
    if found is not None:
        return found
    with work.fail(error) as conn:
        refunds.change(conn, row, status=refunds.FAILED, detail=error.detail)
    return None


def _look(work: Work, params: dict[str, Any]) -> dict[str, Any] | None:
    work.check_time()
    return marked(
        lambda: payment.list_refunds(params["payment_intent_id"]), "refund_id", params["metadata"]["refund_id"]
    )


def _result(row: Refund, stripe_refund_id: str | None, status: str) -> dict[str, Any]:
    return {
        "order_id": row.order_id,
        "refund_id": row.id,
        "stripe_refund_id": stripe_refund_id,
        "amount": row.amount,
        "currency": row.currency,
        "status": status,
    }
