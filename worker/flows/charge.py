"""Checkout: one unconfirmed PaymentIntent per payment, whose client_secret the customer pays with."""

from __future__ import annotations

from typing import Any

from core import get_logger, monitor, payment
from core.crashpoints import crash_point
from core.database import reading
from core.domain import checkouts, customers, orders, payments
from core.domain.customers import User
from core.domain.payments import UNCREATED, Payment
from core.domain.settlement import intent_seen
from core.errors import Permanent
from core.payments import PaymentKeyReused, PaymentRefused, PaymentUnknown
from core.sightings import intents_of_customer
from worker.backoff import backoff
from worker.flows.evidence import marked, too_old
from worker.work import Work

logger = get_logger(__name__)


def create_payment(work: Work) -> None:
    """Create, or find again, the payment's PaymentIntent and hand out its client_secret."""
    row, order = work.loaded or _read(work)
    if row.status not in UNCREATED:  # an earlier attempt, another request or the webhook was faster
        _answer(work, row, order)
        return
    params = row.params or _freeze(work, row, order)
    intent = _find_or_post(work, row, params)
    if intent is None:
        return
    crash_point("charge.posted")
    _settle(work, row, order, intent)


def _read(work: Work) -> tuple[Payment, orders.Order]:
    with reading() as conn:
        row = payments.get(conn, work.args["payment_id"])
        order = orders.find(conn, row.account_id, row.order_id)
    if order is None:
        raise LookupError(f"order {row.order_id}")
    return row, order


def _settle(work: Work, row: Payment, order: orders.Order, intent: dict[str, Any]) -> None:
    result, livemode = _result(row, order, intent), payment.livemode()
    if not work.end_at_once(lambda notes: checkouts.end(work.claim, row, intent, livemode, result, notes)):
        _settle_under_lock(work, row, result, intent)
    logger.info("payment intent known", extra={"payment_id": row.id, "intent_id": intent["id"]})


def _settle_under_lock(work: Work, row: Payment, result: dict[str, Any], intent: dict[str, Any]) -> None:
    useless = intent["status"] == "canceled"  # in Stripe's dashboard, say, while its answer was lost
    with work.fail(_canceled()) if useless else work.succeed(result) as conn:
        order = orders.lock(conn, row.account_id, row.order_id)
        current = payments.get(conn, row.id)
        # Our answer may be a replay, hours old: what a webhook told of this PaymentIntent since is newer.
        told = current.status not in UNCREATED and current.payment_intent_id == intent["id"]
        doubt = None if told else intent_seen(conn, order, current, intent, payment.livemode())
        if doubt:
            work.doubt(conn, doubt)


def _answer(work: Work, row: Payment, order: orders.Order) -> None:
    if row.status == payments.CANCELED:
        raise _canceled()
    if row.status == payments.NEEDS_REVIEW:
        with work.review("the payment waits for an operator"):
            return
    intent = {"id": row.payment_intent_id, "client_secret": row.client_secret, "test_mode": row.test_mode}
    with work.succeed(_result(row, order, intent)):
        return


def _canceled() -> Permanent:
    return Permanent("the payment was canceled: check the order out again", type="payment-canceled", status=409)


def _freeze(work: Work, row: Payment, order: orders.Order) -> dict[str, Any]:
    params = payments.stripe_params(row.id, order, _customer(work, order), work.claim.job_id)
    with work.step() as conn:
        payments.freeze(conn, row, params)
        frozen = payments.get(conn, row.id).params or params
    crash_point("charge.frozen")
    return frozen


def _customer(work: Work, order: orders.Order) -> str:
    with reading() as conn:
        user = customers.find(conn, order.account_id, order.user_id)
    if user is None:
        raise LookupError(f"user {order.user_id}")
    if user.stripe_customer_id:
        return user.stripe_customer_id
    made = _create_customer(work, user)
    crash_point("charge.customer_made")
    if made.get("test_mode"):  # Stripe itself will not know this one
        return str(made["id"])
    with work.step() as conn:
        kept = customers.remember_stripe_customer(conn, user.id, made["id"])
    crash_point("charge.customer_kept")
    return kept


def _create_customer(work: Work, user: User) -> dict[str, Any]:
    def create(key: str) -> dict[str, Any]:
        work.check_time()
        marks = {"user_id": user.id}
        return payment.create_customer(email=user.email, name=user.full_name, metadata=marks, idempotency_key=key)

    key = user.idempotency_key
    try:
        return create(key)
    except (PaymentUnknown, PaymentKeyReused) as error:
        if isinstance(error, PaymentUnknown) and not error.replayed:
            raise
        # This key has no other answer for a day. A customer moves no money: a second one does no harm.
        return create(f"{key}:{work.claim.job_id}:{work.claim.attempt}")


def _find_or_post(work: Work, row: Payment, params: dict[str, Any]) -> dict[str, Any] | None:
    """The PaymentIntent, or None when the job ended or was put back."""
    if too_old(row.epoch_at):
        found = _look(work, row, params)
        if found is None:
            _forget_key(work, row)
        return found
    work.check_time()
    try:
        return payment.create_payment_intent(**params, idempotency_key=row.idempotency_key)
    except PaymentUnknown as error:
        monitor.add_breadcrumb("answer lost", category="payment", data={"reason": str(error)})
        return _resolve(work, row, params, error)
    except PaymentKeyReused as error:
        with work.review(error.detail) as conn:
            payments.change(conn, row, status=payments.NEEDS_REVIEW, detail=error.detail)
    except Permanent as error:
        return _refused(work, row, params, error)
    return None


def _forget_key(work: Work, row: Payment) -> None:
    # A day later and Stripe has nothing: the old key did nothing and may be forgotten.
    with work.again(0.0, "the key is too old and nothing was made with it") as conn:
        payments.advance(conn, row)


def _resolve(work: Work, row: Payment, params: dict[str, Any], error: PaymentUnknown) -> dict[str, Any] | None:
    found = _look(work, row, params) if error.replayed else None
    if found is not None:
        return found
    with work.again(backoff(work.claim.attempt), str(error)) as conn:
        if error.replayed:  # Stripe keeps this error for the key, and nothing was made with it
            payments.advance(conn, row)
        payments.change(conn, row, status=payments.UNKNOWN, detail=str(error))
    crash_point("charge.unknown")
    return None


def _refused(work: Work, row: Payment, params: dict[str, Any], error: Permanent) -> dict[str, Any] | None:
    customer_gone = _customer_gone(error)
    tried_before = row.status == payments.UNKNOWN or work.claim.attempt > 1
    found = _look(work, row, params) if tried_before or customer_gone else None
    if found is not None:
        return found
    if customer_gone:
        _forget_customer(work, row, params)
        return None
    with work.fail(error) as conn:
        payments.change(conn, row, status=payments.CANCELED, detail=error.detail)
    return None


def _customer_gone(error: Permanent) -> bool:
    return isinstance(error, PaymentRefused) and (error.code, error.param) == ("resource_missing", "customer")


def _forget_customer(work: Work, row: Payment, params: dict[str, Any]) -> None:
    # It was deleted at Stripe, which refused the key and lists nothing that an earlier use of it made.
    reason = f"{params['customer_id']} is not a customer at Stripe any more"
    with work.again(0.0 if work.claim.attempt == 1 else backoff(work.claim.attempt), reason) as conn:
        customers.forget_stripe_customer(conn, params["metadata"]["user_id"], params["customer_id"])
        payments.advance(conn, row)


def _look(work: Work, row: Payment, params: dict[str, Any]) -> dict[str, Any] | None:
    work.check_time()

    def listed() -> list[dict[str, Any]]:
        return intents_of_customer(params["customer_id"], row.epoch_at, row.epoch_at, work.renew)

    return marked(listed, "payment_id", row.id)


def _result(row: Payment, order: orders.Order, intent: dict[str, Any]) -> dict[str, Any]:
    result = {
        "order_id": row.order_id,
        "total": order.total,
        "currency": row.currency,
        "client_secret": intent["client_secret"],
        "payment_intent_id": intent["id"],
    }
    return {**result, "test_mode": True} if intent.get("test_mode") else result
