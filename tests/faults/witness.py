"""The simulator's durable ledger: what really happened to the money."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Movement:
    """One movement of money; `amount` in signed minor units, positive is money to the merchant.

    Args:
        kind: payment, refund, refund_reversal, or what disputes and fees are called.
        metadata: of the object that moved: our ids.
    """

    kind: str
    amount: int
    currency: str
    intent: str
    refund: str | None
    metadata: dict[str, str]


@dataclass(frozen=True)
class Witness:
    """All that the checker believes.

    Args:
        movements: oldest first.
        intents: the payment of ours that each PaymentIntent was made for, by the PaymentIntent's id.
        pending: webhooks that are still to be delivered.
    """

    movements: tuple[Movement, ...]
    intents: dict[str, str]
    pending: int = 0


def read(state_dir: Path) -> Witness:
    """Read `simulator.db` as it is now."""
    with closing(sqlite3.connect(f"file:{state_dir / 'simulator.db'}?mode=ro", uri=True, timeout=30)) as db:
        moved: list[tuple[Any, ...]] = db.execute(
            "SELECT kind, amount, currency, payment_intent, refund, metadata FROM movements ORDER BY id"
        ).fetchall()
        intents = dict(_intents(db.execute("SELECT body FROM objects WHERE kind = 'payment_intent'").fetchall()))
        pending = db.execute("SELECT count(*) FROM deliveries WHERE state = 'pending'").fetchone()[0]
    movements = tuple(_movement(*row) for row in moved)
    return Witness(movements, intents, pending)


def _intents(rows: list[tuple[str]]) -> list[tuple[str, str]]:
    bodies: list[dict[str, Any]] = [json.loads(row[0]) for row in rows]
    return [(body["id"], body["metadata"].get("payment_id", "")) for body in bodies]


def _movement(kind: str, amount: int, currency: str, intent: str, refund: str | None, metadata: str) -> Movement:
    return Movement(kind, amount, currency, intent, refund, json.loads(metadata))
