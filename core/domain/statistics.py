"""Statistics per customer and per day, never across currencies.

A customer's numbers are counted when asked. The shop's days are a table that a job brings up to date, so `as_of`
says how fresh they are. It counts again only the days that can have changed: an order or a posting belongs to the
day on which it was written, so nothing appears before the moment up to which everything was written already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    String,
    Table,
    case,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Date

from core.database import Timestamp, insert_into, metadata, now
from core.domain import jobs
from core.domain.ledger import PAYMENT, REFUND, REFUND_REVERSAL, transfers
from core.domain.orders import orders

daily_statistics = Table(
    "daily_statistics",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("day", Date, primary_key=True, comment="UTC"),
    Column("currency", String(3), primary_key=True),
    Column("orders", Integer, nullable=False, comment="orders placed on that day"),
    Column("paid_orders", Integer, nullable=False, comment="orders paid on that day"),
    Column("gross", BigInteger, nullable=False, comment="captured on that day, minor units"),
    Column("refunded", BigInteger, nullable=False, comment="refunded on that day, minor units"),
)
statistics_runs = Table(
    "statistics_runs",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("as_of", Timestamp, nullable=False),
    Column("complete_to", Timestamp, comment="all that was written before is counted"),
)


class utc_day(FunctionElement[str]):  # noqa: N801 - reads as the SQL function that it is
    """The UTC day of a moment, as `YYYY-MM-DD` text."""

    type = String()
    inherit_cache = True


@compiles(utc_day, "postgresql")
def _utc_day_postgresql(element: utc_day, compiler: SQLCompiler, **kw: Any) -> str:
    return f"to_char({compiler.process(element.clauses, **kw)} AT TIME ZONE 'UTC', 'YYYY-MM-DD')"


@compiles(utc_day, "sqlite")
def _utc_day_sqlite(element: utc_day, compiler: SQLCompiler, **kw: Any) -> str:
    return f"substr({compiler.process(element.clauses, **kw)}, 1, 10)"


@dataclass(frozen=True)
class UserCurrency:
    """One currency of a customer; `total_spent` is captured less refunded, `avg_order` that per paid order."""

    currency: str
    total_orders: int
    paid_orders: int
    total_spent: int
    avg_order: int


@dataclass(frozen=True)
class UserStatistics:
    """A customer's numbers; amounts in minor units."""

    user_id: str
    as_of: datetime
    currencies: tuple[UserCurrency, ...]


@dataclass(frozen=True)
class Day:
    """One day (UTC) in one currency; amounts in minor units."""

    day: date
    currency: str
    orders: int
    paid_orders: int
    gross: int
    refunded: int
    net: int


@dataclass(frozen=True)
class CurrencyTotal:
    """A currency's sum over the days asked for; amounts in minor units."""

    currency: str
    orders: int
    paid_orders: int
    gross: int
    refunded: int
    net: int


@dataclass(frozen=True)
class ShopStatistics:
    """The shop's days as last rebuilt; `as_of` is None before the first rebuild."""

    as_of: datetime | None
    series: tuple[Day, ...]
    totals: tuple[CurrencyTotal, ...]


def of_user(conn: Connection, account_id: str, user_id: str) -> UserStatistics:
    """Count a customer's orders and money, per currency."""
    mine = (orders.c.account_id == account_id) & (orders.c.user_id == user_id)
    counted: dict[str, int] = dict(
        conn.execute(select(orders.c.currency, func.count()).where(mine).group_by(orders.c.currency)).all()
    )
    moved = conn.execute(
        select(
            transfers.c.currency,
            func.count(func.distinct(case((transfers.c.kind == PAYMENT, transfers.c.order_id)))).label("paid"),
            _sum(_signed()).label("spent"),
        )
        .join(orders, orders.c.id == transfers.c.order_id)
        .where(mine)
        .group_by(transfers.c.currency)
    ).all()
    money = {row.currency: (row.paid, int(row.spent)) for row in moved}
    return UserStatistics(
        user_id=user_id,
        as_of=conn.execute(select(now())).scalar_one(),
        currencies=tuple(
            UserCurrency(currency, count, paid, spent, _average(spent, paid))
            for currency, count in sorted(counted.items())
            for paid, spent in [money.get(currency, (0, 0))]
        ),
    )


def of_shop(
    conn: Connection, account_id: str, from_day: date, to_day: date, currency: str | None = None
) -> ShopStatistics:
    """The rebuilt days from `from_day` to `to_day`, both included, and their totals per currency."""
    table = daily_statistics.c
    wanted = (table.account_id == account_id) & table.day.between(from_day, to_day)
    if currency:
        wanted = wanted & (table.currency == currency)
    shown = (table.day, table.currency, table.orders, table.paid_orders, table.gross, table.refunded)
    rows = conn.execute(select(*shown).where(wanted).order_by(table.day, table.currency)).all()
    series = tuple(Day(*row, net=row.gross - row.refunded) for row in rows)
    as_of = select(statistics_runs.c.as_of).where(statistics_runs.c.account_id == account_id)
    return ShopStatistics(conn.execute(as_of).scalar(), series, _totals(series))


def request_recompute(conn: Connection, *, account_id: str, request: jobs.Request) -> jobs.Accepted:
    """Accept a rebuild of the account's days.

    Raises:
        Unprocessable: the key belongs to another request.
        jobs.KeyTaken: run the transaction again.
    """
    earlier = jobs.repeated(conn, account_id, request)
    return earlier or jobs.enqueue(
        conn, jobs.STATISTICS_RECOMPUTE, {"account_id": account_id}, account_id, request=request
    )


def accounts(conn: Connection) -> list[str]:
    """The accounts that have orders."""
    return list(conn.execute(select(orders.c.account_id).distinct()).scalars())


def rebuild(conn: Connection, account_id: str) -> int:
    """Count all days of the account anew from its orders and its ledger; returns how many rows that made."""
    _stamp(conn, account_id)  # first: its row lock makes a second rebuild wait, else both would insert the same days
    return _count(conn, account_id, _LONG_AGO)


def refresh(conn: Connection, account_id: str) -> int:
    """Count those days anew that can have changed since the last time; returns how many rows that made."""
    _stamp(conn, account_id)
    mine = statistics_runs.c.account_id == account_id
    complete_to = conn.execute(select(statistics_runs.c.complete_to).where(mine)).scalar()
    return _count(conn, account_id, complete_to - CLOCK_STEPS if complete_to else _LONG_AGO)


def _count(conn: Connection, account_id: str, since: datetime) -> int:
    complete_to = _complete_to(conn)  # before counting: what is written later is counted the next time
    from_ = datetime(since.year, since.month, since.day, tzinfo=UTC)
    days: dict[tuple[str, str], dict[str, int]] = {}
    for day, currency, placed in conn.execute(
        select(utc_day(orders.c.created_at), orders.c.currency, func.count())
        .where(orders.c.account_id == account_id, orders.c.created_at >= from_)
        .group_by(utc_day(orders.c.created_at), orders.c.currency)
    ):
        days.setdefault((day, currency), dict(_NOTHING))["orders"] = placed
    paid = case((transfers.c.kind == PAYMENT, transfers.c.amount), else_=0)
    for day, currency, paid_orders, gross, net in conn.execute(
        select(
            utc_day(transfers.c.posted_at),
            transfers.c.currency,
            func.count(func.distinct(case((transfers.c.kind == PAYMENT, transfers.c.order_id)))),
            _sum(paid),
            _sum(_signed()),
        )
        .where(
            transfers.c.account_id == account_id,
            transfers.c.posted_at >= from_,
            transfers.c.kind.in_((PAYMENT, REFUND, REFUND_REVERSAL)),
        )
        .group_by(utc_day(transfers.c.posted_at), transfers.c.currency)
    ):
        found = days.setdefault((day, currency), dict(_NOTHING))
        found.update(paid_orders=paid_orders, gross=int(gross), refunded=int(gross) - int(net))
    _replace(conn, account_id, from_.date(), days)
    run = update(statistics_runs).where(statistics_runs.c.account_id == account_id)
    conn.execute(run.values(complete_to=complete_to))
    return len(days)


def _complete_to(conn: Connection) -> datetime:
    """The moment before which every transaction of others has ended, so that all they wrote can be seen now.

    A row carries the time of a statement, which is never before the start of its transaction. PostgreSQL shows the
    transactions of its own role, which is the one that writes here; ours is among them.
    """
    moment: datetime = conn.execute(select(now())).scalar_one()
    if conn.dialect.name == "sqlite":
        return moment  # one writer at a time, and that is us
    begun = conn.execute(
        text("SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database()")
    ).scalar()
    return min(moment, begun) if begun else _LONG_AGO


CLOCK_STEPS = timedelta(minutes=10)
"""How far the database's clock may have been set back between two runs."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING = {"orders": 0, "paid_orders": 0, "gross": 0, "refunded": 0}


def _replace(conn: Connection, account_id: str, from_day: date, days: dict[tuple[str, str], dict[str, int]]) -> None:
    counted = (daily_statistics.c.account_id == account_id) & (daily_statistics.c.day >= from_day)
    conn.execute(delete(daily_statistics).where(counted))
    rows = [
        {"account_id": account_id, "day": date.fromisoformat(day), "currency": currency, **numbers}
        for (day, currency), numbers in days.items()
    ]
    if rows:
        conn.execute(insert(daily_statistics), rows)


def _stamp(conn: Connection, account_id: str) -> None:
    upsert = insert_into(conn, statistics_runs).values(account_id=account_id, as_of=now())
    conn.execute(upsert.on_conflict_do_update(index_elements=["account_id"], set_={"as_of": now()}))


def _signed() -> ColumnElement[int]:
    return case(
        (transfers.c.kind.in_((PAYMENT, REFUND_REVERSAL)), transfers.c.amount),
        (transfers.c.kind == REFUND, -transfers.c.amount),
        else_=0,
    )


def _sum(amount: ColumnElement[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(amount), 0)


def _average(total: int, count: int) -> int:
    """Rounded half up, in minor units."""
    return (2 * total + count) // (2 * count) if count else 0


def _totals(series: Sequence[Day]) -> tuple[CurrencyTotal, ...]:
    return tuple(
        CurrencyTotal(
            currency,
            **{
                name: sum(getattr(day, name) for day in series if day.currency == currency)
                for name in ("orders", "paid_orders", "gross", "refunded", "net")
            },
        )
        for currency in sorted({day.currency for day in series})
    )
