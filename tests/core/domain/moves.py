"""What may happen to a job, its payment and its order before the job's end is written, or at that moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, update

from core.domain import jobs, leases, orders
from core.domain.leases import Claim
from core.domain.orders import Order
from core.domain.payments import Payment
from core.ids import new_token
from tests.core.domain import shop

Move = Callable[[Connection, Claim, Payment, Order], Any]


def replace_the_lease(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    """Another attempt has the job."""
    conn.execute(update(jobs.jobs).where(jobs.jobs.c.id == claim.job_id).values(lease_token=new_token()))


def take_the_lease(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    """The job waits again."""
    leases.retry(conn, claim, 0.0, "taken")


def cancel_the_order(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    """Nobody wants it any more."""
    orders.move(conn, orders.lock(conn, order.account_id, order.id), orders.CANCELED)


def pay(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    """Somebody else told that it was paid."""
    shop.see(conn, payment, shop.intent(payment, "succeeded"))
