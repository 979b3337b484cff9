"""A shop in tests: orders, checkouts and refunds as the web accepts them, worked off in this process."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update

from core.database import AnyRow, now, now_plus, reading, transaction
from core.domain import (
    customers,
    disputes,
    findings,
    jobs,
    leases,
    ledger,
    orders,
    pauses,
    payments,
    refunds,
    timeline,
    webhooks,
)
from core.domain.disputes import Dispute
from core.domain.findings import Finding
from core.domain.jobs import Accepted, Job, JobKind, Request
from core.domain.orders import Item, Order
from core.domain.payments import Payment
from core.domain.refunds import Refund
from tests.worker.crashes import Killed
from worker.flows import FLOWS
from worker.runner import Runner

ACCOUNT = "default"
SCOPE = "test"
FEES = (ledger.FEE, ledger.FEE_REVERSAL)


class Shop:
    """One account's orders.

    Args:
        cap: its worker's jobs in flight.
        lease_seconds: its worker's leases.
        account_id: whose orders.
    """

    def __init__(self, cap: int = 4, lease_seconds: float = 60.0, account_id: str = ACCOUNT) -> None:
        self._cap, self._lease_seconds = cap, lease_seconds
        self.account_id = account_id
        self.runner = Runner(cap, lease_seconds)

    def order(self, total: int = 1050, currency: str = "usd", email: str = "ada@example.com") -> Order:
        """A fresh order of one item."""
        with transaction() as conn:
            user = customers.find_or_add(conn, self.account_id, email, "Ada Lovelace")
            placed, _ = orders.place(
                conn, account_id=self.account_id, user_id=user.id, currency=currency, items=[Item("book", total, 1)],
                reference=None, metadata={}, key=None, fingerprint="",
            )  # fmt: skip
        return placed

    def checkout(self, order: Order, key: str | None = None) -> Accepted:
        """Accept a checkout."""
        request = Request(scope=SCOPE, key=key, fingerprint=order.id)
        with transaction() as conn:
            return payments.request_checkout(conn, account_id=self.account_id, order_id=order.id, request=request)

    def refund(self, order: Order, amount: int | None = None, key: str | None = None) -> Accepted:
        """Accept a refund."""
        request = Request(scope=SCOPE, key=key, fingerprint=f"{order.id} {amount}")
        with transaction() as conn:
            return refunds.request_refund(
                conn, account_id=self.account_id, order_id=order.id, amount=amount, reason=None, request=request
            )

    def work(self, *accepted: Accepted) -> list[Job]:
        """Run the jobs once, as a hint would, and show how they stand."""
        for one in accepted:
            self.hint(one.kind.name, one.job_id)
        return [self.job(one.job_id) for one in accepted]

    def hint(self, kind: str, *ids: str) -> None:
        """What a worker does with a message; a worker that is killed by it is replaced by a new one."""
        with suppress(Killed):
            self.runner.run(kind, ids, FLOWS[kind])

    def enqueue(self, kind: JobKind, **args: Any) -> Accepted:
        """Accept a job of any kind."""
        with transaction() as conn:
            return jobs.enqueue(conn, kind, args)

    def recover(self) -> list[str]:
        """Another worker takes over: leases that are held have run out, and the sweep takes them; returns the ids."""
        self.runner = Runner(self._cap, self._lease_seconds)
        with transaction() as conn:
            conn.execute(
                update(jobs.jobs).where(jobs.jobs.c.status == jobs.RUNNING).values(lease_expires_at=now_plus(-1))
            )
            return leases.expire(conn, 100)

    def work_off(self, most: int = 50) -> None:
        """Run what is queued, without waiting for its time, until nothing is."""
        for _ in range(most):
            self.recover()
            due = self.queued()
            if not due:
                return
            self.make_due()
            for kind, job_id in due:
                self.hint(kind, job_id)
        raise AssertionError(f"still queued after {most} rounds: {self.queued()}")

    def queued(self) -> list[tuple[str, str]]:
        """Kind and id of the queued jobs, oldest first."""
        with reading() as conn:
            waiting = select(jobs.jobs.c.kind, jobs.jobs.c.id).where(jobs.jobs.c.status == jobs.QUEUED)
            return [(row.kind, row.id) for row in conn.execute(waiting.order_by(jobs.jobs.c.id))]

    def make_due(self) -> None:
        """Let every queued job's time come now, and what is paused go on."""
        with transaction() as conn:
            conn.execute(delete(pauses.pauses))
            conn.execute(update(jobs.jobs).where(jobs.jobs.c.status == jobs.QUEUED).values(run_at=now(), hint_at=now()))

    def hear(self, events: Iterable[dict[str, Any]]) -> None:
        """Receive events as the webhook door does."""
        for event in events:
            with transaction() as conn:
                webhooks.receive(
                    conn, event_id=event["id"], type=event["type"], api_version=event["api_version"],
                    livemode=event["livemode"], payload=json.dumps(event), accepted=True, request=Request(),
                )  # fmt: skip

    def paid_order(self, stripe: Any, total: int = 1050, card: str = "pm_card_visa") -> Order:
        """An order that was checked out, paid with a test card, and whose webhook was heard."""
        placed = self.order(total)
        [job] = self.work(self.checkout(placed))
        assert job.result is not None, job.error
        stripe.pay(job.result["payment_intent_id"], card)
        self.hear(stripe.events())
        self.work_off()
        assert self.look(placed).status == orders.PAID
        return self.look(placed)

    def look(self, order: Order) -> Order:
        """The order as it is now."""
        with reading() as conn:
            found = orders.find(conn, self.account_id, order.id)
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

    def payment_of(self, accepted: Accepted) -> Payment:
        """The payment that a checkout is about."""
        with reading() as conn:
            return payments.get(conn, self.job(accepted.job_id).args["payment_id"])

    def refunds(self, order: Order) -> list[Refund]:
        """The order's refunds."""
        with reading() as conn:
            return refunds.of_order(conn, order.id)

    def told(self, job_id: str) -> list[str]:
        """What the job's timeline says."""
        with reading() as conn:
            return [event.what for event in timeline.read(conn, job_id)]

    def resume(self, job: Job) -> None:
        """An operator sends the job back to the queue."""
        with transaction() as conn:
            assert leases.resume(conn, job.id, "operator")

    def clock(self) -> datetime:
        """The database's clock."""
        with reading() as conn:
            return conn.execute(select(now())).scalar_one()

    def row(self, job_id: str) -> AnyRow:
        """The job's whole row, and the database's time as `clock`."""
        with reading() as conn:
            return conn.execute(select(jobs.jobs, now().label("clock")).where(jobs.jobs.c.id == job_id)).one()

    def jobs_of(self, kind: JobKind) -> list[Job]:
        """All jobs of a kind, oldest first."""
        with reading() as conn:
            ids = conn.execute(select(jobs.jobs.c.id).where(jobs.jobs.c.kind == kind.name).order_by(jobs.jobs.c.id))
            found = [str(row.id) for row in ids]
        return [self.job(job_id) for job_id in found]

    def inbox(self) -> dict[str, str]:
        """What became of each event, by its type; of several of a type the last."""
        table = webhooks.webhook_events.c
        with reading() as conn:
            found = conn.execute(select(table.type, table.status).order_by(table.received_at, table.id))
            return {row.type: row.status for row in found}

    def outcomes(self) -> set[str]:
        """What became of all events together."""
        return set(self.inbox().values())

    def disputes(self, order: Order) -> list[Dispute]:
        """The order's disputes."""
        with reading() as conn:
            return disputes.of_order(conn, order.id)

    def findings(self, status: str | None = None) -> list[Finding]:
        """What reconciliation found."""
        with reading() as conn:
            return findings.listed(conn, status=status)

    def ledger(self, order: Order) -> list[tuple[str, int]]:
        """Kind and amount of what the ledger holds of the order, oldest first; see `fees` for those."""
        return [(kind, amount) for kind, amount, _ in self._posted(order) if kind not in FEES]

    def fees(self, order: Order) -> list[tuple[str, int, str]]:
        """Kind, amount and currency of the order's fees in the ledger, the least first."""
        posted = [posted for posted in self._posted(order) if posted[0] in FEES]
        return sorted(posted, key=lambda fee: fee[1])

    def _posted(self, order: Order) -> list[tuple[str, int, str]]:
        table = ledger.transfers.c
        wanted = select(table.kind, table.amount, table.currency).where(table.order_id == order.id).order_by(table.id)
        with reading() as conn:
            return [(row.kind, row.amount, row.currency) for row in conn.execute(wanted)]

    def ledger_lines(self) -> int:
        """How many lines the ledger has."""
        with reading() as conn:
            return conn.execute(select(func.count()).select_from(ledger.transfers)).scalar_one()

    def age(self, hours: float) -> None:
        """Let the keys of all payments and refunds be that old, and everything be checked long ago."""
        past = now_plus(-3600 * hours)
        with transaction() as conn:
            for table in (payments.payments, refunds.refunds):
                conn.execute(update(table).values(epoch_at=past, check_at=past))
            conn.execute(update(disputes.disputes).values(check_at=past))

    def change(self, row: Payment | Refund, **values: Any) -> None:
        """Put a row into another state, as something that is not under test would have."""
        table = payments.payments if isinstance(row, Payment) else refunds.refunds
        with transaction() as conn:
            conn.execute(update(table).where(table.c.id == row.id).values(**values))
