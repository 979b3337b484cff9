"""The witness: every movement of money, appended in the transaction that caused it."""

from __future__ import annotations

import json
import time
from typing import Any

from simulator import ids, money
from simulator.errors import JSON
from simulator.operation import Operation
from simulator.store import Transaction, dumps

DISPUTE_FEE = 1500
"""Minor units, in every currency: a stand-in for Stripe's US$15."""


def fee_of(amount: int, currency: str) -> int:
    """Stripe's US card fee: 2.9 % and 30 cents, the cents in two-decimal currencies only."""
    return amount * 29 // 1000 + (30 if money.decimals(currency) == 2 else 0)


def move(
    op: Operation,
    kind: str,
    amount: int,
    source: JSON,
    *,
    charge: JSON,
    type: str,
    category: str,
    fee: int = 0,
) -> JSON:
    """Append a movement (and one for its fee) and return its balance transaction.

    Args:
        op: the effect under way.
        kind: payment, refund, refund_reversal, dispute_withdrawn or dispute_reinstated.
        amount: signed minor units; positive is money to the merchant.
        source: the charge, refund or dispute that caused it; its metadata is recorded.
        charge: the charge it belongs to.
        type: the balance transaction's type.
        category: its reporting_category.
        fee: minor units, positive.
    """
    transaction = op.tx.add({
        "id": ids.new("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": op.now + 2 * 86_400,
        "balance_type": "payments",
        "created": op.now,
        "currency": source["currency"],
        "description": source.get("description"),
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [_fee_detail(fee, source["currency"])] if fee else [],
        "net": amount - fee,
        "reporting_category": category,
        "source": source["id"],
        "status": "pending",
        "type": type,
    })  # fmt: skip
    _append(op, kind, amount, source, charge, transaction["id"])
    if fee:
        _append(op, "fee", -fee, source, charge, transaction["id"])
    return transaction


def _fee_detail(fee: int, currency: str) -> JSON:
    return {
        "amount": fee,
        "application": None,
        "currency": currency,
        "description": "Stripe processing fees",
        "type": "stripe_fee",
    }


def _append(op: Operation, kind: str, amount: int, source: JSON, charge: JSON, transaction: str) -> None:
    of = {source["object"]: source["id"]}
    op.tx.execute(
        "INSERT INTO movements (kind, amount, currency, payment_intent, charge, refund, dispute, balance_transaction,"
        " metadata, created, recorded) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (kind, amount, source["currency"], charge["payment_intent"], charge["id"], of.get("refund"),
         of.get("dispute"), transaction, dumps(source["metadata"]), op.time, time.time()),
    )  # fmt: skip


def movements(tx: Transaction, after: int, payment_intent: str | None) -> list[dict[str, Any]]:
    """The movements with an id above `after`, oldest first."""
    rows = tx.execute(
        "SELECT * FROM movements WHERE id > ? AND (? IS NULL OR payment_intent = ?) ORDER BY id",
        (after, payment_intent, payment_intent),
    )
    return [dict(row) | {"metadata": json.loads(row["metadata"])} for row in rows]


def totals(tx: Transaction) -> dict[str, dict[str, int]]:
    """Per currency: the sum of each kind, and their net. Currencies are never added together."""
    sums: dict[str, dict[str, int]] = {}
    for row in tx.execute("SELECT currency, kind, SUM(amount) FROM movements GROUP BY currency, kind ORDER BY 1, 2"):
        sums.setdefault(row[0], {})[row[1]] = row[2]
    return {currency: kinds | {"net": sum(kinds.values())} for currency, kinds in sums.items()}
