"""A Stripe event: a hint that something moved. Find the row, learn the truth, apply it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from core import cache, get_logger, payment
from core.crashpoints import crash_point
from core.database import reading
from core.domain import leases, news, orders, payments, refunds, webhooks
from core.domain.news import Told
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.settlement import REFUND_STATUS, dispute_seen, intent_seen, mismatch, ours, refund_seen
from core.domain.timeline import Note
from core.domain.webhooks import WebhookEvent
from core.errors import Retryable
from core.payments import PaymentRefused
from worker.flows.evidence import insist_on_stripe, wait_for_stripe
from worker.work import Work

logger = get_logger(__name__)

SNOOZES = 8
"""Times (about four minutes) that an event waits for its object to be stored before it counts as unmatched."""
TERMINAL = {"payment_intent.succeeded", "payment_intent.canceled"}

Apply = Callable[[Connection, Order], str | None]
Made = TypeVar("Made")


def process_webhook(work: Work) -> None:
    """Process one stored event."""
    told = work.loaded or _read(work)
    event = told.event
    if event.status not in (webhooks.RECEIVED, webhooks.UNMATCHED):  # an operator may have an unmatched one tried again
        with work.succeed({"event_id": event.id, "outcome": event.status}):
            return
    handler = _handler(event.type)
    if handler is None:
        _close(work, event, webhooks.IGNORED)
        return
    try:
        handler(work, told)
    except PaymentRefused as error:
        _park(work, event, f"Stripe does not show the object of {event.id}: {error.detail}")


def _read(work: Work) -> Told:
    with reading() as conn:
        return news.told(webhooks.get(conn, work.args["event_id"]))


def _handler(type: str) -> Callable[[Work, Told], None] | None:
    if type.startswith("payment_intent."):
        return _intent
    if type.startswith("refund.") or type in ("charge.refund.updated", "charge.refunded"):
        return _refunds
    if type.startswith("charge.dispute."):
        return _dispute
    return None


def _intent(work: Work, told: Told) -> None:
    event, seen, row = told
    if row is None:
        row = _payment_of(seen["id"], (seen.get("metadata") or {}).get("payment_id"))
    if row is None:
        _unmatched(work, event, seen)
        return
    if event.type == "payment_intent.created" and row.payment_intent_id:
        _close(work, event, webhooks.PROCESSED, row)  # our own call's answer said it all
        return
    insist_on_stripe(row.test_mode)
    says_it_all = event.type in TERMINAL and event.api_version == payment.api_version
    if not says_it_all or mismatch(row, seen, payment.livemode()):  # every conflict is settled by Stripe itself
        _before_reading(work, row)
        seen = payment.retrieve_payment_intent(seen["id"])

    def apply(conn: Connection, order: Order) -> str | None:
        return intent_seen(conn, order, payments.get(conn, row.id), seen, payment.livemode())

    _apply(work, event, row, apply, seen)


def _refunds(work: Work, told: Told) -> None:
    event, seen, _ = told
    row = _payment_of(seen.get("payment_intent"))
    if row is None:
        _unmatched(work, event, seen)
        return
    _before_reading(work, row)
    # All of them: one that came beside one that failed would seem too much until we hear of the failure.
    found = payment.list_refunds(seen["payment_intent"])
    if seen["object"] == "refund" and seen["id"] not in {one["id"] for one in found}:
        _park(work, event, f"Stripe does not show the refund {seen['id']} of {event.id}")
        return
    intent = None
    if row.status != payments.SUCCEEDED:  # the news of the payment is late: a refund is of captured money
        work.check_time()
        intent = payment.retrieve_payment_intent(seen["payment_intent"])
    _apply(work, event, row, _refunds_seen(row, found, intent))


def _refunds_seen(row: Payment, found: list[dict[str, Any]], intent: dict[str, Any] | None) -> Apply:
    def apply(conn: Connection, order: Order) -> str | None:
        doubts = list[str | None]()
        if intent is not None:
            doubts.append(intent_seen(conn, order, payments.get(conn, row.id), intent, payment.livemode()))
        # What failed comes first: its amount is free for the others.
        for seen in sorted(found, key=lambda one: REFUND_STATUS[one["status"]] not in refunds.RETURNED):
            mine = refunds.of_stripe(conn, seen["id"], (seen.get("metadata") or {}).get("refund_id"), row.id)
            doubts.append(refund_seen(conn, order, mine or refunds.adopt(conn, row, seen), seen))
        return next((doubt for doubt in doubts if doubt), None)

    return apply


def _dispute(work: Work, told: Told) -> None:
    event, seen, _ = told
    row = _payment_of(seen.get("payment_intent"))
    if row is None:
        _unmatched(work, event, seen)
        return
    _before_reading(work, row)
    current = payment.retrieve_dispute(seen["id"])

    def apply(conn: Connection, order: Order) -> str | None:
        dispute_seen(conn, row, current)
        return None

    _apply(work, event, row, apply)


def _before_reading(work: Work, row: Payment) -> None:
    insist_on_stripe(row.test_mode)
    wait_for_stripe(work.claim)
    work.check_time()


def _payment_of(intent_id: str | None, claimed_id: str | None = None) -> Payment | None:
    if intent_id is None:
        return None
    with reading() as conn:
        return payments.of_intent(conn, intent_id, claimed_id)


def _unmatched(work: Work, event: WebhookEvent, seen: dict[str, Any]) -> None:
    """Ours but not stored yet: come back; not ours: somebody else uses the same Stripe account."""
    if not ours(seen):
        _close(work, event, webhooks.FOREIGN)
        return
    if work.claim.attempt <= SNOOZES:
        raise Retryable(f"{event.type} is about an object that is not stored yet")
    _park(work, event, f"{event.id} carries our ids but matches nothing here")


def _park(work: Work, event: WebhookEvent, reason: str) -> None:
    logger.warning("event unmatched", extra={"event_id": event.id, "type": event.type, "reason": reason})
    with work.review(reason) as conn:
        webhooks.close(conn, event.id, webhooks.UNMATCHED, reason)


def _close(work: Work, event: WebhookEvent, status: str, row: Payment | None = None) -> None:
    """End an event that changes nothing."""
    result = {"event_id": event.id, "outcome": status}

    def plainly() -> bool:
        with work.succeed(result) as conn:
            webhooks.close(conn, event.id, status)
            if row is not None:
                leases.tie(conn, work.claim, row.account_id, row.order_id)
        return True

    _end(work, lambda notes: news.close(work.claim, event.id, row, status, result, notes), plainly)


def _apply(work: Work, event: WebhookEvent, row: Payment, apply: Apply, intent: dict[str, Any] | None = None) -> None:
    """End an event with what it changes; `intent` is what Stripe shows, if that is all that `apply` applies."""
    result = {"event_id": event.id, "outcome": webhooks.PROCESSED}

    def pay(notes: list[Note]) -> str | None:
        if intent is None:
            return None
        return news.pay(work.claim, event.id, row, intent, payment.livemode(), result, notes)

    def under_lock() -> str:
        with work.succeed(result) as conn:
            webhooks.close(conn, event.id, webhooks.PROCESSED)
            leases.tie(conn, work.claim, row.account_id, row.order_id)
            order = orders.lock(conn, row.account_id, row.order_id)
            doubt = apply(conn, order)
            if doubt:
                logger.error("money in doubt", extra={"order_id": order.id, "reason": doubt})
                work.doubt(conn, doubt)
        return order.user_id

    user_id = _end(work, pay, under_lock)
    cache.delete(f"stats:{row.account_id}:{user_id}")


def _end(work: Work, at_once: Callable[[list[Note]], Made | None], by_itself: Callable[[], Made]) -> Made:
    crash_point("webhook.read")
    made = work.end_at_once(at_once) or by_itself()
    crash_point("webhook.applied")
    return made
