"""The statistics' rebuild, which may stop anywhere and be done again."""

from __future__ import annotations

from datetime import date

from core.database import reading
from core.domain import jobs, statistics
from core.domain.statistics import CurrencyTotal
from tests.worker.crashes import KillAt
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe

ALL = date(2000, 1, 1), date(2100, 1, 1)


def totals(account_id: str) -> tuple[CurrencyTotal, ...]:
    with reading() as conn:
        return statistics.of_shop(conn, account_id, *ALL).totals


def test_a_scheduled_rebuild_counts_every_account(shop: Shop, stripe: Stripe) -> None:
    other = Shop(account_id="another")
    order = shop.paid_order(stripe, 1050)
    shop.work(shop.refund(order, 250))
    other.order(700)
    [job] = shop.work(shop.enqueue(jobs.STATISTICS_RECOMPUTE))
    assert job.result == {"accounts": 2, "rows": 2}
    assert totals("default") == (CurrencyTotal("usd", 1, 1, 1050, 250, 800),)
    assert totals("another") == (CurrencyTotal("usd", 1, 0, 0, 0, 0),)


def test_a_rebuild_that_an_account_asked_for_is_of_that_account(shop: Shop) -> None:
    shop.order()
    Shop(account_id="another").order()
    [job] = shop.work(shop.enqueue(jobs.STATISTICS_RECOMPUTE, account_id="another"))
    assert job.result == {"accounts": 1, "rows": 1}
    assert totals("default") == ()


def test_a_worker_that_dies_between_accounts_counts_nothing_twice(shop: Shop, kill_at: KillAt) -> None:
    shop.order()
    Shop(account_id="another").order()
    killed = kill_at("statistics.rebuilt")
    shop.enqueue(jobs.STATISTICS_RECOMPUTE)
    shop.work_off()
    assert killed
    assert [total.orders for account in ("default", "another") for total in totals(account)] == [1, 1]
