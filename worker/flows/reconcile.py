"""Reconciliation: what Stripe shows and what we hold is compared; what differs is a finding, repaired where safe."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import Any

from sqlalchemy import Connection

from core import get_logger, payment
from core.crashpoints import crash_point
from core.database import reading
from core.domain import disputes, findings, jobs, payments, refunds
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.domain.settlement import REFUND_STATUS, fee_seen, ours
from core.payments import PaymentMisconfigured
from core.payments.backend import Listed
from worker.flows import lookup
from worker.flows.asking import ask
from worker.flows.comparison import (
    compare_dispute,
    compare_intent,
    compare_refund,
    dispute_agrees,
    intent_agrees,
    refund_agrees,
    shown,
)
from worker.flows.evidence import stripe_is_on
from worker.flows.walk import FIRST_LOOK_BACK, Page, Walk
from worker.work import Work

logger = get_logger(__name__)

CHECKS_PER_RUN = 50
PAGES_PER_RUN = 5
"""Of each list; then the job goes on in a next attempt, so that a worker that stops need not wait for it."""
SECONDS_PER_PART = 4.0
"""Of the checks, and of each list, which gets one object further at least: an attempt takes little over 20 s."""

FEE_SOURCES = ("charge", "refund", "dispute")

Seen = dict[str, Any]


def compare_objects(work: Work) -> None:
    """Ask about every open object that is due, then walk Stripe's lists and its journal, the balance transactions."""
    if not stripe_is_on():
        with work.succeed({"skipped": "Stripe is switched off"}):
            return
    checked, more = _check_due(work)
    compared = fees = 0
    for of, compare in COMPARED.items():
        walk = Walk(work, of, partial(payment.list_page, of), _first)
        until = time.monotonic() + SECONDS_PER_PART
        for page in walk.pages(PAGES_PER_RUN, until):
            done = _compare_page(work, page, compare, until)
            with work.step() as conn:
                if of == "balance_transactions":
                    fees += sum(_post_fee(conn, transaction) for transaction in page[:done])
                else:
                    compared += done
                walk.keep(conn, done)
            crash_point("reconcile.page_kept")
        more = more or walk.unfinished
    if more:
        with work.again(0.0, "there is more to compare", spends_attempt=False):
            return
    with work.succeed({"checked": checked, "compared": compared, "fees": fees}) as conn:
        lookup.settle_findings(conn)


def _check_due(work: Work) -> tuple[int, bool]:
    """How many were asked about, and whether more may be due."""
    until = time.monotonic() + SECONDS_PER_PART
    with reading() as conn:
        found = lookup.due(conn, CHECKS_PER_RUN)
    rows = [row for turn in zip_longest(*found) for row in turn if row]  # of each kind in turn
    refused: dict[type[object], PaymentMisconfigured] = {}
    for checked, row in enumerate(rows, start=1):
        if type(row) in refused:
            continue
        try:
            lookup.check(work, row)
        except PaymentMisconfigured as error:
            if error.everywhere:
                raise
            refused[type(row)] = error  # the key lacks one right, and may have those that the others need
        crash_point("reconcile.object_checked")
        if time.monotonic() > until and checked < len(rows):
            return checked, True
    for first in refused.values():
        raise first
    return len(rows), any(len(of_kind) == CHECKS_PER_RUN for of_kind in found)


def _compare_page(work: Work, page: Page, compare: Callable[[Work, Seen], bool], until: float) -> int:
    """How many of its objects were compared before the time was up, one at least."""
    for done, seen in enumerate(page, start=1):
        if compare(work, seen):
            crash_point("reconcile.object_compared")
        if time.monotonic() > until:
            return done
    return len(page)


def _first(conn: Connection) -> int | None:
    """The first walk goes back to our oldest payment."""
    made = payments.first_made(conn)
    return None if made is None else int((made - FIRST_LOOK_BACK).timestamp())


def _compare_intent(work: Work, intent: Seen) -> bool:
    """Whether anything may have been written; so do all of these."""
    with reading() as conn:
        row = _payment_of(conn, intent, intent["id"])
        if row is not None and (intent_agrees(row, intent) or _is_worked_on(conn, row)):
            return False
    if row is None:
        return _missing_locally(work, intent)
    fresh = _read_again(work, payment.retrieve_payment_intent, intent)
    with work.step() as conn:
        compare_intent(conn, row.id, fresh)
    return True


def _compare_refund(work: Work, seen: Seen) -> bool:
    with reading() as conn:
        paid = _payment_of(conn, seen)
        claimed = (seen.get("metadata") or {}).get("refund_id")
        mine = refunds.of_stripe(conn, seen["id"], claimed, paid.id if paid else None)
        if mine is not None and (refund_agrees(mine, seen) or _is_worked_on(conn, mine)):
            return False
    if paid is None:
        return _missing_locally(work, seen)
    # All of them, and a late payment first: one that came beside one that failed would seem too much until then.
    intent_id = seen["payment_intent"]
    listed = ask(work, seen["id"], lambda: {"data": payment.list_refunds(intent_id)}).seen or {"data": [seen]}
    late = paid.status != payments.SUCCEEDED
    intent = ask(work, intent_id, lambda: payment.retrieve_payment_intent(intent_id)).seen if late else None
    with work.step() as conn:
        if intent is not None:
            compare_intent(conn, paid.id, intent)
        for one in sorted(listed["data"], key=lambda one: REFUND_STATUS[one["status"]] not in refunds.RETURNED):
            compare_refund(conn, paid, one)
    return True


def _compare_dispute(work: Work, seen: Seen) -> bool:
    with reading() as conn:
        paid, mine = _payment_of(conn, seen), disputes.of_stripe(conn, seen["id"])
        if paid is None or (mine is not None and dispute_agrees(conn, mine, seen)):
            return False
    fresh = _read_again(work, payment.retrieve_dispute, seen)
    with work.step() as conn:
        compare_dispute(conn, paid, fresh)
    return True


def _compare_source(work: Work, transaction: Seen) -> bool:
    """Money moves late, too: a refund that failed after weeks, a dispute that was won. Its journal tells of it."""
    source = transaction["source"]
    compare = {"refund": _compare_refund, "dispute": _compare_dispute}.get(_kind(source))
    return compare is not None and compare(work, source)


COMPARED: dict[Listed, Callable[[Work, Seen], bool]] = {
    "payment_intents": _compare_intent,
    "refunds": _compare_refund,
    "disputes": _compare_dispute,
    "balance_transactions": _compare_source,
}


def _post_fee(conn: Connection, transaction: Seen) -> bool:
    source = transaction["source"]
    paid = _payment_of(conn, source) if transaction["fee"] and _kind(source) in FEE_SOURCES else None
    return paid is not None and fee_seen(conn, paid, transaction)


def _kind(source: Any) -> str:
    return str(source["object"]) if isinstance(source, dict) else ""  # one of Stripe's own fees has none


def _payment_of(conn: Connection, seen: Seen, intent_id: str | None = None) -> Payment | None:
    intent_id = intent_id or seen.get("payment_intent")
    return payments.of_intent(conn, intent_id, (seen.get("metadata") or {}).get("payment_id")) if intent_id else None


def _read_again(work: Work, retrieve: Callable[[str], Seen], listed: Seen) -> Seen:
    """The object as it is now, since a list is older than what a webhook may have told; else as it was listed."""
    return ask(work, listed["id"], lambda: retrieve(listed["id"])).seen or listed


def _is_worked_on(conn: Connection, row: Payment | Refund) -> bool:
    """Whether the answer to our own call is still to be stored: the job will do that."""
    kind = jobs.PAYMENT_CREATE if isinstance(row, Payment) else jobs.REFUND_CREATE
    return row.status in payments.UNCREATED and lookup.at_work(conn, row.order_id, kind)


def _missing_locally(work: Work, seen: Seen) -> bool:
    if not ours(seen):  # somebody else's
        return False
    logger.warning("finding", extra={"kind": findings.MISSING_LOCALLY, "object_id": seen["id"]})
    with work.step() as conn:
        findings.record(conn, findings.MISSING_LOCALLY, seen["id"], shown(seen))
    return True
