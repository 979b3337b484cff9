"""The proof: ledger = our payments, refunds and disputes = Stripe, object by object and per currency, to the cent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, func, select

from core import payment
from core.database import reading
from core.domain import ledger
from core.domain.ledger import transfers
from core.domain.payments import payments
from core.domain.refunds import refunds
from core.domain.settlement import ours

PAID, REFUNDED, DISPUTED = "paid", "refunded", "disputed"
SIGNS = {
    ledger.PAYMENT: (PAID, 1),
    ledger.REFUND: (REFUNDED, 1),
    ledger.REFUND_REVERSAL: (REFUNDED, -1),
    ledger.DISPUTE_WITHDRAWN: (DISPUTED, 1),
    ledger.DISPUTE_REINSTATED: (DISPUTED, -1),
}

Key = tuple[str, str, str]
"""What moved (`PAID`, `REFUNDED`, `DISPUTED`), Stripe's id of the object, currency."""
Side = Mapping[Key, int]


@dataclass(frozen=True)
class Difference:
    """One object on which the sides differ; minor units, None where a side does not keep such objects."""

    what: str
    object_id: str
    currency: str
    ledger: int
    rows: int | None
    stripe: int


@dataclass(frozen=True)
class Total:
    """One currency's sums per side; minor units."""

    what: str
    currency: str
    ledger: int
    rows: int | None
    stripe: int


@dataclass(frozen=True)
class Proof:
    """What was compared; it holds when there is no difference."""

    totals: tuple[Total, ...]
    differences: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether every side says the same."""
        return not self.differences


def prove() -> Proof:
    """Compare all three sides as they are now; work that is under way shows as a difference until it is done.

    Raises:
        PaymentError: Stripe could not be asked.
        DatabaseUnavailable: our side could not be read.
    """
    stripe = _at_stripe()  # first: what moves meanwhile is then missing there, and never wrongly missing here
    with reading() as conn:
        return compare(_in_ledger(conn), _in_rows(conn), stripe)


def compare(in_ledger: Side, in_rows: Side, at_stripe: Side) -> Proof:
    """Hold the sides against each other, object by object."""
    keys = sorted({*in_ledger, *in_rows, *at_stripe})
    differences = [
        Difference(*key, *amounts)
        for key in keys
        for amounts in [_amounts(key, in_ledger, in_rows, at_stripe)]
        if len({amount for amount in amounts if amount is not None}) > 1
    ]
    groups = sorted({(what, currency) for what, _, currency in keys})
    return Proof(
        tuple(
            Total(
                what,
                currency,
                _sum(in_ledger, what, currency),
                _sum(in_rows, what, currency) if what != DISPUTED else None,
                _sum(at_stripe, what, currency),
            )
            for what, currency in groups
        ),
        tuple(differences),
    )


def _amounts(key: Key, in_ledger: Side, in_rows: Side, at_stripe: Side) -> tuple[int, int | None, int]:
    rows = in_rows.get(key, 0) if key[0] != DISPUTED else None  # a dispute's row has no money of its own
    return in_ledger.get(key, 0), rows, at_stripe.get(key, 0)


def _sum(side: Side, what: str, currency: str) -> int:
    return sum(amount for (kind, _, code), amount in side.items() if (kind, code) == (what, currency))


def _in_ledger(conn: Connection) -> dict[Key, int]:
    what = case(*((transfers.c.kind == kind, name) for kind, (name, _) in SIGNS.items()))
    sign = case(*((transfers.c.kind == kind, sign) for kind, (_, sign) in SIGNS.items()))
    found = conn.execute(
        select(what, transfers.c.cause, transfers.c.currency, func.sum(transfers.c.amount * sign))
        .where(transfers.c.kind.in_(SIGNS))
        .group_by(what, transfers.c.cause, transfers.c.currency)
    )
    return {(row[0], row[1], row[2]): int(row[3]) for row in found if row[3]}


def _in_rows(conn: Connection) -> dict[Key, int]:
    paid = conn.execute(
        select(payments.c.payment_intent_id, payments.c.currency, payments.c.amount_received).where(
            payments.c.status == "succeeded"
        )
    )
    returned = conn.execute(
        select(refunds.c.stripe_refund_id, refunds.c.currency, refunds.c.amount).where(refunds.c.status == "succeeded")
    )
    return {
        **{(PAID, row[0], row[1]): row[2] for row in paid},
        **{(REFUNDED, row[0], row[1]): row[2] for row in returned},
    }


def _at_stripe() -> dict[Key, int]:
    intents = {intent["id"]: intent for intent in payment.list_payment_intents() if ours(intent)}
    kept: dict[Key, int] = {
        (PAID, intent["id"], intent["currency"]): intent["amount_received"]
        for intent in intents.values()
        if intent["status"] == "succeeded"
    }
    for refund in payment.list_refunds():
        if refund["status"] == "succeeded" and (refund.get("payment_intent") in intents or ours(refund)):
            kept[REFUNDED, refund["id"], refund["currency"]] = refund["amount"]
    for dispute in payment.list_disputes():
        net = sum((movement > 0) - (movement < 0) for movement in _moved(dispute))
        if net and dispute.get("payment_intent") in intents:
            kept[DISPUTED, dispute["id"], dispute["currency"]] = -net * dispute["amount"]
    return kept


def _moved(dispute: dict[str, Any]) -> Iterable[int]:
    return [transaction["amount"] for transaction in dispute.get("balance_transactions") or []]
