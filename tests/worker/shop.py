"""A shop in tests: orders, checkouts and refunds as the web accepts them, worked off in this process."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select, update

from core.database import now, reading, transaction
from core.domain import customers, jobs, orders, payments, refunds, timeline, webhooks
from core.domain.jobs import Accepted, Job, Request
from core.domain.orders import Item, Order
from core.domain.payments import Payment
from core.domain.refunds import Refund
from worker.flows import FLOWS
from worker.runner import Runner

ACCOUNT = "default"
SCOPE = "test"


class Shop:
    """One account's orders."""

    def __init__(self, cap: int = 4, lease_seconds: float = 60.0) -> None:
        self.runner = Runner(cap, lease_seconds)

    def order(self, total: int = 1050, currency: str = "usd", email: str = "ada@example.com") -> Order:
        """A fresh order of one item."""
        with transaction() as conn:
            user = customers.find_or_add(conn, ACCOUNT, email, "Ada Lovelace")
            placed, _ = orders.place(
                conn, account_id=ACCOUNT, user_id=user.id, currency=currency, items=[Item("book", total, 1)],
                reference=None, metadata={}, key=None, fingerprint="",
            )  # fmt: skip
        return placed

    def checkout(self, order: Order, key: str | None = None) -> Accepted:
        """Accept a checkout."""
        request = Request(scope=SCOPE, key=key, fingerprint=order.id)
        with transaction() as conn:
            return payments.request_checkout(conn, account_id=ACCOUNT, order_id=order.id, request=request)

    def refund(self, order: Order, amount: int | None = None, key: str | None = None) -> Accepted:
        """Accept a refund."""
        request = Request(scope=SCOPE, key=key, fingerprint=f"{order.id} {amount}")
        with transaction() as conn:
            return refunds.request_refund(
                conn, account_id=ACCOUNT, order_id=order.id, amount=amount, reason=None, request=request
            )

    def work(self, *accepted: Accepted) -> list[Job]:
        """Run the jobs once, as a hint would, and show how they stand."""
        for one in accepted:
            self.runner.run(one.kind.name, [one.job_id], FLOWS[one.kind.name])
        return [self.job(one.job_id) for one in accepted]

    def work_off(self, most: int = 50) -> None:
        """Run what is queued, without waiting for its time, until nothing is."""
        for _ in range(most):
            due = self.queued()
            if not due:
                return
            self.make_due()
            for kind, job_id in due:
                self.runner.run(kind, [job_id], FLOWS[kind])
        raise AssertionError(f"still queued after {most} rounds: {self.queued()}")

    def queued(self) -> list[tuple[str, str]]:
        """Kind and id of the queued jobs, oldest first."""
        with reading() as conn:
            waiting = select(jobs.jobs.c.kind, jobs.jobs.c.id).where(jobs.jobs.c.status == jobs.QUEUED)
            return [(row.kind, row.id) for row in conn.execute(waiting.order_by(jobs.jobs.c.id))]

    def make_due(self) -> None:
        """Let every queued job's time come now."""
        with transaction() as conn:
            conn.execute(update(jobs.jobs).where(jobs.jobs.c.status == jobs.QUEUED).values(run_at=now(), hint_at=now()))

    def hear(self, events: Iterable[dict[str, Any]]) -> None:
        """Receive events as the webhook door does."""
        for event in events:
            with transaction() as conn:
                webhooks.receive(
                    conn, event_id=event["id"], type=event["type"], api_version=event["api_version"],
                    livemode=event["livemode"], payload=json.dumps(event), accepted=True, request=Request(),
                )  # fmt: skip

    def paid_order(self, stripe: Any, total: int = 1050) -> Order:
        """An order that was checked out, paid with a test card, and whose webhook was heard."""
        placed = self.order(total)
        [job] = self.work(self.checkout(placed))
        assert job.result is not None, job.error
        stripe.pay(job.result["payment_intent_id"])
        self.hear(stripe.events())
        self.work_off()
        assert self.look(placed).status == orders.PAID
        return self.look(placed)

    def look(self, order: Order) -> Order:
        """The order as it is now."""
        with reading() as conn:
            found = orders.find(conn, ACCOUNT, order.id)
        assert found is not None
        return found

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        with reading() as conn:
            found = jobs.find(conn, job_id)
        assert found is not None
        return found

    def payment(self, order: Order) -> Payment:
        """The order's newest payment."""
        with reading() as conn:
            return payments.of_order(conn, order.id)[-1]

    def refunds(self, order: Order) -> list[Refund]:
        """The order's refunds."""
        with reading() as conn:
            return refunds.of_order(conn, order.id)

    def told(self, job_id: str) -> list[str]:
        """What the job's timeline says."""
        with reading() as conn:
            return [event.what for event in timeline.read(conn, job_id)]


