"""The ledger: one posting per cause, both sides in one row, and no way to change or remove what stands there."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from core.database import reading, transaction
from core.domain import ledger
from core.domain.orders import Order
from core.ids import new_id
from tests.core.domain import shop
from tests.core.domain.racing import race


@pytest.fixture
def order(database_url: str) -> Order:
    """A pending order."""
    with transaction() as conn:
        return shop.place(conn)


def post(conn: Connection, order: Order, kind: str = ledger.PAYMENT, cause: str = "pi_1", amount: int = 1000) -> bool:
    return ledger.post(
        conn, kind, cause=cause, account_id=order.account_id, order_id=order.id, currency="usd", amount=amount
    )


def rows() -> int:
    with reading() as conn:
        return conn.execute(select(func.count()).select_from(ledger.transfers)).scalar_one()


def test_a_movement_is_posted_once_however_often_it_is_reported(order: Order) -> None:
    with transaction() as conn:
        assert post(conn, order)
        assert not post(conn, order)
        assert not post(conn, order, amount=999)
        assert shop.postings(conn, order) == [(ledger.PAYMENT, 1000)]


def test_one_object_may_cause_movements_of_different_kinds(order: Order) -> None:
    with transaction() as conn:
        assert post(conn, order, ledger.REFUND, "re_1")
        assert post(conn, order, ledger.REFUND_REVERSAL, "re_1")
        assert post(conn, order, ledger.REFUND, "re_2")


def test_twenty_reports_at_once_are_one_posting(order: Order) -> None:
    def report(_: int) -> bool:
        with transaction() as conn:
            return post(conn, order)

    assert race(20, report).count(True) == 1
    assert rows() == 1


@pytest.mark.parametrize("kind", ledger.ACCOUNTS)
def test_debits_equal_credits_and_every_reversal_undoes_its_movement(kind: str, order: Order) -> None:
    opposite = {
        ledger.REFUND_REVERSAL: ledger.REFUND, ledger.DISPUTE_REINSTATED: ledger.DISPUTE_WITHDRAWN,
        ledger.FEE_REVERSAL: ledger.FEE,
    }  # fmt: skip
    with transaction() as conn:
        post(conn, order, kind)
        row = conn.execute(select(ledger.transfers)).one()
    assert (row.debit, row.credit) == ledger.ACCOUNTS[kind]
    assert ledger.STRIPE_BALANCE in (row.debit, row.credit)
    if kind in opposite:
        assert ledger.ACCOUNTS[kind] == ledger.ACCOUNTS[opposite[kind]][::-1]


@pytest.mark.parametrize("amount", [0, -1])
def test_an_amount_that_is_not_positive_is_refused_by_the_database(amount: int, order: Order) -> None:
    with pytest.raises(IntegrityError), transaction() as conn:
        post(conn, order, amount=amount)


def test_a_posting_of_no_order_an_unknown_kind_or_one_side_is_refused_by_the_database(order: Order) -> None:
    def insert(**values: object) -> None:
        whole = {
            "id": new_id(), "account_id": "acme", "order_id": order.id, "kind": "fee", "cause": "ch_1",
            "currency": "usd", "debit": "fees", "credit": "stripe_balance", "amount": 1,
            "posted_at": order.created_at, **values,
        }  # fmt: skip
        with transaction() as conn:
            conn.execute(ledger.transfers.insert().values(**whole))

    for wrong in ({"order_id": new_id()}, {"kind": "gift"}, {"credit": "fees"}):
        with pytest.raises(IntegrityError):
            insert(**wrong)
    insert()
    with pytest.raises(IntegrityError):
        insert(cause="ch_1", id=new_id())
    assert rows() == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_transfers SET amount = 1",
        "UPDATE ledger_transfers SET posted_at = posted_at",
        "UPDATE ledger_transfers SET cause = 'pi_2' WHERE cause = 'pi_1'",
        "DELETE FROM ledger_transfers",
        "DELETE FROM ledger_transfers WHERE amount > 0",
    ],
)
def test_what_stands_in_the_ledger_is_neither_changed_nor_removed(statement: str, order: Order) -> None:
    with transaction() as conn:
        post(conn, order)
    with pytest.raises(DBAPIError, match="append-only"), transaction() as conn:
        conn.exec_driver_sql(statement)
    with reading() as conn:
        assert shop.postings(conn, order) == [(ledger.PAYMENT, 1000)]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("statement", ["TRUNCATE ledger_transfers", "TRUNCATE orders CASCADE"])
def test_the_ledger_cannot_be_truncated(statement: str, order: Order) -> None:
    with transaction() as conn:
        post(conn, order)
    with pytest.raises(DBAPIError, match="append-only"), transaction() as conn:
        conn.exec_driver_sql(statement)
    assert rows() == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("verb", ["REPLACE", "INSERT OR REPLACE"])
def test_a_row_of_the_ledger_cannot_be_replaced(verb: str, order: Order) -> None:
    with transaction() as conn:
        post(conn, order)
    copied = "account_id, order_id, kind, cause, currency, debit, credit, 1, posted_at FROM ledger_transfers"
    for new in ("id", f"'{new_id().replace('-', '')}'"):
        with pytest.raises(DBAPIError, match="append-only"), transaction() as conn:
            conn.exec_driver_sql(f"{verb} INTO ledger_transfers SELECT {new}, {copied}")
    with reading() as conn:
        assert shop.postings(conn, order) == [(ledger.PAYMENT, 1000)]


def test_an_order_with_money_cannot_be_deleted(order: Order) -> None:
    with transaction() as conn:
        post(conn, order)
    with pytest.raises(IntegrityError), transaction() as conn:
        conn.exec_driver_sql("DELETE FROM orders")
