"""Every table in one place, for migrations and for tests."""

from __future__ import annotations

from core.database import metadata
from core.domain import (
    accounts,
    cursors,
    customers,
    disputes,
    findings,
    jobs,
    ledger,
    orders,
    pauses,
    payments,
    refunds,
    statistics,
    timeline,
    webhooks,
)

__all__ = [
    "accounts", "cursors", "customers", "disputes", "findings", "jobs", "ledger", "metadata", "orders", "pauses",
    "payments", "refunds", "statistics", "timeline", "webhooks",
]  # fmt: skip
