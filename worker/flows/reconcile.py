"""Reconciliation: what no webhook told us is fetched, and what Stripe and we hold is compared."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from core import get_logger, payment
from core.clock import utcnow
from core.crashpoints import crash_point
from core.database import reading
from core.domain import cursors, findings, jobs, orders, payments, refunds, webhooks
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.domain.settlement import INTENT_STATUS, REFUND_STATUS, intent_seen, ours, refund_seen
from core.payments import PaymentRefused
from worker.work import Work

logger = get_logger(__name__)

OVERLAP = timedelta(minutes=10)
"""Lists are asked again this far back: `created` has seconds only, and objects become visible out of order."""
FIRST_LOOK_BACK = timedelta(days=1)
PAGES_PER_RUN = 20
CHECKS_PER_RUN = 50


def backfill_events(work: Work) -> None:
    """Walk Stripe's events since the last walk into the inbox that the webhook door uses.

    A walk that is longer than one run's pages goes on where it stopped.
    """
    with reading() as conn:
        place = cursors.place(conn, "events")
    since = place.get("since") or _ago(FIRST_LOOK_BACK)
    until, after, added = place.get("until"), place.get("after"), 0
    for _ in range(PAGES_PER_RUN):
        work.check_time()
        page = payment.list_events(starting_after=after, created_gte=since)
        events = page["data"]
        until = max([until or since, *(event["created"] for event in events)])
        after = events[-1]["id"] if events and page["has_more"] else None
        with work.step() as conn:
            added += sum(_receive(conn, event) for event in events)
            done = {"since": until - int(OVERLAP.total_seconds())}
            cursors.move(conn, "events", {"since": since, "until": until, "after": after} if after else done)
        crash_point("reconcile.events_kept")
        if after is None:
            break
    with work.succeed({"added": added, "complete": after is None}):
        pass


def compare_objects(work: Work) -> None:
    """Ask about every open payment and refund that is due, then compare what Stripe lists with what we hold."""
    with reading() as conn:
        due_payments = payments.due_for_check(conn, CHECKS_PER_RUN)
        due_refunds = refunds.due_for_check(conn, CHECKS_PER_RUN)
    for row in due_payments:
        _check_payment(work, row)
    for open_refund in due_refunds:
        _check_refund(work, open_refund)
    compared = _walk_intents(work) + _walk_refunds(work)
    with work.succeed({"checked": len(due_payments) + len(due_refunds), "compared": compared}):
        pass


def _receive(conn: Connection, event: dict[str, Any]) -> bool:
    made = webhooks.receive(
        conn,
        event_id=event["id"],
        type=event["type"],
        api_version=event.get("api_version"),
        livemode=event["livemode"],
        payload=json.dumps(event, separators=(",", ":")),
        accepted=event["livemode"] == payment.livemode(),
        request=jobs.Request(),
    )
    return made is not None and made.fresh


def _check_payment(work: Work, row: Payment) -> None:
    intent = _fetch_intent(work, row)
    with work.step() as conn:
        payments.checked(conn, row)
        if intent is not None:
            _compare_intent(conn, row.id, intent)
    crash_point("reconcile.payment_checked")


def _fetch_intent(work: Work, row: Payment) -> dict[str, Any] | None:
    if row.payment_intent_id is None:
        return None
    work.check_time()
    try:
        return payment.retrieve_payment_intent(row.payment_intent_id)
    except PaymentRefused as error:
        with work.step() as conn:
            detail = {"local": row.status, "stripe": error.detail}
            _record(conn, findings.MISSING_AT_STRIPE, row.payment_intent_id, detail, row)
        return None


def _check_refund(work: Work, row: Refund) -> None:
    if row.stripe_refund_id is None:
        return
    work.check_time()
    try:
        seen = payment.retrieve_refund(row.stripe_refund_id)
    except PaymentRefused as error:
        with work.step() as conn:
            refunds.checked(conn, row)
            detail = {"local": row.status, "stripe": error.detail}
            _record(conn, findings.MISSING_AT_STRIPE, row.stripe_refund_id, detail, row)
        return
    with work.step() as conn:
        refunds.checked(conn, row)
        _compare_refund(conn, row.id, seen)
    crash_point("reconcile.refund_checked")


def _walk_intents(work: Work) -> int:
    name, since = "intents", _since("intents")
    work.check_time()
    started = _ago(OVERLAP)
    listed = payment.list_payment_intents(created_gte=since)
    for intent in listed:
        _compare_listed_intent(work, intent)
    with work.step() as conn:
        cursors.move(conn, name, {"since": started})
    return len(listed)


def _compare_listed_intent(work: Work, intent: dict[str, Any]) -> None:
    marks = intent.get("metadata") or {}
    with reading() as conn:
        row = payments.of_intent(conn, intent["id"], marks.get("payment_id"))
    if row is None:
        if ours(intent):
            with work.step() as conn:
                findings.record(conn, findings.MISSING_LOCALLY, intent["id"], _shown(intent))
        return
    if row.status in payments.UNCREATED or _agrees(row, intent):
        return  # a job is at work on it, or there is nothing to do
    work.check_time()
    fresh = payment.retrieve_payment_intent(intent["id"])  # the list is older than what a webhook may have told since
    with work.step() as conn:
        _compare_intent(conn, row.id, fresh)
    crash_point("reconcile.intent_compared")


def _agrees(row: Payment, intent: dict[str, Any]) -> bool:
    same = (row.amount, row.currency) == (intent["amount"], intent["currency"])
    return same and INTENT_STATUS[intent["status"]] == row.status


def _compare_intent(conn: Connection, payment_id: str, intent: dict[str, Any]) -> None:
    stale = payments.get(conn, payment_id)
    order = orders.lock(conn, stale.account_id, stale.order_id)
    row = payments.get(conn, payment_id)
    if _agrees(row, intent):
        return
    doubt = intent_seen(conn, order, row, intent, payment.livemode())
    if doubt is None and payments.get(conn, payment_id).status == row.status:
        return  # an older reading than ours, which changed nothing
    kind = findings.STATE_DIFFERS if intent["amount"] == row.amount else findings.AMOUNT_DIFFERS
    detail = {"local": {"status": row.status, "amount": row.amount}, "stripe": _shown(intent), "doubt": doubt}
    _record(conn, kind, intent["id"], detail, row, repaired=doubt is None)


def _walk_refunds(work: Work) -> int:
    since = _since("refunds")
    work.check_time()
    started = _ago(OVERLAP)
    listed = payment.list_refunds(created_gte=since)
    for seen in listed:
        with reading() as conn:
            paid = payments.of_intent(conn, seen["payment_intent"]) if seen.get("payment_intent") else None
            marks = seen.get("metadata") or {}
            mine = refunds.of_stripe(conn, seen["id"], marks.get("refund_id"))
        if paid is None or (mine is not None and mine.status in refunds.UNCREATED):
            continue
        if mine is not None and REFUND_STATUS[seen["status"]] == mine.status:
            continue
        work.check_time()
        fresh = payment.retrieve_refund(seen["id"])
        with work.step() as conn:
            _import_or_compare(conn, paid, fresh)
        crash_point("reconcile.refund_compared")
    with work.step() as conn:
        cursors.move(conn, "refunds", {"since": started})
    return len(listed)


def _import_or_compare(conn: Connection, paid: Payment, seen: dict[str, Any]) -> None:
    order = orders.lock(conn, paid.account_id, paid.order_id)
    mine = refunds.of_stripe(conn, seen["id"], (seen.get("metadata") or {}).get("refund_id"))
    if mine is not None:
        _compare_refund(conn, mine.id, seen)
        return
    doubt = refund_seen(conn, order, refunds.adopt(conn, paid, seen), seen)
    detail = {"stripe": _shown(seen), "doubt": doubt}
    _record(conn, findings.REFUND_UNKNOWN, seen["id"], detail, paid, repaired=doubt is None)


def _compare_refund(conn: Connection, refund_id: str, seen: dict[str, Any]) -> None:
    stale = refunds.get(conn, refund_id)
    order = orders.lock(conn, stale.account_id, stale.order_id)
    row = refunds.get(conn, refund_id)
    if REFUND_STATUS[seen["status"]] == row.status and seen["amount"] == row.amount:
        return
    doubt = refund_seen(conn, order, row, seen)
    if doubt is None and refunds.get(conn, refund_id).status == row.status:
        return
    kind = findings.STATE_DIFFERS if seen["amount"] == row.amount else findings.AMOUNT_DIFFERS
    detail = {"local": {"status": row.status, "amount": row.amount}, "stripe": _shown(seen), "doubt": doubt}
    _record(conn, kind, seen["id"], detail, row, repaired=doubt is None)


def _record(
    conn: Connection, kind: str, object_id: str, detail: dict[str, Any], row: Payment | Refund, repaired: bool = False
) -> None:
    logger.warning("finding", extra={"kind": kind, "object_id": object_id, "repaired": repaired})
    findings.record(conn, kind, object_id, detail, account_id=row.account_id, order_id=row.order_id, repaired=repaired)


def _since(name: str) -> int:
    with reading() as conn:
        return int(cursors.place(conn, name).get("since") or _ago(FIRST_LOOK_BACK))


def _ago(span: timedelta) -> int:
    return int((utcnow() - span).timestamp())


def _shown(seen: dict[str, Any]) -> dict[str, Any]:
    return {name: seen.get(name) for name in ("id", "status", "amount", "currency", "metadata")}
