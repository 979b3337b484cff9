"""The short way of Stripe's news on PostgreSQL: what a message's jobs read, and how nearly all of them end.

Many jobs end in one statement, each with all that belongs to it or not at all. Whoever is told that nothing was written
goes the long way, which decides: for a payment that is `settlement.intent_seen` under the order's lock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, LiteralString, NamedTuple

from sqlalchemy import ARRAY, String, any_, bindparam, select

from core.domain import payments, webhooks
from core.domain.endings import end_together, whole
from core.domain.leases import Claim
from core.domain.payments import Payment
from core.domain.settlement import mismatch
from core.domain.timeline import Note
from core.domain.webhooks import WebhookEvent
from core.grouping import Group
from core.ids import new_id
from core.statements import is_postgresql, prepared, run_statement

# Job, order and payment are locked in that order, as in the long way, and what somebody else holds is left out; an
# event belongs to its job alone. An order that waits for its payment has captured nothing, so that its status after
# this one needs no sum, unless it was refunded before its success was known (reconciliation finds such a refund). What
# the statement's snapshot shows of that, NOT EXISTS sees; since then it makes the order not wait
# (`settlement.settle_order`), which PostgreSQL sees when it looks at the locked row again. Without OFFSET a kept plan
# reads all refunds that there are.
_PAY = whole("""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(
        %(job)s::uuid[], %(token)s::uuid[], %(event)s::text[], %(order)s::uuid[], %(payment)s::uuid[], %(seen)s::text[],
        %(intent)s::text[], %(received)s::bigint[], %(secret)s::text[], %(charge)s::text[], %(detail)s::text[],
        %(transfer)s::uuid[], %(result)s::jsonb[]
    ) AS given
        (job, token, event, order_id, payment, seen, intent, received, secret, charge, detail, transfer, result)
), {mine}, locked AS MATERIALIZED (
    SELECT orders.id, orders.total FROM mine JOIN given ON job = mine.id JOIN orders ON orders.id = order_id
    WHERE orders.status = 'awaiting_payment' AND orders.total >= received
        AND NOT EXISTS (
            SELECT FROM refunds WHERE refunds.order_id = orders.id AND refunds.status = 'succeeded' OFFSET 0
        )
    FOR UPDATE OF orders SKIP LOCKED
), open AS MATERIALIZED (
    SELECT payments.id FROM locked JOIN given ON order_id = locked.id JOIN payments ON payments.id = payment
    WHERE payments.status = seen AND payments.payment_intent_id = intent AND payments.amount = received
    FOR UPDATE OF payments SKIP LOCKED
), paid AS (
    UPDATE payments SET status = 'succeeded', client_secret = secret, charge_id = charge, amount_received = received,
        detail = given.detail, updated_at = statement_timestamp()
    FROM given JOIN open ON open.id = given.payment
    WHERE payments.id = open.id AND payments.status = seen
    RETURNING job, event, given.order_id, payments.account_id, payments.currency, intent, received, transfer,
        given.result
), moved AS (
    UPDATE orders SET status = 'paid' FROM paid WHERE orders.id = paid.order_id
    RETURNING orders.id, orders.user_id
), posted AS (
    INSERT INTO ledger_transfers
        (id, account_id, order_id, kind, cause, currency, debit, credit, amount, posted_at)
    SELECT transfer, account_id, order_id, 'payment', intent, currency, 'stripe_balance', 'sales', received,
        statement_timestamp() FROM paid
    ON CONFLICT DO NOTHING
), closed AS (
    UPDATE webhook_events SET status = 'processed', detail = NULL, processed_at = statement_timestamp()
    FROM paid WHERE webhook_events.id = paid.event
    RETURNING paid.job
), ended AS (
    UPDATE jobs SET {succeeded}, result = paid.result, account_id = paid.account_id, order_id = paid.order_id
    FROM paid WHERE jobs.id = paid.job
    RETURNING jobs.id
), {noted}
SELECT job, (SELECT user_id FROM moved WHERE moved.id = order_id),
    1 / ((SELECT count(*) FROM moved WHERE moved.id = order_id) * (SELECT count(*) FROM ended WHERE ended.id = job)
        * (SELECT count(*) FROM closed WHERE closed.job = paid.job))
FROM paid
""")  # a payment without its order's move, its job's end or its event's divides by zero, which undoes all of it

_CLOSE = whole("""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(
        %(job)s::uuid[], %(token)s::uuid[], %(event)s::text[], %(status)s::text[], %(account)s::text[],
        %(order)s::uuid[], %(result)s::jsonb[]
    ) AS given (job, token, event, status, account, order_id, result)
), {mine}, ended AS (
    UPDATE jobs SET {succeeded}, result = given.result,
        account_id = coalesce(account, jobs.account_id), order_id = coalesce(given.order_id, jobs.order_id)
    FROM given JOIN mine ON mine.id = job
    WHERE jobs.id = mine.id
    RETURNING jobs.id, event, given.status AS became
), closed AS (
    UPDATE webhook_events SET status = became, detail = NULL, processed_at = statement_timestamp()
    FROM ended WHERE webhook_events.id = ended.event
    RETURNING ended.id
), {noted}
SELECT id, 1 / (SELECT count(*) FROM closed WHERE closed.id = ended.id) FROM ended
""")


class Told(NamedTuple):
    """An event and the object that it shows, with the payment if that is a PaymentIntent that we know."""

    event: WebhookEvent
    seen: dict[str, Any]
    payment: Payment | None = None


def told(event: WebhookEvent) -> Told:
    """What an event says.

    Raises:
        ValueError, KeyError, TypeError: its payload is no event of Stripe's.
    """
    return Told(event, json.loads(event.payload)["data"]["object"])


def load(claims: Sequence[Claim]) -> dict[str, Told]:
    """What the events of webhook jobs say, by job id; a job whose event is not there is left out.

    Raises:
        DatabaseUnavailable: or what `told` raises for one of them; the jobs can still read for themselves.
    """
    if not is_postgresql():
        return {}
    wanted = {claim.job_id: str(claim.args["event_id"]) for claim in claims}
    events = {row[0]: told(WebhookEvent(*row)) for row in _found(_of_events, list(wanted.values()))}
    intents = [one.seen["id"] for one in events.values() if one.event.type.startswith("payment_intent.")]
    rows = [Payment(*row) for row in _found(_of_intents, intents)] if intents else []
    known = {row.payment_intent_id: row for row in rows}
    return {
        job_id: events[event_id]._replace(payment=known.get(events[event_id].seen.get("id")))
        for job_id, event_id in wanted.items()
        if event_id in events
    }


def _found(statement: Callable[[], tuple[LiteralString, dict[str, Any]]], ids: list[str]) -> list[tuple[Any, ...]]:
    sql, _ = statement()
    return run_statement(sql, {"ids": ids})


@cache
def _of_events() -> tuple[LiteralString, dict[str, Any]]:
    return prepared(select(*webhooks.SHOWN).where(webhooks.webhook_events.c.id == _ANY))


@cache
def _of_intents() -> tuple[LiteralString, dict[str, Any]]:
    return prepared(select(*payments.SHOWN).where(payments.payments.c.payment_intent_id == _ANY))


_ANY = any_(bindparam("ids", type_=ARRAY(String)))


def pay(
    claim: Claim,
    event_id: str,
    payment: Payment,
    intent: dict[str, Any],
    livemode: bool,
    result: dict[str, Any],
    notes: Sequence[Note],
) -> str | None:
    """End an event of a PaymentIntent that succeeded as expected, with its payment, order, ledger and timeline.

    Args:
        payment: as it was read before.
        livemode: what this deployment's key implies.
        result: what the job's timeline shows as its result.

    Returns:
        The id of the order's user, or None if nothing was written: something is out of the ordinary, or the database
        failed. Go the long way, which finds out whether it was written after all: the lease is no longer ours then.
    """
    paying = _paying(claim, event_id, payment, intent, livemode, result) if is_postgresql() else None
    return None if paying is None else _pays.hand_in((paying, [*notes, Note("succeeded")]))


def close(
    claim: Claim, event_id: str, payment: Payment | None, status: str, result: dict[str, Any], notes: Sequence[Note]
) -> bool:
    """End an event that changes nothing, with its job and its timeline.

    Args:
        payment: what it is about, if that is known: its job belongs to that order from now on.
        status: what becomes of the event.
        result: as for `pay`.

    Returns:
        Whether it was written; if not, go the long way, as for `pay`.
    """
    if not is_postgresql():
        return False
    closing = _Closing(
        job=claim.job_id,
        token=claim.token,
        event=event_id,
        status=status,
        account=payment.account_id if payment else None,
        order=payment.order_id if payment else None,
        result=json.dumps(result),
    )
    return bool(_closes.hand_in((closing, [*notes, Note("succeeded")])))


class _Paying(NamedTuple):
    """The parameters of `_PAY` for one job."""

    job: str
    token: str
    event: str
    order: str
    payment: str
    seen: str
    intent: str
    received: int
    secret: str | None
    charge: str | None
    detail: str | None
    transfer: str
    result: str


class _Closing(NamedTuple):
    """The parameters of `_CLOSE` for one job."""

    job: str
    token: str
    event: str
    status: str
    account: str | None
    order: str | None
    result: str


def _paying(
    claim: Claim, event_id: str, payment: Payment, intent: dict[str, Any], livemode: bool, result: dict[str, Any]
) -> _Paying | None:
    ordinary = intent["status"] == "succeeded" and payment.status in payments.OPEN_AT_STRIPE
    test_mode = payment.test_mode or intent.get("test_mode")
    if not ordinary or test_mode or mismatch(payment, intent, livemode):
        return None
    return _Paying(
        job=claim.job_id,
        token=claim.token,
        event=event_id,
        order=payment.order_id,
        payment=payment.id,
        seen=payment.status,
        intent=intent["id"],
        received=intent["amount_received"],
        secret=intent.get("client_secret") or payment.client_secret,
        charge=intent.get("latest_charge"),
        detail=(intent.get("last_payment_error") or {}).get("message"),
        transfer=new_id(),
        result=json.dumps(result),
    )


def _pay_together(given: Sequence[tuple[_Paying, Sequence[Note]]]) -> list[str | None]:
    rows = end_together(_PAY, given, lambda paying: paying.order)
    return [None if row is None else row[1] for row in rows]


def _close_together(given: Sequence[tuple[_Closing, Sequence[Note]]]) -> list[bool]:
    return [row is not None for row in end_together(_CLOSE, given, lambda closing: closing.job)]


_pays = Group(_pay_together)
_closes = Group(_close_together)
