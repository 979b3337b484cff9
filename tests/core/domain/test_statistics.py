"""Statistics: per customer, per day in UTC, never across currencies, and the same however often they are rebuilt."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import func, select

from core.database import engine, reading, transaction
from core.domain import jobs, ledger, orders, statistics
from core.domain.orders import Order
from core.domain.statistics import CurrencyTotal, Day, ShopStatistics, UserCurrency
from core.errors import Unprocessable
from tests.core.domain import shop
from tests.core.domain.clocks import DatabaseClock
from tests.core.domain.racing import race

pytestmark = pytest.mark.usefixtures("database_url")

DAYS = (date(2026, 1, 1), date(2026, 12, 31))


def of_user(order: Order, account_id: str = shop.ACCOUNT) -> tuple[UserCurrency, ...]:
    with reading() as conn:
        return statistics.of_user(conn, account_id, order.user_id).currencies


def rebuild(account_id: str = shop.ACCOUNT) -> int:
    with transaction() as conn:
        return statistics.rebuild(conn, account_id)


def of_shop(
    days: tuple[date, date] = DAYS, currency: str | None = None, account_id: str = shop.ACCOUNT
) -> ShopStatistics:
    with reading() as conn:
        return statistics.of_shop(conn, account_id, *days, currency)


# -- a customer


def test_a_customer_without_orders_has_no_currencies() -> None:
    with transaction() as conn:
        user = shop.customer(conn)
        found = statistics.of_user(conn, shop.ACCOUNT, user.id)
    assert (found.user_id, found.currencies) == (user.id, ())
    assert found.as_of.tzinfo is not None


def test_a_customers_money_is_what_was_captured_less_what_was_refunded() -> None:
    with transaction() as conn:
        first, _ = shop.paid(conn, 1000)
        shop.paid(conn, 501)
        shop.place(conn, 7777)
        shop.refunded(conn, first, 300)
    assert of_user(first) == (
        UserCurrency("usd", total_orders=3, paid_orders=2, total_spent=1201, avg_order=601),  # 600.5, half up
    )


def test_an_average_of_nothing_paid_is_zero() -> None:
    with transaction() as conn:
        order = shop.place(conn)
    assert of_user(order) == (UserCurrency("usd", 1, 0, 0, 0),)


def test_currencies_are_never_added() -> None:
    with transaction() as conn:
        order, _ = shop.paid(conn, 1000, "usd")
        shop.paid(conn, 2000, "jpy")
        shop.place(conn, 3000, "eur")
    assert of_user(order) == (
        UserCurrency("eur", 1, 0, 0, 0), UserCurrency("jpy", 1, 1, 2000, 2000), UserCurrency("usd", 1, 1, 1000, 1000),
    )  # fmt: skip


def test_a_refund_that_failed_later_counts_as_if_it_never_was() -> None:
    with transaction() as conn:
        order, _ = shop.paid(conn, 1000)
        refund = shop.refunded(conn, order)
    assert of_user(order)[0].total_spent == 0
    with transaction() as conn:
        shop.see_refund(conn, refund, shop.refund_at_stripe(refund, "failed"))
    assert of_user(order) == (UserCurrency("usd", 1, 1, 1000, 1000),)


def test_a_dispute_is_neither_a_payment_nor_a_refund(clock: DatabaseClock) -> None:
    clock.set(datetime(2026, 5, 5, 12, tzinfo=UTC))
    with transaction() as conn:
        order, _ = shop.paid(conn, 1000)
        unpaid = shop.place(conn)
    clock.forward(86_400)
    with transaction() as conn:
        for number, one in enumerate((order, unpaid)):
            ledger.post(
                conn, ledger.DISPUTE_WITHDRAWN, cause=f"du_{number}", account_id=one.account_id, order_id=one.id,
                currency="usd", amount=1000,
            )  # fmt: skip
    assert of_user(order) == (UserCurrency("usd", 2, 1, 1000, 1000),)
    rebuild()
    assert of_shop().series == (Day(date(2026, 5, 5), "usd", 2, 1, 1000, 0, 1000),)


def test_each_account_and_customer_counts_for_itself() -> None:
    with transaction() as conn:
        mine = shop.place(conn)
        shop.place(conn, email="bob@example.com")
        shop.place(conn, account_id="other")
    assert [one.total_orders for one in of_user(mine)] == [1]
    assert of_user(mine, "other") == ()


def test_the_sum_of_very_large_amounts_is_exact() -> None:
    with transaction() as conn:
        order, _ = shop.paid(conn, 99_999_999)
        for _ in range(30):
            shop.paid(conn, 99_999_999)
    assert of_user(order)[0].total_spent == 31 * 99_999_999  # more than 32 bits hold
    rebuild()
    [day] = of_shop((date(2000, 1, 1), date(2999, 1, 1))).totals
    assert (day.gross, type(day.gross)) == (31 * 99_999_999, int)


# -- the shop


def test_before_the_first_rebuild_there_is_nothing_and_no_time() -> None:
    with transaction() as conn:
        shop.paid(conn)
    assert of_shop() == ShopStatistics(None, (), ())


def test_money_counts_on_the_utc_day_on_which_it_moved(clock: DatabaseClock) -> None:
    clock.set(datetime(2026, 1, 31, 23, 59, 50, tzinfo=UTC))
    with transaction() as conn:
        order, payment = shop.checked_out(conn, 1000)
        shop.paid(conn, 500)
    clock.set(datetime(2026, 2, 1, 0, 0, 5, tzinfo=UTC))
    with transaction() as conn:
        shop.see(conn, payment, shop.intent(payment, "succeeded"))
    clock.set(datetime(2026, 2, 2, 12, tzinfo=UTC))
    with transaction() as conn:
        shop.refunded(conn, order, 400)
    assert rebuild() == 3
    january, february, later = date(2026, 1, 31), date(2026, 2, 1), date(2026, 2, 2)
    found = of_shop()
    assert found.series == (
        Day(january, "usd", orders=2, paid_orders=1, gross=500, refunded=0, net=500),
        Day(february, "usd", orders=0, paid_orders=1, gross=1000, refunded=0, net=1000),
        Day(later, "usd", orders=0, paid_orders=0, gross=0, refunded=400, net=-400),
    )
    assert found.totals == (CurrencyTotal("usd", orders=2, paid_orders=2, gross=1500, refunded=400, net=1100),)
    assert found.as_of is not None
    assert abs(found.as_of - clock.now()) < timedelta(seconds=30)
    assert of_shop((february, february)).series == found.series[1:2]
    assert of_shop((january, february)).series == found.series[:2]
    assert of_shop((date(2026, 3, 1), date(2026, 3, 31))).totals == ()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_session_in_another_timezone_counts_the_same_days(clock: DatabaseClock) -> None:
    clock.set(datetime(2026, 1, 31, 23, 59, 30, tzinfo=UTC))
    with transaction() as conn:
        conn.exec_driver_sql("SET LOCAL TIME ZONE 'Pacific/Kiritimati'")  # tomorrow already
        shop.paid(conn)
        statistics.rebuild(conn, shop.ACCOUNT)
    assert [day.day for day in of_shop().series] == [date(2026, 1, 31)]


def test_a_reversal_counts_on_the_day_on_which_the_money_came_back(clock: DatabaseClock) -> None:
    clock.set(datetime(2026, 1, 1, 12, tzinfo=UTC))
    with transaction() as conn:
        order, _ = shop.paid(conn, 1000)
        refund = shop.refunded(conn, order)
    clock.set(datetime(2026, 1, 9, 12, tzinfo=UTC))
    with transaction() as conn:
        shop.see_refund(conn, refund, shop.refund_at_stripe(refund, "failed"))
    rebuild()
    found = of_shop()
    assert [(day.day.day, day.gross, day.refunded, day.net) for day in found.series] == [
        (1, 1000, 1000, 0), (9, 0, -1000, 1000),
    ]  # fmt: skip
    assert [(one.gross, one.refunded, one.net) for one in found.totals] == [(1000, 0, 1000)]


def test_series_and_totals_are_per_currency_and_can_be_narrowed_to_one(clock: DatabaseClock) -> None:
    clock.set(datetime(2026, 5, 5, 12, tzinfo=UTC))
    with transaction() as conn:
        shop.paid(conn, 1000, "usd")
        shop.paid(conn, 3000, "jpy")
    rebuild()
    assert [(one.currency, one.gross) for one in of_shop().totals] == [("jpy", 3000), ("usd", 1000)]
    only = of_shop(currency="usd")
    assert [day.currency for day in only.series] == ["usd"]
    assert [one.currency for one in only.totals] == ["usd"]


def test_a_rebuild_replaces_what_it_counted_before(clock: DatabaseClock) -> None:
    clock.set(datetime(2026, 5, 5, 12, tzinfo=UTC))
    with transaction() as conn:
        shop.paid(conn)
    rebuild()
    first = of_shop()
    clock.forward(60)
    rebuild()
    assert of_shop().series == first.series
    assert first.as_of is not None
    assert of_shop().as_of == pytest.approx(first.as_of + timedelta(seconds=60), abs=timedelta(seconds=20))
    with transaction() as conn:
        conn.execute(statistics.daily_statistics.update().values(gross=1, day=date(2026, 5, 6)))  # it went wrong once
    rebuild()
    assert of_shop().series == first.series


def test_each_account_is_rebuilt_for_itself(clock: DatabaseClock) -> None:
    clock.set(datetime(2026, 5, 5, 12, tzinfo=UTC))
    with transaction() as conn:
        shop.place(conn)
        theirs = shop.place(conn, account_id="other")
        ledger.post(
            conn, ledger.PAYMENT, cause="pi_1", account_id="other", order_id=theirs.id, currency="usd", amount=1000
        )
        assert sorted(statistics.accounts(conn)) == ["acme", "other"]
    rebuild("other")
    assert of_shop().as_of is None
    rebuild()
    rebuild("other")
    assert [(day.orders, day.gross) for day in of_shop().series] == [(1, 0)]
    assert [(day.orders, day.gross) for day in of_shop(account_id="other").series] == [(1, 1000)]


def test_an_account_without_orders_is_rebuilt_to_nothing() -> None:
    assert rebuild("nobody") == 0
    assert of_shop(account_id="nobody").as_of is not None


def test_rebuilds_at_once_do_not_get_into_each_others_way(clock: DatabaseClock) -> None:
    clock.set(datetime(2026, 5, 5, 12, tzinfo=UTC))
    with transaction() as conn:
        shop.paid(conn)
    assert race(8, lambda _: [rebuild() for _ in range(3)]) == [[1, 1, 1]] * 8
    assert [(day.orders, day.gross) for day in of_shop().series] == [(1, 1000)]


def test_a_recompute_is_a_job_of_the_account_and_its_key_counts() -> None:
    with transaction() as conn:
        first = statistics.request_recompute(conn, account_id="acme", request=shop.request("k"))
        again = statistics.request_recompute(conn, account_id="acme", request=shop.request("k"))
        job = jobs.find(conn, first.job_id)
    assert (first.kind, first.fresh, again.job_id, again.fresh) == (
        jobs.STATISTICS_RECOMPUTE, True, first.job_id, False,
    )  # fmt: skip
    assert job is not None
    assert (job.args, job.account_id) == ({"account_id": "acme"}, "acme")
    with pytest.raises(Unprocessable), transaction() as conn:
        statistics.request_recompute(conn, account_id="acme", request=shop.request("k", "other"))


def test_an_unpaid_order_counts_as_placed_only(clock: DatabaseClock) -> None:
    clock.set(datetime(2026, 5, 5, 12, tzinfo=UTC))
    with transaction() as conn:
        order = shop.place(conn)
        orders.move(conn, order, orders.CANCELED)
    rebuild()
    assert of_shop().series == (Day(date(2026, 5, 5), "usd", 1, 0, 0, 0, 0),)


# -- only what can have changed


def refresh(account_id: str = shop.ACCOUNT) -> int:
    with transaction() as conn:
        return statistics.refresh(conn, account_id)


def test_a_refresh_counts_the_days_that_can_have_changed_and_leaves_the_others(clock: DatabaseClock) -> None:
    clock.set(datetime(2026, 5, 5, 12, tzinfo=UTC))
    with transaction() as conn:
        order, _ = shop.paid(conn, 1000)
    assert refresh() == 1  # the first time counts everything
    clock.set(datetime(2026, 5, 6, 12, tzinfo=UTC))
    assert refresh() == 1
    clock.set(datetime(2026, 5, 7, 12, tzinfo=UTC))
    with transaction() as conn:
        conn.execute(statistics.daily_statistics.update().values(orders=7))
        shop.refunded(conn, order, 400)
    assert refresh() == 1
    assert [(day.day.day, day.orders, day.net) for day in of_shop().series] == [(5, 7, 1000), (7, 0, -400)]
    assert rebuild() == 2  # whoever asks for a rebuild gets one
    assert [(day.day.day, day.orders, day.net) for day in of_shop().series] == [(5, 1, 1000), (7, 0, -400)]


def test_around_midnight_both_days_are_counted(clock: DatabaseClock) -> None:
    clock.set(datetime(2026, 5, 5, 23, 59, 30, tzinfo=UTC))
    with transaction() as conn:
        shop.paid(conn, 1000)
    refresh()
    with transaction() as conn:
        shop.paid(conn, 500)
    clock.set(datetime(2026, 5, 6, 0, 0, 30, tzinfo=UTC))
    with transaction() as conn:
        shop.paid(conn, 50)
    refresh()
    refresh()
    assert [(day.day.day, day.orders, day.gross) for day in of_shop().series] == [(5, 2, 1500), (6, 1, 50)]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_what_commits_late_is_counted_on_the_day_on_which_it_was_written(clock: DatabaseClock) -> None:
    late = engine().connect()
    late.begin()
    written = late.execute(select(func.statement_timestamp())).scalar_one()
    clock.set(written)
    shop.paid(late, 1000)
    for days in (0, 3):  # it stays open for days, and the job runs on
        clock.set(written + timedelta(days=days))
        assert refresh() == 0
    late.commit()
    late.close()
    clock.set(written + timedelta(days=4))
    assert refresh() == 1
    counted = of_shop((date(2000, 1, 1), date(2999, 1, 1))).series
    assert [(day.day, day.gross) for day in counted] == [(written.astimezone(UTC).date(), 1000)]


def test_refreshes_and_rebuilds_at_once_miss_nothing() -> None:
    def add_and_count(number: int) -> None:
        for _ in range(3):
            with transaction() as conn:
                shop.paid(conn, 1000)
            (refresh if number % 2 else rebuild)()

    race(6, add_and_count)
    refresh()
    [total] = of_shop((date(2000, 1, 1), date(2999, 1, 1))).totals
    assert (total.orders, total.paid_orders, total.gross) == (18, 18, 18_000)
