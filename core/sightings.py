"""Looking at Stripe for what carries our ids, where an answer that was lost may have made it."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil

from core import payment
from core.database import reading
from core.domain import payments
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.payments import PaymentRefused
from core.payments.backend import Answer, BeforeNext

KEY_LIFE = timedelta(hours=23)
"""Stripe keeps a key for at least 24 h (docs.stripe.com/api/idempotent_requests); stay below, and use none longer."""
CLOCKS_DIFFER = timedelta(hours=1)
IDLE = ("failed", "canceled")
"""Stripe's words for what moves no money any more."""


class Undecided(Exception):
    """Nothing was changed; the message says why, and what to do."""


def intents_of_customer(
    customer_id: str | None, since: datetime, epoch_at: datetime, before_next: BeforeNext = None
) -> list[Answer]:
    """The PaymentIntents of a customer, or everybody's where Stripe does not know that customer (any more).

    Args:
        since: when a key may have been used first.
        epoch_at: when the epoch of the last key began: after KEY_LIFE it is used no more.
        before_next: called before each call to Stripe but the first; what it raises ends the listing.

    Returns:
        Those made since, and of everybody's, of which there are many, only those made in between.

    Raises:
        PaymentError: Stripe does not list them.
    """
    first, last = since - CLOCKS_DIFFER, epoch_at + KEY_LIFE + CLOCKS_DIFFER
    begin, end = int(first.timestamp()), ceil(last.timestamp())
    try:
        return payment.list_payment_intents(customer_id, begin, None if customer_id else end, before_next)
    except PaymentRefused as error:
        if customer_id is None or error.code != "resource_missing":
            raise
    if before_next:
        before_next()
    return payment.list_payment_intents(None, begin, end, before_next)  # they outlive a customer that was deleted


def intents_of(row: Payment) -> list[Answer]:
    """Every PaymentIntent that may be this payment's: the one that we know, and those with its id on them.

    Raises:
        Undecided: Stripe does not show the one that we know.
    """
    found: dict[str, Answer] = {}
    if row.payment_intent_id:
        try:
            found[row.payment_intent_id] = payment.retrieve_payment_intent(row.payment_intent_id)
        except PaymentRefused as error:
            if payment.livemode() or error.code != "resource_missing":  # only test data is ever deleted
                raise Undecided(f"Stripe does not show it: {error.detail}; is this the right account?") from error
    customer = (row.params or {}).get("customer_id")
    listed = intents_of_customer(customer, row.created_at, row.epoch_at)
    return list((found | _marked(listed, "payment_id", row.id)).values())


def refunds_of(row: Refund) -> list[Answer]:
    """Every refund at Stripe that may be this one: the one that we know, and those with its id on them.

    Raises:
        Undecided: Stripe does not show the payment, so that an empty list would prove nothing.
    """
    with reading() as conn:
        intent_id = payments.get(conn, row.payment_id).payment_intent_id
    if intent_id is None:
        raise Undecided(f"payment {row.payment_id} has no PaymentIntent")
    try:
        payment.retrieve_payment_intent(intent_id)  # else an empty list would be the wrong account's
        listed = payment.list_refunds(intent_id)
    except PaymentRefused as error:
        raise Undecided(f"Stripe does not show it: {error.detail}; is this the right account?") from error
    known = {seen["id"]: seen for seen in listed if seen["id"] == row.stripe_refund_id}
    return list((known | _marked(listed, "refund_id", row.id)).values())


def _marked(listed: list[Answer], mark: str, our_id: str) -> dict[str, Answer]:
    return {seen["id"]: seen for seen in listed if (seen.get("metadata") or {}).get(mark) == our_id}


def chosen(found: list[Answer], wanted: str | None) -> Answer:
    """The one that counts: the one named, or the only one that can move money, or one that cannot.

    Raises:
        Undecided: none, or several.
    """
    named = [seen for seen in found if seen["id"] == wanted] if wanted else found
    if not named:
        raise Undecided(f"Stripe shows no {wanted or 'such object'} with our id: look there, or discard it")
    moving = [seen for seen in named if seen["status"] not in IDLE]
    if len(moving) > 1:
        shown = ", ".join(f"{seen['id']} {seen['status']} {seen['amount']}" for seen in moving)
        raise Undecided(f"Stripe shows several: {shown}; name the one that counts, and give the others back there")
    return (moving or named)[0]
