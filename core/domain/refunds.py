"""Refunds: ours reserve their amount before Stripe is asked; those made at Stripe are imported.

`creating -> pending | requires_action -> succeeded | failed | canceled`, with `unknown` and `needs_review`
beside them. A refund that succeeded can still fail later, and then its money is ours again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    Uuid,
    func,
    insert,
    select,
    update,
)

from core.database import AnyRow, JSONDocument, Timestamp, metadata, now
from core.domain import checks, jobs, orders, payments
from core.errors import Conflict, Unprocessable
from core.ids import is_id, new_id
from core.money import check_amount

CREATING, PENDING, REQUIRES_ACTION = "creating", "pending", "requires_action"
SUCCEEDED, FAILED, CANCELED = "succeeded", "failed", "canceled"
UNKNOWN, NEEDS_REVIEW = "unknown", "needs_review"
STATUSES = (CREATING, PENDING, REQUIRES_ACTION, SUCCEEDED, FAILED, CANCELED, UNKNOWN, NEEDS_REVIEW)
RETURNED = (FAILED, CANCELED)
"""The states in which the money is not, or not any more, on its way to the customer."""
UNCREATED = (CREATING, UNKNOWN)
OPEN_AT_STRIPE = (PENDING, REQUIRES_ACTION)
CHECKED = (*UNCREATED, *OPEN_AT_STRIPE)
"""What Stripe is asked about until it is known to have come to an end."""
REASONS = ("duplicate", "fraudulent", "requested_by_customer")

refunds = Table(
    "refunds",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("order_id", Uuid(as_uuid=False), ForeignKey("orders.id"), nullable=False),
    Column("payment_id", Uuid(as_uuid=False), ForeignKey("payments.id"), nullable=False),
    Column("status", String(20), nullable=False),
    Column("amount", BigInteger, nullable=False, comment="minor units"),
    Column("currency", String(3), nullable=False),
    Column("reason", String(32)),
    Column("epoch", Integer, nullable=False, comment="advances only on proof that nothing happened"),
    Column("epoch_at", Timestamp, nullable=False, comment="no key of this epoch is older than this"),
    Column("params", JSONDocument, comment="the exact parameters that the key was first used with"),
    Column("stripe_refund_id", String(64)),
    Column("detail", Text, comment="why it failed, is unknown or needs review"),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("check_at", Timestamp, nullable=False, comment="when Stripe is asked again about an open one"),
    Column("check_failures", Integer, nullable=False, server_default="0", comment="in a row, without an answer"),
    CheckConstraint(f"status IN {STATUSES}", name="status"),
    CheckConstraint("amount > 0", name="amount"),
)
Index("ix_refunds_order", refunds.c.order_id)
Index(
    "ix_refunds_check",
    refunds.c.check_at,
    postgresql_where=refunds.c.status.in_(CHECKED),
    sqlite_where=refunds.c.status.in_(CHECKED),
)
Index("uq_refunds_stripe", refunds.c.stripe_refund_id, unique=True)


@dataclass(frozen=True)
class Refund:
    """A refund; `amount` in minor units of `currency`."""

    id: str
    account_id: str
    order_id: str
    payment_id: str
    status: str
    amount: int
    currency: str
    reason: str | None
    epoch: int
    epoch_at: datetime
    params: dict[str, Any] | None
    stripe_refund_id: str | None
    detail: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def idempotency_key(self) -> str:
        """The key of every POST that creates this refund."""
        return f"refund:{self.id}:{self.epoch}"


_SHOWN = [
    refunds.c[name]
    for name in (
        "id", "account_id", "order_id", "payment_id", "status", "amount", "currency", "reason", "epoch",
        "epoch_at", "params", "stripe_refund_id", "detail", "created_at", "updated_at",
    )
]  # fmt: skip


def request_refund(
    conn: Connection,
    *,
    account_id: str,
    order_id: str,
    amount: int | None,
    reason: str | None,
    request: jobs.Request,
) -> jobs.Accepted:
    """Accept a refund: its row reserves the amount, under the order's lock, before Stripe hears of it.

    Args:
        amount: minor units, or None for all that is left.
        reason: one of `REASONS`, or None.

    Raises:
        NotFound: no such order in the account.
        Conflict: the order has no captured payment, or nothing is left of it.
        Unprocessable: more than is left, or the key belongs to another request.
        jobs.KeyTaken: run the transaction again.
    """
    order = orders.lock(conn, account_id, order_id)
    earlier = jobs.repeated(conn, account_id, request)
    if earlier:
        return earlier
    payment = _refundable(conn, order)
    amount = _check_left(conn, order, payment, amount)
    refund_id = new_id()
    conn.execute(
        insert(refunds).values(
            id=refund_id, account_id=account_id, order_id=order.id, payment_id=payment.id, status=CREATING,
            amount=amount, currency=order.currency, reason=reason, epoch=0, epoch_at=now(), created_at=now(),
            updated_at=now(), check_at=checks.first(),
        )
    )  # fmt: skip
    args = {"order_id": order.id, "refund_id": refund_id}
    return jobs.enqueue(conn, jobs.REFUND_CREATE, args, account_id, order.id, request)


def get(conn: Connection, refund_id: str) -> Refund:
    """The refund.

    Raises:
        LookupError: there is none: an id of ours names no row.
    """
    found = _first(conn, refunds.c.id == refund_id)
    if found is None:
        raise LookupError(f"refund {refund_id}")
    return found


def of_stripe(
    conn: Connection, stripe_refund_id: str, claimed_id: str | None = None, payment_id: str | None = None
) -> Refund | None:
    """The refund with that id at Stripe.

    Args:
        claimed_id: the refund id in its metadata, for news that arrives before Stripe's answer was stored.
        payment_id: the payment that Stripe's refund is of: a claim to another payment's refund is not believed.
    """
    found = _first(conn, refunds.c.stripe_refund_id == stripe_refund_id)
    if found is None and claimed_id and is_id(claimed_id):
        claimed = (refunds.c.id == claimed_id) & (refunds.c.payment_id == payment_id)
        found = _first(conn, claimed & refunds.c.stripe_refund_id.is_(None))
    return found


def of_order(conn: Connection, order_id: str) -> list[Refund]:
    """The order's refunds, oldest first."""
    found = conn.execute(select(*_SHOWN).where(refunds.c.order_id == order_id).order_by(refunds.c.id))
    return [Refund(**row._asdict()) for row in found]


def total(conn: Connection, order_id: str, payment_id: str | None = None, settled: bool = False) -> int:
    """Minor units refunded of the order (or of one payment): reserved ones included, or only the settled."""
    counted = (refunds.c.order_id == order_id) & (
        refunds.c.status == SUCCEEDED if settled else refunds.c.status.not_in(RETURNED)
    )
    if payment_id:
        counted = counted & (refunds.c.payment_id == payment_id)
    return int(conn.execute(select(func.coalesce(func.sum(refunds.c.amount), 0)).where(counted)).scalar_one())


def adopt(conn: Connection, payment: payments.Payment, refund: dict[str, Any]) -> Refund:
    """Import a refund that was made at Stripe (in its dashboard, say) of a payment of ours."""
    refund_id = new_id()
    conn.execute(
        insert(refunds).values(
            id=refund_id, account_id=payment.account_id, order_id=payment.order_id, payment_id=payment.id,
            status=CREATING, amount=refund["amount"], currency=refund["currency"], reason=refund.get("reason"),
            epoch=0, epoch_at=now(), stripe_refund_id=refund["id"], created_at=now(), updated_at=now(),
            check_at=checks.first(),
        )
    )  # fmt: skip
    return get(conn, refund_id)


def freeze(conn: Connection, refund: Refund, params: dict[str, Any]) -> None:
    """Keep the parameters that go with the key; only the first ones count."""
    conn.execute(update(refunds).where(refunds.c.id == refund.id, refunds.c.params.is_(None)).values(params=params))


def change(conn: Connection, refund: Refund, **values: Any) -> bool:
    """Write `values` if the refund is still in the status that the caller saw; False if it moved meanwhile."""
    seen = (refunds.c.id == refund.id) & (refunds.c.status == refund.status)
    return conn.execute(update(refunds).where(seen).values(updated_at=now(), **values)).rowcount == 1


def advance(conn: Connection, refund: Refund) -> None:
    """Give the refund a fresh key, on proof that the old one did nothing."""
    seen = (refunds.c.id == refund.id) & (refunds.c.epoch == refund.epoch)
    conn.execute(
        update(refunds)
        .where(seen, refunds.c.status.in_(UNCREATED))
        .values(epoch=refund.epoch + 1, epoch_at=now(), params=None, updated_at=now())
    )


def due_for_check(conn: Connection, limit: int) -> list[Refund]:
    """Open refunds that Stripe has not been asked about for as long as they are old; the most overdue first.

    One that is not known to be at Stripe is due when no job is left that would find out.
    """
    paid = payments.payments
    due = refunds.c.status.in_(CHECKED) & (refunds.c.check_at <= now()) & paid.c.test_mode.is_(False)
    due &= refunds.c.status.not_in(UNCREATED) | ~jobs.at_work(refunds.c.order_id, jobs.REFUND_CREATE)
    of = select(*_SHOWN).join(paid, paid.c.id == refunds.c.payment_id)
    found = conn.execute(of.where(due).order_by(refunds.c.check_at).limit(limit))
    return [Refund(**row._asdict()) for row in found]


def in_review(conn: Connection) -> list[Refund]:
    """The refunds that wait for an operator, oldest first."""
    found = conn.execute(select(*_SHOWN).where(refunds.c.status == NEEDS_REVIEW).order_by(refunds.c.id))
    return [Refund(**row._asdict()) for row in found]


def checked(conn: Connection, refund: Refund) -> None:
    """Stripe was asked: ask again when the refund is twice as old, at least daily."""
    checks.checked(conn, refunds, refund.id, refund.created_at)


def _refundable(conn: Connection, order: orders.Order) -> payments.Payment:
    paid = [payment for payment in payments.of_order(conn, order.id) if payment.status == payments.SUCCEEDED]
    if not paid:
        raise Conflict("the order is not paid: there is nothing to refund", type="order-not-paid")
    # Late money can leave two captured payments; take the one with the most left.
    return max(paid, key=lambda payment: payment.amount_received - total(conn, order.id, payment.id))


def _check_left(conn: Connection, order: orders.Order, payment: payments.Payment, amount: int | None) -> int:
    left = payment.amount_received - total(conn, order.id, payment.id)
    if left <= 0:
        raise Conflict("all of the order is refunded, or on its way", type="order-refunded")
    if amount is None:
        return left
    check_amount(amount, order.currency)
    if amount > left:
        raise Unprocessable(f"at most {left} minor units are left to refund", type="refund-exceeds-payment")
    return amount


def _first(conn: Connection, condition: Any) -> Refund | None:
    found: AnyRow | None = conn.execute(select(*_SHOWN).where(condition)).first()
    return Refund(**found._asdict()) if found else None
