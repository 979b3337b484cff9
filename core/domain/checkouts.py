"""The short way of a checkout on PostgreSQL: what a message's jobs read, and how nearly all of them end.

Each is one statement. The end writes all or nothing, and nothing is written unless everything is as it was seen;
whoever is told so goes the long way (`settlement.intent_seen` under the order's lock), which decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, LiteralString

from sqlalchemy import ARRAY, Uuid, any_, bindparam, select

from core.domain import orders, payments
from core.domain.leases import Claim
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.settlement import INTENT_STATUS, mismatch
from core.domain.timeline import Note, shown
from core.statements import is_postgresql, prepared, run_statement

# Locked in the same order as the long way: job, order, payment. Each part needs the row of the part before, so
# that a replaced lease, an order that moved or a payment that somebody told about ends it there. A row that changed
# since the statement began is looked at again as it is now, by PostgreSQL, when its lock is had.
_END: LiteralString = """
WITH mine AS MATERIALIZED (
    SELECT id FROM jobs WHERE id = %(job)s AND lease_token = %(token)s FOR UPDATE
), locked AS MATERIALIZED (
    SELECT id, status FROM orders
    WHERE id = %(order)s AND status IN ('pending', 'awaiting_payment') AND EXISTS (SELECT FROM mine)
    FOR UPDATE
), paid AS (
    UPDATE payments SET status = %(status)s, payment_intent_id = %(intent)s, client_secret = %(secret)s,
        charge_id = %(charge)s, amount_received = %(received)s, test_mode = %(test_mode)s, detail = %(detail)s,
        updated_at = statement_timestamp()
    WHERE id = %(payment)s AND status = %(seen)s AND EXISTS (SELECT FROM locked)
    RETURNING id
), moved AS (
    UPDATE orders SET status = 'awaiting_payment' FROM locked
    WHERE orders.id = locked.id AND locked.status <> 'awaiting_payment' AND EXISTS (SELECT FROM paid)
), ended AS (
    UPDATE jobs SET status = 'succeeded', result = %(result)s, error = NULL, finished_at = statement_timestamp(),
        lease_token = NULL, lease_expires_at = NULL
    WHERE id = %(job)s AND lease_token = %(token)s AND EXISTS (SELECT FROM paid)
    RETURNING id
), noted AS (
    INSERT INTO job_events (job_id, at, what, data)
    SELECT ended.id, note.at, note.what, note.data
    FROM ended, unnest(%(at)s::timestamptz[], %(what)s::text[], %(data)s::jsonb[]) AS note (at, what, data)
)
SELECT 1 / (SELECT count(*) FROM ended) FROM paid
"""  # a payment without its job's end divides by zero, which undoes all of it


def load(claims: Sequence[Claim]) -> dict[str, tuple[Payment, Order]]:
    """The payments and orders of checkout jobs, by job id; a job whose rows are not there is left out.

    Raises:
        DatabaseUnavailable: the jobs can still read for themselves.
    """
    if not is_postgresql():
        return {}
    wanted = {claim.job_id: str(claim.args["payment_id"]) for claim in claims}
    sql, _ = _loading()
    width = len(payments.SHOWN)
    found = run_statement(sql, {"ids": list(set(wanted.values()))})
    read = {row[0]: (Payment(*row[:width]), orders.of_row(row[width:])) for row in found}
    return {job_id: read[payment_id] for job_id, payment_id in wanted.items() if payment_id in read}


@cache
def _loading() -> tuple[LiteralString, dict[str, Any]]:
    ours = (orders.orders.c.id == payments.payments.c.order_id) & (
        orders.orders.c.account_id == payments.payments.c.account_id
    )
    among = payments.payments.c.id == any_(bindparam("ids", type_=ARRAY(Uuid(as_uuid=False))))
    return prepared(select(*payments.SHOWN, *orders.SHOWN).join(orders.orders, ours).where(among))


def end(
    claim: Claim,
    payment: Payment,
    intent: dict[str, Any],
    livemode: bool,
    result: dict[str, Any],
    notes: Sequence[Note],
) -> bool:
    """End a checkout whose PaymentIntent is as expected, with its payment, its order and its timeline.

    Args:
        payment: as it was read before Stripe was asked.
        livemode: what this deployment's key implies.
        result: what the job's caller gets.

    Returns:
        Whether it was written. If not, something is out of the ordinary and nothing was.

    Raises:
        DatabaseUnavailable: it may have been written or not, but never in part.
    """
    status = INTENT_STATUS.get(intent["status"])
    if status not in payments.OPEN_AT_STRIPE or mismatch(payment, intent, livemode) or not is_postgresql():
        return False
    decline = intent.get("last_payment_error") or {}
    written = [*notes, Note("succeeded")]
    found = run_statement(
        _END,
        {
            "job": claim.job_id,
            "token": claim.token,
            "order": payment.order_id,
            "payment": payment.id,
            "seen": payment.status,
            "status": status,
            "intent": intent["id"],
            "secret": intent.get("client_secret") or payment.client_secret,
            "charge": intent.get("latest_charge"),
            "received": intent.get("amount_received") or 0,
            "test_mode": payment.test_mode or bool(intent.get("test_mode")),
            "detail": decline.get("message"),
            "result": result,
            "at": [note.at for note in written],
            "what": [shown(note) for note in written],
            "data": [None if note.data is None else json.dumps(note.data) for note in written],
        },
    )
    return bool(found)
