"""The short way of a checkout on PostgreSQL: what a message's jobs read, and how nearly all of them end.

Each is one statement for many jobs. The end writes all of a job or nothing of it, and nothing unless everything is as
it was seen; whoever is told so goes the long way (`settlement.intent_seen` under the order's lock), which decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, LiteralString, NamedTuple

from sqlalchemy import ARRAY, Uuid, any_, bindparam, select

from core.domain import orders, payments
from core.domain.endings import end_together, whole
from core.domain.leases import Claim
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.settlement import INTENT_STATUS, mismatch
from core.domain.timeline import Note
from core.grouping import Group
from core.statements import is_postgresql, prepared, run_statement

# Job, order and payment are locked in that order, as in the long way. Each part needs the row of the part before, so
# that a replaced lease, an order that moved or a payment that somebody told about ends it there.
_END = whole("""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(
        %(job)s::uuid[], %(token)s::uuid[], %(order)s::uuid[], %(payment)s::uuid[], %(seen)s::text[],
        %(status)s::text[], %(intent)s::text[], %(secret)s::text[], %(charge)s::text[], %(received)s::bigint[],
        %(test_mode)s::boolean[], %(detail)s::text[], %(result)s::jsonb[]
    ) AS given
        (job, token, order_id, payment, seen, status, intent, secret, charge, received, test_mode, detail, result)
), {mine}, locked AS MATERIALIZED (
    SELECT orders.id, orders.status FROM mine JOIN given ON job = mine.id JOIN orders ON orders.id = order_id
    WHERE orders.status IN ('pending', 'awaiting_payment')
    FOR UPDATE OF orders SKIP LOCKED
), open AS MATERIALIZED (
    SELECT payments.id FROM locked JOIN given ON order_id = locked.id JOIN payments ON payments.id = payment
    WHERE payments.status = seen
    FOR UPDATE OF payments SKIP LOCKED
), paid AS (
    UPDATE payments SET status = given.status, payment_intent_id = intent, client_secret = secret, charge_id = charge,
        amount_received = received, test_mode = given.test_mode, detail = given.detail,
        updated_at = statement_timestamp()
    FROM given JOIN open ON open.id = given.payment
    WHERE payments.id = open.id AND payments.status = seen
    RETURNING job, given.order_id, given.result
), moved AS (
    UPDATE orders SET status = 'awaiting_payment' FROM paid JOIN locked ON locked.id = paid.order_id
    WHERE orders.id = locked.id AND locked.status <> 'awaiting_payment'
), ended AS (
    UPDATE jobs SET {succeeded}, result = paid.result
    FROM paid WHERE jobs.id = paid.job
    RETURNING jobs.id
), {noted}
SELECT job, 1 / (SELECT count(*) FROM ended WHERE ended.id = job) FROM paid
""")  # a payment without its job's end divides by zero, which undoes all of it


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
        orders.orders.c.account_id.is_not_distinct_from(payments.payments.c.account_id)  # see `orders._locking`
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
        Whether it was written. If not, something is out of the ordinary, or the database failed: go the long way, which
        finds out whether it was written after all, since the lease is no longer ours then.
    """
    ending = _ending(claim, payment, intent, livemode, result) if is_postgresql() else None
    return ending is not None and bool(_group.hand_in((ending, [*notes, Note("succeeded")])))


class _Ending(NamedTuple):
    """The parameters of `_END` for one job."""

    job: str
    token: str
    order: str
    payment: str
    seen: str
    status: str
    intent: str
    secret: str | None
    charge: str | None
    received: int
    test_mode: bool
    detail: str | None
    result: str


def _ending(
    claim: Claim, payment: Payment, intent: dict[str, Any], livemode: bool, result: dict[str, Any]
) -> _Ending | None:
    status = INTENT_STATUS.get(intent["status"])
    if status not in payments.OPEN_AT_STRIPE or mismatch(payment, intent, livemode):
        return None
    decline = intent.get("last_payment_error") or {}
    return _Ending(
        job=claim.job_id,
        token=claim.token,
        order=payment.order_id,
        payment=payment.id,
        seen=payment.status,
        status=status,
        intent=intent["id"],
        secret=intent.get("client_secret") or payment.client_secret,
        charge=intent.get("latest_charge"),
        received=intent.get("amount_received") or 0,
        test_mode=payment.test_mode or bool(intent.get("test_mode")),
        detail=decline.get("message"),
        result=json.dumps(result),
    )


def _end_together(given: Sequence[tuple[_Ending, Sequence[Note]]]) -> list[bool]:
    """Whether each was written. Of two attempts about one order only the first may be: the other must see it."""
    return [row is not None for row in end_together(_END, given, lambda ending: ending.order)]


_group = Group(_end_together)
