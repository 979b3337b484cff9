"""The proof: ledger = our payments, refunds and disputes = Stripe, object by object and per currency, to the cent.

Fees stand in the ledger and in Stripe's balance transactions only. Reconciliation posts them, so those that are
younger than one of its periods are told apart: not posted yet, and no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, case, func, select

from core import payment
from core.clock import utcnow
from core.database import reading
from core.domain import ledger
from core.domain.cursors import RECONCILE_SECONDS
from core.domain.ledger import transfers
from core.domain.payments import payments
from core.domain.refunds import refunds
from core.domain.settlement import ours
from core.payments.backend import Listed

PAID, REFUNDED, DISPUTED, FEES = "paid", "refunded", "disputed", "fees"
SIGNS = {
    ledger.PAYMENT: (PAID, 1),
    ledger.REFUND: (REFUNDED, 1),
    ledger.REFUND_REVERSAL: (REFUNDED, -1),
    ledger.DISPUTE_WITHDRAWN: (DISPUTED, 1),
    ledger.DISPUTE_REINSTATED: (DISPUTED, -1),
    ledger.FEE: (FEES, 1),
    ledger.FEE_REVERSAL: (FEES, -1),
}
WITHOUT_ROWS = (DISPUTED, FEES)
"""A dispute's row has no money of its own, and a fee has no row."""

Key = tuple[str, str, str]
"""What moved (`PAID`, `REFUNDED`, `DISPUTED`, `FEES`), Stripe's id of the object, currency."""
Side = Mapping[Key, int]


@dataclass
class AtStripe:
    """Stripe's side; minor units."""

    moved: dict[Key, int] = field(default_factory=dict)
    young: dict[Key, int] = field(default_factory=dict)
    """Fees that reconciliation need not have posted yet."""


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
class Pending:
    """One currency's fees that are not posted yet, and part of no total; minor units."""

    currency: str
    count: int
    amount: int


@dataclass(frozen=True)
class Proof:
    """What was compared; it holds when there is no difference."""

    totals: tuple[Total, ...]
    differences: tuple[Difference, ...]
    pending: tuple[Pending, ...] = ()

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
        return compare(_in_ledger(conn), _in_rows(conn), stripe.moved, stripe.young)


def compare(in_ledger: Side, in_rows: Side, at_stripe: Side, young_fees: Side | None = None) -> Proof:
    """Hold the sides against each other, object by object.

    Args:
        young_fees: fees at Stripe, and not among `at_stripe`, that may be missing in the ledger and nothing else.
    """
    young = young_fees or {}
    unposted = {key: fee for key, fee in young.items() if key not in in_ledger}
    at_stripe = {**at_stripe, **{key: fee for key, fee in young.items() if key in in_ledger}}
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
                _sum(in_rows, what, currency) if what not in WITHOUT_ROWS else None,
                _sum(at_stripe, what, currency),
            )
            for what, currency in groups
        ),
        tuple(differences),
        tuple(
            Pending(currency, len(fees), sum(fees))
            for currency in sorted({currency for _, _, currency in unposted})
            for fees in [[fee for (_, _, code), fee in unposted.items() if code == currency]]
        ),
    )


def _amounts(key: Key, in_ledger: Side, in_rows: Side, at_stripe: Side) -> tuple[int, int | None, int]:
    rows = in_rows.get(key, 0) if key[0] not in WITHOUT_ROWS else None
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


def _at_stripe() -> AtStripe:
    """Stripe's lists, page by page; only ids and amounts of what is ours are kept."""
    found, intents = AtStripe(), set[str]()
    for intent in filter(ours, _each("payment_intents")):
        intents.add(intent["id"])
        if intent["status"] == "succeeded":
            found.moved[PAID, intent["id"], intent["currency"]] = intent["amount_received"]
    for refund in _each("refunds"):
        if refund["status"] == "succeeded" and (refund.get("payment_intent") in intents or ours(refund)):
            found.moved[REFUNDED, refund["id"], refund["currency"]] = refund["amount"]
    for dispute in _each("disputes"):
        if dispute.get("payment_intent") in intents and (gone := _withdrawn(dispute)):
            found.moved[DISPUTED, dispute["id"], dispute["currency"]] = gone
    _add_fees(found, intents)
    return found


def _add_fees(found: AtStripe, intents: set[str]) -> None:
    young_since = (utcnow() - timedelta(seconds=2 * RECONCILE_SECONDS)).timestamp()
    for transaction in _each("balance_transactions"):
        source = transaction["source"]  # one of Stripe's own fees has none
        if transaction["fee"] and isinstance(source, dict) and source.get("payment_intent") in intents:
            side = found.young if transaction["created"] > young_since else found.moved
            side[FEES, transaction["id"], transaction["currency"]] = transaction["fee"]


def _each(of: Listed) -> Iterator[dict[str, Any]]:
    after, more = None, True
    while more:
        page = payment.list_page(of, starting_after=after)
        yield from page["data"]
        more = page["has_more"] and bool(page["data"])
        after = page["data"][-1]["id"] if more else None


def _withdrawn(dispute: dict[str, Any]) -> int:
    """What a dispute holds back now: its balance transactions' own amounts, where they are in its currency."""
    moved: list[dict[str, Any]] = dispute.get("balance_transactions") or []
    amounts: list[int] = [one["amount"] for one in moved]
    if all(one.get("currency") == dispute["currency"] for one in moved):
        return -sum(amounts)
    return -sum((amount > 0) - (amount < 0) for amount in amounts) * int(dispute["amount"])
