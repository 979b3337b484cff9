"""The short and the long way to the end of a checkout leave the same rows, from every state that they can meet."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select, update

from core.database import reading, transaction
from core.domain import checkouts, customers, jobs, orders, payments, timeline
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.settlement import intent_seen
from core.payments import Payment as Facade
from tests.core.domain.shop import intent
from tests.worker.shop import Shop

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

Meanwhile = Callable[[Shop, Order, Payment], object]


@dataclass(frozen=True)
class State:
    """What the end of a checkout may meet.

    Args:
        meanwhile: what happens between Stripe's answer and its bookkeeping.
        answer: what Stripe shows other than an open PaymentIntent.
        before: what happened before the attempt.
        short: whether the short way takes it.
    """

    meanwhile: Meanwhile | None = None
    answer: dict[str, Any] | None = None
    before: Meanwhile | None = None
    short: bool = False


def hear(status: str, **fields: Any) -> Meanwhile:
    def heard(shop: Shop, order: Order, payment: Payment) -> None:
        with transaction() as conn:
            locked = orders.lock(conn, order.account_id, order.id)
            now = payments.get(conn, payment.id)
            intent_seen(conn, locked, now, intent(now, status, **fields), False)

    return heard


def order_is(status: str) -> Meanwhile:
    def moved(shop: Shop, order: Order, payment: Payment) -> None:
        with transaction() as conn:
            orders.move(conn, order, status)

    return moved


def payment_is(**values: Any) -> Meanwhile:
    return lambda shop, order, payment: shop.change(payment, **values)


def lose_the_lease(shop: Shop, order: Order, payment: Payment) -> None:
    Shop().recover()


def know_the_customer(shop: Shop, order: Order, payment: Payment) -> None:
    with transaction() as conn:
        customers.remember_stripe_customer(conn, order.user_id, "cus_known")


DECLINED = {"last_payment_error": {"message": "Your card was declined."}}
STATES = {
    "ordinary": State(short=True),
    "a known customer": State(before=know_the_customer, short=True),
    "an answer lost before": State(before=payment_is(status="unknown", detail="lost"), short=True),
    "an order that awaits payment": State(order_is(orders.AWAITING_PAYMENT), short=True),
    "a decline": State(answer=DECLINED, short=True),
    "requires action": State(answer={"status": "requires_action"}, short=True),
    "processing": State(answer={"status": "processing"}, short=True),
    "without a charge": State(answer={"latest_charge": None, "client_secret": None}, short=True),
    "test data": State(answer={"test_mode": True, "livemode": None}, short=True),
    "succeeded": State(answer={"status": "succeeded"}),
    "canceled": State(answer={"status": "canceled"}),
    "another amount": State(answer={"amount": 1}),
    "another currency": State(answer={"currency": "eur"}),
    "real money": State(answer={"livemode": True}),
    "an unknown status": State(answer={"status": "not_invented_yet"}),
    "a webhook told the same": State(hear("requires_payment_method")),
    "a webhook told more": State(hear("processing")),
    "a webhook told that it is paid": State(hear("succeeded", amount_received=1050)),
    "a webhook told that it is canceled": State(hear("canceled")),
    "a payment in review": State(payment_is(status="needs_review")),
    "a payment that was canceled": State(payment_is(status="canceled")),
    "an order that was canceled": State(order_is(orders.CANCELED)),
    "an order that was paid otherwise": State(order_is(orders.PAID)),
    "a lease that was lost": State(lose_the_lease),
    "an epoch that advanced": State(payment_is(epoch=1, params=None), short=True),
}


@pytest.mark.parametrize("name", STATES)
def test_both_ways_leave_the_same_rows(name: str, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    state, taken = STATES[name], list[bool]()
    short = checkouts.end

    def counted(*given: Any) -> bool:
        taken.append(short(*given))
        return taken[-1]

    with monkeypatch.context() as patch:
        patch.setattr(checkouts, "end", counted)
        by_short = rows_after(state, shop, patch)
    with monkeypatch.context() as patch:
        patch.setattr(checkouts, "end", lambda *_: False)
        by_long = rows_after(state, shop, patch)
    assert by_short == by_long
    assert taken == [state.short]


def rows_after(state: State, shop: Shop, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What one attempt leaves, ids replaced by names."""
    order = shop.order(email=f"{len(shop.jobs_of(jobs.PAYMENT_CREATE))}@example.com")
    accepted = shop.checkout(order)
    payment = shop.payment(order)
    if state.before:
        state.before(shop, order, payment)

    def asked(self: Facade, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if state.meanwhile:
            state.meanwhile(shop, order, shop.payment(order))
        return intent(payment, **{"status": "requires_payment_method", **(state.answer or {})})

    patch.setattr(Facade, "create_payment_intent", asked)
    shop.work(accepted)
    with reading() as conn:
        row = conn.execute(select(payments.payments).where(payments.payments.c.id == payment.id)).one()._asdict()
        told = [(event.what, event.data) for event in timeline.read(conn, accepted.job_id)]
    job = shop.row(accepted.job_id)._asdict()
    for moment in ("created_at", "updated_at", "epoch_at", "check_at"):
        row.pop(moment)
    ends = {name: job[name] for name in ("status", "attempts", "crashes", "expiries", "result", "error", "lease_token")}
    marks = {"finished": job["finished_at"] is None, "leased": job["lease_expires_at"] is None}
    found = {
        "job": {**ends, **marks}, "payment": row, "order": shop.look(order).status, "timeline": told,
        "ledger": shop.ledger(order),
    }  # fmt: skip
    text = json.dumps(found, sort_keys=True, default=str)
    names = {order.id: "order", payment.id: "payment", accepted.job_id: "job", order.user_id: "user"}
    for known, name in names.items():
        text = text.replace(known, name)
    customer = (row["params"] or {}).get("customer_id")
    text = text.replace(customer, "customer") if customer else text
    shown: dict[str, Any] = json.loads(text)
    for _, data in shown["timeline"]:
        if data and "delay" in data:
            data["delay"] = "some"
    return shown


def test_who_comes_back_needs_no_write_before_stripe_is_asked(shop: Shop) -> None:
    first = shop.order()
    know_the_customer(shop, first, shop.payment_of(shop.checkout(first)))
    accepted = shop.checkout(shop.order())
    params = shop.payment_of(accepted).params
    assert params is not None
    assert (params["customer_id"], params["metadata"]["job_id"]) == ("cus_known", accepted.job_id)


@pytest.mark.usefixtures("database_url")
def test_a_message_whose_rows_cannot_be_read_together_is_done_all_the_same(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkouts, "run_statement", lambda *_: 1 / 0)
    with transaction() as conn:
        conn.execute(update(payments.payments).values(params=None))
    accepted = shop.checkout(shop.order())
    monkeypatch.setattr(checkouts, "end", lambda *_: False)
    [job] = shop.work(accepted)
    assert job.status == jobs.SUCCEEDED, job.error
