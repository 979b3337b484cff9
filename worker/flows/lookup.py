"""Payments, refunds and disputes that are due: each is asked about by itself, on a widening schedule.

Also those of which nobody knows whether Stripe has them, once no job is left that would find out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Connection, Table, literal, select

from core import payment
from core.database import reading
from core.domain import checks, disputes, findings, jobs, orders, payments, refunds
from core.domain.disputes import Dispute
from core.domain.payments import Payment
from core.domain.refunds import Refund
from core.errors import Retryable
from core.sightings import intents_of_customer
from worker.flows.asking import Told, ask
from worker.flows.comparison import Row, compare_dispute, compare_intent, compare_refund, record
from worker.flows.evidence import marked, too_old
from worker.work import Work

FAILURES_THAT_PERSIST = 3
"""In a row, over more than an hour: then an object that Stripe fails to show is a finding."""
MENDED = (findings.MISSING_AT_STRIPE, findings.UNREADABLE)
"""Findings that end when Stripe shows the object."""


def due(conn: Connection, limit: int) -> list[list[Row]]:
    """What is due, at most so many of each kind."""
    return [
        list(payments.due_for_check(conn, limit)),
        list(refunds.due_for_check(conn, limit)),
        list(disputes.due_for_check(conn, limit)),
    ]


def check(work: Work, row: Row) -> None:
    """Ask Stripe about one of them, apply what it shows, and say when it is asked about again."""
    if isinstance(row, Payment):
        _check_payment(work, row)
    elif isinstance(row, Refund):
        _check_refund(work, row)
    else:
        _check_dispute(work, row)


def settle_findings(conn: Connection) -> None:
    """Whatever was unresolved and is known by now, however it became known, is no open finding any more."""
    for finding in findings.open_of(conn, findings.UNRESOLVED):
        table = payments.payments if finding.detail["what"] == "payment" else refunds.refunds
        status = conn.execute(select(table.c.status).where(table.c.id == finding.object_id)).scalar()
        if status not in payments.UNCREATED:
            findings.mend(conn, finding.object_id, findings.UNRESOLVED)


def _check_payment(work: Work, row: Payment) -> None:
    told = _ask(work, payments.payments, row, row.payment_intent_id, lambda: _intent(work, row))
    with work.step() as conn:
        if told.seen is not None:
            compare_intent(conn, row.id, told.seen)
        elif told == Told() and row.status in payments.UNCREATED:
            give_up = partial(payments.change, status=payments.CANCELED)
            _unresolved(conn, row, jobs.PAYMENT_CREATE, payments.get, give_up)
        _asked(conn, payments.payments, row, row.payment_intent_id, told)


def _check_refund(work: Work, row: Refund) -> None:
    with reading() as conn:
        paid = payments.get(conn, row.payment_id)
    told = _ask(work, refunds.refunds, row, row.stripe_refund_id, lambda: _refund(row, paid))
    with work.step() as conn:
        if told.seen is not None:
            compare_refund(conn, paid, told.seen)
        elif told == Told() and row.status in refunds.UNCREATED:
            give_up = partial(refunds.change, status=refunds.FAILED)
            _unresolved(conn, row, jobs.REFUND_CREATE, refunds.get, give_up)
        _asked(conn, refunds.refunds, row, row.stripe_refund_id, told)


def _check_dispute(work: Work, row: Dispute) -> None:
    dispute_id = row.stripe_dispute_id
    told = _ask(work, disputes.disputes, row, dispute_id, lambda: payment.retrieve_dispute(dispute_id))
    with work.step() as conn:
        if told.seen is not None:
            compare_dispute(conn, payments.get(conn, row.payment_id), told.seen)
        _asked(conn, disputes.disputes, row, dispute_id, told)


def _ask(work: Work, table: Table, row: Row, stripe_id: str | None, call: Callable[[], dict[str, Any] | None]) -> Told:
    with work.step() as conn:
        checks.put_off(conn, table, row.id, checks.ASKING_SECONDS)
    try:
        return ask(work, stripe_id or row.id, call)
    except Retryable:
        with work.step() as conn:  # none of its doing: it is due, behind the others
            checks.put_off(conn, table, row.id, 0)
        raise


def _intent(work: Work, row: Payment) -> dict[str, Any] | None:
    if row.payment_intent_id is not None:
        return payment.retrieve_payment_intent(row.payment_intent_id)
    if row.params is None or row.status not in payments.UNCREATED:  # parameters are kept before anything is sent
        return None
    customer, since = row.params["customer_id"], row.epoch_at
    return marked(lambda: intents_of_customer(customer, since, since, work.renew), "payment_id", row.id)


def _refund(row: Refund, paid: Payment) -> dict[str, Any] | None:
    if row.stripe_refund_id is not None:
        return payment.retrieve_refund(row.stripe_refund_id)
    if row.params is None or row.status not in refunds.UNCREATED:
        return None
    return marked(lambda: payment.list_refunds(paid.payment_intent_id), "refund_id", row.id)


def _asked(conn: Connection, table: Table, row: Row, stripe_id: str | None, told: Told) -> None:
    # Last of all: whoever locks the order locks it before its payments.
    object_id = stripe_id or row.id
    if told.failed is not None:
        times = checks.not_shown(conn, table, row.id)
        if times >= FAILURES_THAT_PERSIST:
            record(conn, findings.UNREADABLE, object_id, {"local": row.status, "stripe": told.failed}, row)
        return
    if told.refused is not None:
        record(conn, findings.MISSING_AT_STRIPE, object_id, {"local": row.status, "stripe": told.refused}, row)
    else:
        findings.mend(conn, object_id, *MENDED)
    checks.checked(conn, table, row.id, row.created_at)


def _unresolved(
    conn: Connection,
    stale: Payment | Refund,
    kind: jobs.JobKind,
    read: Callable[[Connection, str], Payment | Refund],
    give_up: Callable[..., bool],
) -> None:
    """Stripe has nothing of it: it waits for its job's operator, or is given up once its key is dead."""
    order = orders.lock(conn, stale.account_id, stale.order_id)
    row, what = read(conn, stale.id), "payment" if isinstance(stale, Payment) else "refund"
    if (row.status, row.epoch) != (stale.status, stale.epoch) or at_work(conn, order.id, kind):
        return
    waiting = _set_aside(conn, order.id, kind, f"{what}_id", row.id)
    over = waiting is None and too_old(row.epoch_at)
    if over:
        give_up(conn, row, detail="no job was left, and Stripe has nothing of it")
    detail = {"what": what, "local": row.status, "stripe": None, "job_id": waiting}
    record(conn, findings.UNRESOLVED, row.id, detail, row, repaired=over)


def at_work(conn: Connection, order_id: str, kind: jobs.JobKind) -> bool:
    """Whether a job of that kind about the order has not come to an end."""
    return bool(conn.execute(select(jobs.at_work(literal(order_id, jobs.jobs.c.order_id.type), kind))).scalar_one())


def _set_aside(conn: Connection, order_id: str, kind: jobs.JobKind, name: str, row_id: str) -> str | None:
    """The job that an operator may still send back to the queue."""
    waits = (jobs.QUARANTINED, jobs.NEEDS_REVIEW)
    mine = [job.id for job in jobs.of_order(conn, order_id)
            if job.kind == kind.name and job.args.get(name) == row_id and job.status in waits]  # fmt: skip
    return mine[-1] if mine else None
