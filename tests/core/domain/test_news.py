"""The short way of Stripe's news: all of it or nothing, whatever moves before, meanwhile and after."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DBAPIError

from core.database import reading, transaction
from core.domain import checks, jobs, leases, ledger, news, orders, payments, refunds, timeline, webhooks
from core.domain.jobs import WEBHOOK_PROCESS
from core.domain.leases import Claim
from core.domain.orders import Order
from core.domain.payments import Payment
from core.domain.settlement import intent_seen
from core.domain.timeline import Note
from core.domain.webhooks import webhook_events
from tests.core.domain import shop
from tests.core.domain.moves import Move, cancel_the_order, pay, replace_the_lease, take_the_lease
from tests.core.domain.racing import race

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

NOTES = [Note("claimed"), Note("read")]


def store(conn: Connection, event_id: str, type: str, seen: dict[str, Any]) -> str:
    """An event that came; its job."""
    payload = json.dumps({"id": event_id, "type": type, "data": {"object": seen}})
    accepted = webhooks.receive(
        conn, event_id=event_id, type=type, api_version=None, livemode=False, payload=payload, accepted=True,
        request=shop.request(),
    )  # fmt: skip
    assert accepted
    return accepted.job_id


class News:
    """A payment that waits for its customer, and the event that it succeeded, whose job is under a lease."""

    made = 0

    def __init__(self, total: int = 1000) -> None:
        News.made += 1
        self.event_id = f"evt_{News.made}"
        with transaction() as conn:
            self.order, fresh = shop.checked_out(conn, total)
            declined = shop.intent(fresh, last_payment_error={"message": "Your card was declined."})
            assert shop.see(conn, fresh, declined) is None
            self.payment = payments.get(conn, fresh.id)
            self.seen = shop.intent(self.payment, "succeeded")
            job_id = store(conn, self.event_id, "payment_intent.succeeded", self.seen)
        [self.claim] = leases.take(WEBHOOK_PROCESS.name, [job_id])

    @property
    def result(self) -> dict[str, Any]:
        """What the job ends with."""
        return {"event_id": self.event_id, "outcome": "processed"}

    def pay(self, **fields: Any) -> str | None:
        """The short way; `fields` are what Stripe shows otherwise."""
        seen = {**self.seen, **fields}
        return news.pay(self.claim, self.event_id, self.payment, seen, False, self.result, NOTES)

    def pay_long(self) -> str:
        """The long way."""
        with transaction() as conn:
            leases.finish(conn, self.claim, jobs.SUCCEEDED, NOTES, self.result)
            webhooks.close(conn, self.event_id, webhooks.PROCESSED)
            leases.tie(conn, self.claim, self.payment.account_id, self.payment.order_id)
            order = orders.lock(conn, self.payment.account_id, self.payment.order_id)
            assert intent_seen(conn, order, payments.get(conn, self.payment.id), self.seen, False) is None
        return order.user_id

    def change(self, move: Move) -> None:
        """Let something happen before."""
        with transaction() as conn:
            move(conn, self.claim, self.payment, self.order)

    def written(self) -> dict[str, Any]:
        """All that an end writes, without what is another one's each time."""
        with reading() as conn:
            job = dict(shop.row(conn, self.claim.job_id)._asdict())
            payment = dict(conn.execute(select(payments.payments).where(payments.payments.c.id == self.payment.id))
                           .one()._asdict())  # fmt: skip
            event = dict(conn.execute(select(webhook_events).where(webhook_events.c.id == self.event_id))
                         .one()._asdict())  # fmt: skip
            transfers = [dict(row._asdict()) for row in conn.execute(
                select(ledger.transfers).where(ledger.transfers.c.order_id == self.order.id))]  # fmt: skip
            told = [(note.what, note.data) for note in timeline.read(conn, self.claim.job_id)]
            found = {
                "job": job, "payment": payment, "event": event, "timeline": told,
                "order": shop.look(conn, self.order), "ledger": transfers,
            }  # fmt: skip
        for transfer in transfers:
            del transfer["id"]
        for row in (job, payment, event, *transfers):
            for name in [name for name in row if name.endswith("_at") or name == "clock"]:
                row[name] = row[name] is not None
        text = json.dumps(found, default=str)
        for of, name in ((self.order.id, "order"), (self.payment.id, "payment"), (self.claim.job_id, "job"),
                         (self.event_id, "event")):  # fmt: skip
            text = text.replace(of, name)
        shown: dict[str, Any] = json.loads(text)
        shown["order"] = shown["order"].partition("created_at")[0]
        return shown


def together(*several: News, **fields: Any) -> list[str | None]:
    """The short way of all of them in one statement."""
    given = []
    for one in several:
        paying = news._paying(one.claim, one.event_id, one.payment, {**one.seen, **fields}, False, one.result)
        assert paying is not None
        given.append((paying, [*NOTES, Note("succeeded")]))
    return news._pay_together(given)


@pytest.fixture
def told(database_url: str) -> News:
    """In an empty database."""
    return News()


def move_the_payment(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    shop.see(conn, payment, shop.intent(payment, "processing"))


def doubt_the_payment(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    assert shop.see(conn, payment, shop.intent(payment, "succeeded", amount_received=1))


def cancel_the_payment(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    shop.see(conn, payment, shop.intent(payment, "canceled"))


def adopt(conn: Connection, payment: Payment, order: Order) -> str | None:
    # Reconciliation found it, while Stripe did not show the PaymentIntent.
    orders.lock(conn, order.account_id, order.id)
    seen = {"id": f"re_{order.id}", "status": "succeeded", "amount": 400, "currency": order.currency, "metadata": {}}
    return shop.see_refund(conn, refunds.adopt(conn, payment, seen), seen)


def adopt_a_refund(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    assert adopt(conn, payment, order)


def settle_for_less(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    # An operator did, of the same PaymentIntent, or of another one.
    orders.lock(conn, order.account_id, order.id)
    payments.change(conn, payment, amount=900)


def settle_for_another(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    orders.lock(conn, order.account_id, order.id)
    payments.change(conn, payment, payment_intent_id="pi_another")


MOVES = [
    replace_the_lease, take_the_lease, cancel_the_order, move_the_payment, doubt_the_payment, settle_for_less,
    settle_for_another, pay, cancel_the_payment, adopt_a_refund,
]  # fmt: skip


def test_both_ways_write_the_same(told: News) -> None:
    other = News()
    assert told.pay() == told.order.user_id
    assert other.pay_long() == other.order.user_id
    assert told.written() == other.written()
    with reading() as conn:
        assert shop.postings(conn, told.order) == [("payment", 1000)]
        assert shop.look(conn, told.order).status == orders.PAID


@pytest.mark.parametrize("move", MOVES)
def test_whatever_moved_before_nothing_is_written(told: News, move: Move) -> None:
    told.change(move)
    before = shop.everything()
    assert told.pay() is None
    assert shop.everything() == before


@pytest.mark.parametrize("move", MOVES)
def test_whatever_somebody_else_moves_at_that_moment_is_left_out_and_not_waited_for(told: News, move: Move) -> None:
    neighbour = News()
    with transaction() as conn:
        move(conn, told.claim, told.payment, told.order)
        assert together(told, neighbour) == [None, neighbour.order.user_id]
    after = shop.everything()
    assert told.pay() is None
    assert shop.everything() == after


def post(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    ledger.post(
        conn, ledger.PAYMENT, cause=shop.intent(payment)["id"], account_id=order.account_id, order_id=order.id,
        currency=order.currency, amount=order.total,
    )  # fmt: skip


def look_up(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    orders.lock(conn, order.account_id, order.id)


def ask_about_it(conn: Connection, claim: Claim, payment: Payment, order: Order) -> None:
    checks.put_off(conn, payments.payments, payment.id, 60.0)


@pytest.mark.parametrize("move", [look_up, ask_about_it])
def test_a_lock_that_changes_nothing_of_it_is_not_waited_for_either(told: News, move: Move) -> None:
    with transaction() as conn:
        move(conn, told.claim, told.payment, told.order)
        assert together(told) == [None]
    assert together(told) == [told.order.user_id]


def test_money_that_stands_in_the_ledger_already_is_not_posted_again(told: News) -> None:
    told.change(post)
    assert told.pay() == told.order.user_id
    with reading() as conn:
        assert shop.postings(conn, told.order) == [("payment", 1000)]


def test_an_order_that_was_refunded_before_its_success_was_known_does_not_wait(told: News) -> None:
    told.change(adopt_a_refund)
    with reading() as conn:
        assert shop.look(conn, told.order).status == orders.PENDING
    told.pay_long()
    with reading() as conn:
        assert shop.look(conn, told.order).status == orders.PARTIALLY_REFUNDED


def test_a_refund_that_stood_before_the_order_came_to_wait_is_seen(told: News) -> None:
    told.change(adopt_a_refund)
    told.change(lambda conn, claim, payment, order: orders.move(conn, order, orders.AWAITING_PAYMENT))
    before = shop.everything()
    assert told.pay() is None
    assert shop.everything() == before


def test_many_are_paid_together_each_with_its_own(database_url: str) -> None:
    several = [News(1000 + number) for number in range(20)]
    lost = several[3]
    lost.change(replace_the_lease)
    assert together(*several) == [None if one is lost else one.order.user_id for one in several]
    with reading() as conn:
        for number, one in enumerate(several):
            job = jobs.find(conn, one.claim.job_id)
            assert job is not None
            assert (job.status, shop.postings(conn, one.order)) == (
                (jobs.RUNNING, []) if one is lost else (jobs.SUCCEEDED, [("payment", 1000 + number)])
            )
            assert [note.what for note in timeline.read(conn, job.id)][1:] == (
                [] if one is lost else ["claimed", "read", "succeeded"]
            )


def test_of_two_events_of_one_order_only_the_first_is_tried(told: News) -> None:
    second = copy(told)
    second.event_id = "evt_again"
    with transaction() as conn:
        again = store(conn, second.event_id, "payment_intent.succeeded", told.seen)
    [second.claim] = leases.take(WEBHOOK_PROCESS.name, [again])
    assert together(told, second) == [told.order.user_id, None]
    with reading() as conn:
        assert [shop.row(conn, one.claim.job_id).status for one in (told, second)] == [jobs.SUCCEEDED, jobs.RUNNING]
        assert shop.postings(conn, told.order) == [("payment", 1000)]


def test_of_two_attempts_of_one_job_the_first_ends_and_the_other_is_told_so(told: News) -> None:
    replaced = copy(told)
    told.change(replace_the_lease)
    with reading() as conn:
        token = shop.row(conn, told.claim.job_id).lease_token
    told.claim = replace(told.claim, token=token)
    assert together(replaced, told) == [None, None]  # which of the two is ours is left to the long way
    assert together(told, replaced) == [told.order.user_id, None]


def test_a_statement_that_fails_writes_nothing_and_each_ends_by_itself(told: News) -> None:
    neighbour = News()
    before = shop.everything()
    with pytest.raises(DBAPIError, match="too long"):
        together(told, neighbour, latest_charge="ch_" + "9" * 1000)
    assert shop.everything() == before
    assert neighbour.pay() == neighbour.order.user_id


@pytest.mark.parametrize(
    "fields",
    [{"status": "processing"}, {"status": "canceled"}, {"status": "not_invented_yet"}, {"amount": 1},
     {"amount_received": 1}, {"amount_received": 2000}, {"currency": "eur"}, {"livemode": True}, {"id": "pi_another"},
     {"test_mode": True}],
)  # fmt: skip
def test_what_is_out_of_the_ordinary_is_left_to_the_long_way(told: News, fields: dict[str, Any]) -> None:
    before = shop.everything()
    assert told.pay(**fields) is None
    assert shop.everything() == before


@pytest.mark.parametrize("fields", [{"status": payments.CREATING}, {"status": payments.UNKNOWN}, {"test_mode": True}])
def test_a_payment_that_does_not_wait_at_stripe_is_left_to_the_long_way(told: News, fields: dict[str, Any]) -> None:
    with transaction() as conn:
        conn.execute(update(payments.payments).where(payments.payments.c.id == told.payment.id).values(**fields))
        told.payment = payments.get(conn, told.payment.id)
    before = shop.everything()
    assert told.pay() is None
    assert shop.everything() == before


def test_more_than_the_order_asks_for_is_left_to_the_long_way(told: News) -> None:
    with transaction() as conn:
        conn.execute(update(orders.orders).where(orders.orders.c.id == told.order.id).values(total=999))
    before = shop.everything()
    assert told.pay() is None
    assert shop.everything() == before


@pytest.mark.parametrize("table", ["jobs", "orders", "webhook_events"])
def test_money_is_never_written_without_all_that_belongs_to_it(told: News, database_url: str, table: str) -> None:
    before = shop.everything()
    with shop.ignored(database_url, f"UPDATE ON {table}"):
        with pytest.raises(DBAPIError, match="division by zero"):
            together(told)
        assert told.pay() is None
    assert shop.everything() == before


def test_both_ways_that_race_post_the_money_once(database_url: str) -> None:
    for told in [News() for _ in range(12)]:

        def run(number: int, told: News = told) -> Any:
            return told.pay() if number else told.change(pay)

        _, ended = race(2, run)
        with reading() as conn:
            job, order = jobs.find(conn, told.claim.job_id), shop.look(conn, told.order)
            assert job is not None
            assert job.status == (jobs.SUCCEEDED if ended else jobs.RUNNING)
            assert (order.status, shop.postings(conn, order)) == (orders.PAID, [("payment", order.total)])


def test_a_refund_that_is_adopted_while_the_money_is_written_is_never_forgotten(database_url: str) -> None:
    for told in [News() for _ in range(12)]:

        def run(number: int, told: News = told) -> Any:
            if number:
                return told.pay()
            return told.change(lambda conn, claim, payment, order: adopt(conn, payment, order))

        _, user_id = race(2, run)
        if user_id is None:
            told.pay_long()
        with reading() as conn:
            assert shop.look(conn, told.order).status == orders.PARTIALLY_REFUNDED


def closing(told: News, status: str = webhooks.PROCESSED, tied: bool = True) -> bool:
    return news.close(told.claim, told.event_id, told.payment if tied else None, status, told.result, NOTES)


@pytest.mark.parametrize("tied", [False, True])
def test_an_event_that_changes_nothing_ends_the_same_both_ways(told: News, tied: bool) -> None:
    other = News()
    assert closing(told, webhooks.IGNORED, tied)
    with transaction() as conn:
        leases.finish(conn, other.claim, jobs.SUCCEEDED, NOTES, other.result)
        webhooks.close(conn, other.event_id, webhooks.IGNORED)
        if tied:
            leases.tie(conn, other.claim, other.payment.account_id, other.payment.order_id)
    assert told.written() == other.written()
    assert told.written()["event"]["status"] == "ignored"


@pytest.mark.parametrize("move", [replace_the_lease, take_the_lease])
def test_a_replaced_attempt_closes_nothing(told: News, move: Move) -> None:
    told.change(move)
    before = shop.everything()
    assert closing(told) is False
    assert shop.everything() == before


def test_an_event_is_not_closed_while_somebody_holds_its_job_and_not_waited_for(told: News) -> None:
    with transaction() as conn:
        leases.hold(conn, told.claim)
        assert closing(told) is False
    assert closing(told) is True


@pytest.mark.parametrize("table", ["jobs", "webhook_events"])
def test_an_event_is_never_closed_without_its_job_nor_the_other_way_round(
    told: News, database_url: str, table: str
) -> None:
    before = shop.everything()
    with shop.ignored(database_url, f"UPDATE ON {table}"):
        assert closing(told) is False
    assert shop.everything() == before


def test_what_a_message_s_jobs_read_is_what_each_would_read(told: News) -> None:
    with transaction() as conn:
        unknown = store(conn, "evt_unknown", "payment_intent.succeeded", {"id": "pi_unknown", "metadata": {}})
        refund = store(
            conn, "evt_refund", "refund.updated", {"id": "re_1", "payment_intent": told.payment.payment_intent_id}
        )
        lost = store(conn, "evt_lost", "charge.updated", {})
    claims = leases.take(WEBHOOK_PROCESS.name, [unknown, refund, lost])
    with transaction() as conn:
        conn.execute(webhook_events.delete().where(webhook_events.c.id == "evt_lost"))
    found = news.load([told.claim, *claims])
    with reading() as conn:
        read = {job_id: news.told(webhooks.get(conn, event_id)) for job_id, event_id in
                ((told.claim.job_id, told.event_id), (unknown, "evt_unknown"), (refund, "evt_refund"))}  # fmt: skip
    assert found == {**read, told.claim.job_id: read[told.claim.job_id]._replace(payment=told.payment)}


def test_one_that_cannot_be_read_makes_each_read_for_itself(told: News) -> None:
    with transaction() as conn:
        conn.execute(update(webhook_events).values(payload="no json"))
    with pytest.raises(ValueError, match="Expecting value"):
        news.load([told.claim])
