"""An operator's word on money in doubt: Stripe is read again, and what it shows is taken, or given up for good.

The network comes first. Then one transaction locks the order, checks that nothing moved since, and writes the
change and who decided. Repeating a decision finds it made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from core import cache, get_logger, payment
from core.clock import rfc3339, utcnow
from core.database import reading, transaction
from core.domain import jobs, leases, orders, payments, refunds, timeline
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.domain.settlement import intent_taken, refund_taken, settle_order
from core.ids import is_id
from core.payments import PaymentRefused
from core.sightings import IDLE, Undecided, chosen, intents_of, refunds_of

logger = get_logger(__name__)

INDETERMINATE = timedelta(hours=1)
"""Stripe may finish what it was asked long after a 500: before this, a refund that it does not show proves nothing."""


@dataclass(frozen=True)
class Decision:
    """What is so now, in a line, and the order's jobs that still wait for a person."""

    line: str
    set_aside: tuple[jobs.Job, ...] = ()


def settle_payment(payment_id: str, by: str, intent_id: str | None = None) -> Decision:
    """Take what Stripe shows of a payment in doubt as the truth: its status, amount and amount received.

    Other PaymentIntents of this payment that can still be paid are canceled at Stripe first.

    Args:
        by: who decided.
        intent_id: which PaymentIntent, where Stripe shows several.

    Raises:
        Undecided: Stripe shows none, several, or one that cannot be this payment's: another currency, test data.
        Retryable, Uncertain: Stripe or the database did not answer; repeat it.
    """
    row = _payment(payment_id)
    if row.status not in (payments.NEEDS_REVIEW, payments.CANCELED):
        return Decision(f"payment {row.id} is {row.status}: there is nothing to settle")
    found = intents_of(row)
    intent = chosen(found, intent_id)
    if row.status == payments.CANCELED and intent["status"] != "succeeded":
        return Decision(f"payment {row.id} is canceled, and {intent['id']} took no money: there is nothing to settle")
    if (intent["currency"], intent["livemode"]) != (row.currency, payment.livemode()):
        raise Undecided(
            f"{intent['id']} is in {intent['currency']}, livemode {intent['livemode']}: the ledger cannot take it "
            f"for a payment in {row.currency}, livemode {payment.livemode()}; give the money back at Stripe"
        )

    _cancel_open(row, [one for one in found if one["id"] != intent["id"]])  # a browser may hold its client_secret

    def take(conn: Connection, order: Order) -> str | None:
        owner = payments.of_intent(conn, intent["id"])
        if owner is not None and owner.id != row.id:
            raise Undecided(f"{intent['id']} belongs to payment {owner.id}")
        _unmoved(payments.change(conn, row, amount=intent["amount"]))
        return intent_taken(conn, order, payments.get(conn, row.id), intent)

    return _decided(row, by, "settled", take, intent)


def discard_payment(payment_id: str, by: str) -> Decision:
    """Give up a payment in doubt that took no money, so that its order can be checked out again.

    What can still be paid is canceled at Stripe first; ours only when Stripe shows that as done.

    Raises:
        Undecided: it took money, may still take some, or a worker is at it.
        Retryable, Uncertain: Stripe or the database did not answer; repeat it.
    """
    row = _payment(payment_id)
    if row.status != payments.NEEDS_REVIEW:
        return Decision(f"payment {row.id} is {row.status}: there is nothing to discard")
    _check_idle(row)
    _cancel_open(row, intents_of(row))
    found = intents_of(row)
    for intent in found:
        if intent["status"] not in IDLE:
            raise Undecided(f"Stripe shows {intent['id']} as {intent['status']}: it took money; settle the payment")

    def give_up(conn: Connection, order: Order) -> None:
        known: dict[str, Any] = {}
        if found:  # as it is there, so that its cancellation, told by a webhook, is no doubt again
            known = {"payment_intent_id": found[0]["id"], **{name: found[0][name] for name in ("amount", "currency")}}
        _unmoved(payments.change(conn, row, status=payments.CANCELED, detail=f"discarded by {by}", **known))
        settle_order(conn, order)

    return _decided(row, by, "discarded", give_up, found[0] if found else None)


def settle_refund(refund_id: str, by: str, stripe_refund_id: str | None = None) -> Decision:
    """Take what Stripe shows of a refund in doubt as the truth: its status and amount.

    Args:
        by: who decided.
        stripe_refund_id: which one, where Stripe shows several.

    Raises:
        Undecided: Stripe shows none, several, or one in another currency.
        Retryable, Uncertain: Stripe or the database did not answer; repeat it.
    """
    row = _refund(refund_id)
    if row.status != refunds.NEEDS_REVIEW:
        return Decision(f"refund {row.id} is {row.status}: there is nothing to settle")
    seen = chosen(refunds_of(row), stripe_refund_id)
    if seen["currency"] != row.currency:
        raise Undecided(f"{seen['id']} is in {seen['currency']}: the ledger cannot take it for one in {row.currency}")

    def take(conn: Connection, order: Order) -> str | None:
        return _take_refund(conn, order, row, seen)

    return _decided(row, by, "settled", take, seen)


def discard_refund(refund_id: str, by: str) -> Decision:
    """Give up a refund in doubt, which frees its amount: only when Stripe shows that it gave nothing back.

    Raises:
        Undecided: Stripe shows it, or may still carry it out.
        Retryable, Uncertain: Stripe or the database did not answer; repeat it.
    """
    row = _refund(refund_id)
    if row.status != refunds.NEEDS_REVIEW:
        return Decision(f"refund {row.id} is {row.status}: there is nothing to discard")
    _check_idle(row)
    found = refunds_of(row)
    for seen in found:
        if seen["status"] not in IDLE:
            raise Undecided(f"Stripe shows {seen['id']} as {seen['status']}: settle the refund instead")
    if not found and utcnow() < row.updated_at + INDETERMINATE:
        until = rfc3339(row.updated_at + INDETERMINATE)
        raise Undecided(
            f"Stripe shows no such refund, but may still carry out what it was asked: repeat this after {until}"
        )

    def give_up(conn: Connection, order: Order) -> str | None:
        if found:
            return _take_refund(conn, order, row, found[0])
        _unmoved(refunds.change(conn, row, status=refunds.CANCELED, detail=f"discarded by {by}"))
        settle_order(conn, order)
        return None

    return _decided(row, by, "discarded", give_up, found[0] if found else None)


def _take_refund(conn: Connection, order: Order, row: Refund, seen: dict[str, Any]) -> str | None:
    owner = refunds.of_stripe(conn, seen["id"])
    if owner is not None and owner.id != row.id:
        raise Undecided(f"{seen['id']} belongs to refund {owner.id}")
    _unmoved(refunds.change(conn, row, amount=seen["amount"]))
    return refund_taken(conn, order, refunds.get(conn, row.id), seen)


def _payment(payment_id: str) -> Payment:
    if not is_id(payment_id):
        raise Undecided(f"there is no payment {payment_id}")
    try:
        with reading() as conn:
            return payments.get(conn, payment_id)
    except LookupError:
        raise Undecided(f"there is no payment {payment_id}") from None


def _refund(refund_id: str) -> Refund:
    if not is_id(refund_id):
        raise Undecided(f"there is no refund {refund_id}")
    try:
        with reading() as conn:
            return refunds.get(conn, refund_id)
    except LookupError:
        raise Undecided(f"there is no refund {refund_id}") from None


def _cancel_open(row: Payment, intents: Sequence[dict[str, Any]]) -> None:
    with reading() as conn:
        owners = {intent["id"]: payments.of_intent(conn, intent["id"]) for intent in intents}
    for intent in intents:
        owner = owners[intent["id"]]
        if intent["status"] in ("succeeded", *IDLE) or (owner is not None and owner.id != row.id):
            continue
        try:
            payment.cancel_payment_intent(intent["id"])
        except PaymentRefused as error:
            raise Undecided(f"Stripe does not cancel {intent['id']}: {error.detail}") from error


def _check_idle(row: Payment | Refund) -> None:
    with reading() as conn:
        running = [job.id for job in _own_jobs(conn, row) if job.status == jobs.RUNNING]
    if running:
        raise Undecided(f"job {running[0]} is at it: repeat this in a minute")


def _decided(
    row: Payment | Refund,
    by: str,
    what: str,
    apply: Callable[[Connection, Order], str | None],
    seen: dict[str, Any] | None,
) -> Decision:
    with transaction() as conn:
        order = orders.lock(conn, row.account_id, row.order_id)
        doubt = apply(conn, order)
        now = payments.get(conn, row.id) if isinstance(row, Payment) else refunds.get(conn, row.id)
        told = {
            "by": by,
            "id": row.id,
            "before": {"status": row.status, "amount": row.amount, "detail": row.detail},
            "after": {"status": now.status, "amount": now.amount},
            "stripe": {name: seen.get(name) for name in ("id", "status", "amount", "amount_received")}
            if seen
            else None,
            "doubt": doubt,
        }
        mine = _own_jobs(conn, row)
        noted = mine or jobs.of_order(conn, row.order_id)[:1]  # a refund made at Stripe has no job of its own
        timeline.write(conn, [(noted[-1].id, timeline.Note(f"{what} by an operator", told))])
        for job in mine:
            if job.status == jobs.NEEDS_REVIEW:  # its caller gets the answer that it waited for
                leases.resume(conn, job.id, by)
        waiting = [job for job in jobs.of_order(conn, row.order_id) if job.status in jobs.SET_ASIDE]
    cache.delete(f"stats:{row.account_id}:{order.user_id}")
    logger.warning("an operator decided", extra={"what": what, **told})
    kind = "payment" if isinstance(row, Payment) else "refund"
    shown = f"{seen['id']} {seen['status']}" if seen else "nothing"
    line = f"{kind} {row.id} {what}: {now.status}, {now.amount} {now.currency}; Stripe shows {shown}"
    return Decision(f"{line}; still in doubt: {doubt}" if doubt else line, tuple(waiting))


def _own_jobs(conn: Connection, row: Payment | Refund) -> list[jobs.Job]:
    name = "payment_id" if isinstance(row, Payment) else "refund_id"
    return [job for job in jobs.of_order(conn, row.order_id) if job.args.get(name) == row.id]


def _unmoved(changed: bool) -> None:
    if not changed:
        raise Undecided("it moved meanwhile: look at it again")
