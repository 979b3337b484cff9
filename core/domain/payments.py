"""Payments: one row for each PaymentIntent that we ask Stripe for.

`creating -> requires_payment -> requires_action | processing -> succeeded | canceled`, with `unknown` (an
answer was lost) and `needs_review` beside them. An order has at most one payment that can still be paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Executable,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)

from core.database import AnyRow, JSONDocument, Timestamp, metadata, now
from core.domain import checks, customers, jobs, orders
from core.errors import Conflict
from core.ids import is_id, new_id
from core.statements import first_within

CREATING, REQUIRES_PAYMENT, REQUIRES_ACTION = "creating", "requires_payment", "requires_action"
PROCESSING, SUCCEEDED, CANCELED = "processing", "succeeded", "canceled"
UNKNOWN, NEEDS_REVIEW = "unknown", "needs_review"
STATUSES = (
    CREATING, REQUIRES_PAYMENT, REQUIRES_ACTION, PROCESSING, SUCCEEDED, CANCELED, UNKNOWN, NEEDS_REVIEW,
)  # fmt: skip
LIVE = (CREATING, REQUIRES_PAYMENT, REQUIRES_ACTION, PROCESSING, UNKNOWN, NEEDS_REVIEW)
UNCREATED = (CREATING, UNKNOWN)
OPEN_AT_STRIPE = (REQUIRES_PAYMENT, REQUIRES_ACTION, PROCESSING)
CHECKED = (*UNCREATED, *OPEN_AT_STRIPE)
"""What Stripe is asked about until it is known to have come to an end."""

payments = Table(
    "payments",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("order_id", Uuid(as_uuid=False), ForeignKey("orders.id"), nullable=False),
    Column("status", String(20), nullable=False),
    Column("amount", BigInteger, nullable=False, comment="minor units"),
    Column("currency", String(3), nullable=False),
    Column("amount_received", BigInteger, nullable=False, comment="minor units captured by Stripe"),
    Column("epoch", Integer, nullable=False, comment="advances only on proof that nothing happened"),
    Column("epoch_at", Timestamp, nullable=False, comment="no key of this epoch is older than this"),
    Column("params", JSONDocument, comment="the exact parameters that the key was first used with"),
    Column("payment_intent_id", String(64)),
    Column("charge_id", String(64)),
    Column("client_secret", String(255)),
    Column("test_mode", Boolean, nullable=False, comment="made with Stripe off: no money can move"),
    Column("detail", Text, comment="why it is unknown or needs review, or the last decline"),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("check_at", Timestamp, nullable=False, comment="when Stripe is asked again about an open one"),
    Column("check_failures", Integer, nullable=False, server_default="0", comment="in a row, without an answer"),
    CheckConstraint(f"status IN {STATUSES}", name="status"),
    CheckConstraint("amount > 0 AND amount_received >= 0", name="amounts"),
)
Index(
    "uq_payments_live",
    payments.c.order_id,
    unique=True,
    postgresql_where=payments.c.status.in_(LIVE),
    sqlite_where=payments.c.status.in_(LIVE),
)
Index("ix_payments_order", payments.c.order_id)
Index(
    "ix_payments_check",
    payments.c.check_at,
    postgresql_where=payments.c.status.in_(CHECKED),
    sqlite_where=payments.c.status.in_(CHECKED),
)
Index("uq_payments_intent", payments.c.payment_intent_id, unique=True)


@dataclass(frozen=True)
class Payment:
    """A payment; amounts in minor units of `currency`."""

    id: str
    account_id: str
    order_id: str
    status: str
    amount: int
    currency: str
    amount_received: int
    epoch: int
    epoch_at: datetime
    params: dict[str, Any] | None
    payment_intent_id: str | None
    charge_id: str | None
    client_secret: str | None
    test_mode: bool
    detail: str | None
    created_at: datetime

    @property
    def idempotency_key(self) -> str:
        """The key of every POST that creates this payment's PaymentIntent."""
        return f"payment:{self.id}:{self.epoch}"


SHOWN = [
    payments.c[name]
    for name in (
        "id", "account_id", "order_id", "status", "amount", "currency", "amount_received", "epoch", "epoch_at",
        "params", "payment_intent_id", "charge_id", "client_secret", "test_mode", "detail", "created_at",
    )
]  # fmt: skip


def request_checkout(conn: Connection, *, account_id: str, order_id: str, request: jobs.Request) -> jobs.Accepted:
    """Accept a checkout: one job per request, one live payment per order however many ask.

    Raises:
        NotFound: no such order in the account.
        Conflict: the order is paid already, canceled, or its payment waits for an operator.
        Unprocessable: the key belongs to another request.
        jobs.KeyTaken: run the transaction again.
    """
    order = orders.lock(conn, account_id, order_id)
    earlier = jobs.repeated(conn, account_id, request)
    if earlier:
        return earlier
    if order.status not in (orders.PENDING, orders.AWAITING_PAYMENT):
        raise Conflict(f"the order is {order.status}: it cannot be checked out", type=f"order-{order.status}")
    payment = _live(conn, order.id)
    job_id = new_id()
    if payment is None:
        payment = _open(conn, order, job_id)
    elif payment.status == NEEDS_REVIEW:
        raise Conflict("the order's payment waits for an operator", type="payment-needs-review")
    elif request.key is None:
        running = _last_checkout(conn, order.id, payment.id)
        if running:
            return running
    args = {"order_id": order.id, "payment_id": payment.id}
    return jobs.enqueue(conn, jobs.PAYMENT_CREATE, args, account_id, order.id, request, job_id)


def get(conn: Connection, payment_id: str) -> Payment:
    """The payment.

    Raises:
        LookupError: there is none: an id of ours names no row.
    """
    found = _first(conn, payments.c.id == payment_id)
    if found is None:
        raise LookupError(f"payment {payment_id}")
    return found


def of_intent(conn: Connection, payment_intent_id: str, claimed_id: str | None = None) -> Payment | None:
    """The payment of a PaymentIntent.

    Args:
        claimed_id: the payment id in the PaymentIntent's metadata, for a webhook that arrives before Stripe's
            answer to our own call was stored; only a payment without a PaymentIntent can be claimed.
    """
    found = _first(conn, payments.c.payment_intent_id == payment_intent_id)
    if found is None and claimed_id and is_id(claimed_id):
        found = _first(conn, (payments.c.id == claimed_id) & payments.c.payment_intent_id.is_(None))
    return found


def of_order(conn: Connection, order_id: str) -> list[Payment]:
    """The order's payments, oldest first."""
    found = conn.execute(select(*SHOWN).where(payments.c.order_id == order_id).order_by(payments.c.id))
    return [Payment(**row._asdict()) for row in found]


def captured(conn: Connection, order_id: str) -> int:
    """Minor units that Stripe captured for the order."""
    received = (payments.c.order_id == order_id) & (payments.c.status == SUCCEEDED)
    return int(
        conn.execute(select(func.coalesce(func.sum(payments.c.amount_received), 0)).where(received)).scalar_one()
    )


def freeze(conn: Connection, payment: Payment, params: dict[str, Any]) -> None:
    """Keep the parameters that go with the key; only the first ones count."""
    conn.execute(update(payments).where(payments.c.id == payment.id, payments.c.params.is_(None)).values(params=params))


def change(conn: Connection, payment: Payment, **values: Any) -> bool:
    """Write `values` if the payment is still in the status that the caller saw; False if it moved meanwhile."""
    seen = (payments.c.id == payment.id) & (payments.c.status == payment.status)
    written = conn.execute(update(payments).where(seen).values(updated_at=now(), **values))
    return written.rowcount == 1


def advance(conn: Connection, payment: Payment) -> None:
    """Give the payment a fresh key, on proof that the old one did nothing."""
    seen = (payments.c.id == payment.id) & (payments.c.epoch == payment.epoch)
    conn.execute(
        update(payments)
        .where(seen, payments.c.status.in_(UNCREATED))
        .values(epoch=payment.epoch + 1, epoch_at=now(), params=None, updated_at=now())
    )


def due_for_check(conn: Connection, limit: int) -> list[Payment]:
    """Open payments that Stripe has not been asked about for as long as they are old; the most overdue first.

    One that is not known to be at Stripe is due when no job is left that would find out.
    """
    due = payments.c.status.in_(CHECKED) & (payments.c.check_at <= now()) & payments.c.test_mode.is_(False)
    due &= payments.c.status.not_in(UNCREATED) | ~jobs.at_work(payments.c.order_id, jobs.PAYMENT_CREATE)
    found = conn.execute(select(*SHOWN).where(due).order_by(payments.c.check_at).limit(limit))
    return [Payment(**row._asdict()) for row in found]


def in_review(conn: Connection) -> list[Payment]:
    """The payments that wait for an operator, oldest first."""
    found = conn.execute(select(*SHOWN).where(payments.c.status == NEEDS_REVIEW).order_by(payments.c.id))
    return [Payment(**row._asdict()) for row in found]


def checked(conn: Connection, payment: Payment) -> None:
    """Stripe was asked: ask again when the payment is twice as old, at least daily."""
    checks.checked(conn, payments, payment.id, payment.created_at)


def first_made(conn: Connection) -> datetime | None:
    """When the oldest payment was made."""
    return conn.execute(select(func.min(payments.c.created_at, type_=Timestamp()))).scalar()


def stripe_params(payment_id: str, order: orders.Order, customer_id: str, job_id: str) -> dict[str, Any]:
    """What Stripe is asked for, to be frozen with the payment's key.

    Args:
        customer_id: Stripe's id of the customer.
        job_id: the job that asks first.
    """
    marks = {"order_id": order.id, "user_id": order.user_id, "payment_id": payment_id, "job_id": job_id}
    return {"amount": order.total, "currency": order.currency, "customer_id": customer_id, "metadata": marks}


def _open(conn: Connection, order: orders.Order, job_id: str) -> Payment:
    payment_id = new_id()
    user = customers.find(conn, order.account_id, order.user_id)
    known = user.stripe_customer_id if user else None  # a returning customer's job has nothing to write first
    params = stripe_params(payment_id, order, known, job_id) if known else None
    made = first_within(
        conn, _opening, new_id=payment_id, new_account_id=order.account_id, new_order_id=order.id,
        new_amount=order.total, new_currency=order.currency, new_params=params,
    )  # fmt: skip
    return Payment(*cast("Sequence[Any]", made))  # an INSERT returns its row or raises


def _opening() -> Executable:
    given = {
        name: bindparam(f"new_{name}", type_=payments.c[name].type)
        for name in ("id", "account_id", "order_id", "amount", "currency", "params")
    }
    return (
        insert(payments)
        .values(
            **given, status=CREATING, amount_received=0, epoch=0, epoch_at=now(), test_mode=False, created_at=now(),
            updated_at=now(), check_at=checks.first(),
        )
        .returning(*SHOWN)
    )  # fmt: skip


def _live(conn: Connection, order_id: str) -> Payment | None:
    found = first_within(conn, _living, asked=order_id)
    return Payment(*found) if found else None


def _living() -> Executable:
    # Spelled out, so that a prepared statement finds the partial index.
    live = payments.c.status.in_([literal_column(f"'{status}'") for status in LIVE])
    return select(*SHOWN).where(payments.c.order_id == bindparam("asked"), live)


def _last_checkout(conn: Connection, order_id: str, payment_id: str) -> jobs.Accepted | None:
    for job in reversed(jobs.of_order(conn, order_id)):
        theirs = job.kind == jobs.PAYMENT_CREATE.name and job.args["payment_id"] == payment_id
        if theirs and job.status in (jobs.QUEUED, jobs.RUNNING, jobs.SUCCEEDED):
            return jobs.Accepted(job.id, jobs.PAYMENT_CREATE, order_id, job.status, fresh=False)
    return None


def _first(conn: Connection, condition: Any) -> Payment | None:
    found: AnyRow | None = conn.execute(select(*SHOWN).where(condition)).first()
    return Payment(**found._asdict()) if found else None
