from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Barrier
from typing import Any

import pytest
from flask import Flask

from core.database import transaction
from core.domain import jobs, statistics
from tests.web.shop import NOWHERE, Recorder, Shop, counts, end_job
from web import hints


def test_a_customers_numbers_are_counted_per_currency(shop: Shop) -> None:
    placed = shop.paid_order()
    shop.order(currency="eur")

    shown = shop.get(f"/users/{placed['user_id']}/statistics").get_json()

    assert shown["user_id"] == placed["user_id"]
    assert shown["as_of"].endswith("Z")
    assert shown["currencies"] == [
        {"currency": "eur", "total_orders": 1, "paid_orders": 0, "total_spent": 0, "avg_order": 0},
        {"currency": "usd", "total_orders": 1, "paid_orders": 1, "total_spent": 2500, "avg_order": 2500},
    ]


def test_an_unknown_customer_or_another_accounts_is_not_found(shop: Shop, rival: Shop) -> None:
    stranger = rival.order()["user_id"]

    for user_id in (NOWHERE, "7", stranger):
        assert shop.get(f"/users/{user_id}/statistics").status_code == 404


def test_the_shops_days_are_shown_as_last_rebuilt(shop: Shop, rival: Shop) -> None:
    day = shop.paid_order()["created_at"][:10]
    rival.paid_order()
    path = f"/statistics?from={day}&to={day}"
    assert shop.get(path).get_json() == {"as_of": None, "series": [], "totals": []}
    with transaction() as conn:
        statistics.rebuild(conn, "default")

    shown = shop.get(path).get_json()

    total = {"currency": "usd", "orders": 1, "paid_orders": 1, "gross": 2500, "refunded": 0, "net": 2500}
    assert shown["as_of"].endswith("Z")
    assert (shown["series"], shown["totals"]) == ([{**total, "day": day}], [total])
    assert shop.get(f"{path}&currency=EUR").get_json()["series"] == []
    assert shop.get(f"{path}&currency=USD").get_json()["totals"] == [total]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "from"),
        ("from=2026-01-01", "to"),
        ("from=2026-01-02&to=2026-01-01", "body"),
        ("from=2025-01-01&to=2026-01-02", "body"),
        ("from=2026-02-30&to=2026-03-01", "from"),
        ("from=yesterday&to=2026-03-01", "from"),
        ("from=1767225600&to=2026-03-01", "from"),
        ("from=20260101&to=2026-03-01", "from"),
        ("from=2026-01-01T00&to=2026-03-01", "from"),
        ("from=2026-01-01&to=2026-01-02&day=3", "day"),
        ("from=2026-01-01&from=2026-01-02&to=2026-01-02", "from"),
        ("from=2026-01-01&to=2026-01-02&currency=usdd", "currency"),
    ],
)
def test_a_wrong_period_is_refused(shop: Shop, query: str, field: str) -> None:
    response = shop.get(f"/statistics?{query}")

    assert (response.status_code, response.get_json()["type"]) == (422, "/problems/validation-failed")
    assert field in [error["field"] for error in response.get_json()["errors"]]


def test_a_currency_that_is_none_is_refused(shop: Shop) -> None:
    response = shop.get("/statistics?from=2026-01-01&to=2026-01-02&currency=xxx")

    assert (response.status_code, response.get_json()["type"]) == (422, "/problems/unknown-currency")


def test_a_year_and_a_day_of_a_leap_year_is_shown(shop: Shop) -> None:
    assert (date(2028, 12, 31) - date(2028, 1, 1)).days + 1 == 366
    assert shop.get("/statistics?from=2028-01-01&to=2028-12-31").status_code == 200


def test_twenty_requests_with_one_key_make_one_rebuild_without_a_lock_to_wait_for(app: Flask, shop: Shop) -> None:
    start = Barrier(20)

    def ask(_number: int) -> tuple[int, str]:
        start.wait()
        headers = {**shop.auth, "Idempotency-Key": "k"}
        response = app.test_client().post("/statistics/recompute", headers=headers)
        return response.status_code, response.get_json().get("job_id")

    with ThreadPoolExecutor(20) as pool:
        answers = set(pool.map(ask, range(20)))

    assert [status for status, _ in answers] == [202]
    assert counts()["jobs"] == 1


@pytest.mark.parametrize("body", [None, {}])
def test_a_rebuild_is_a_job_like_any_other(shop: Shop, hinted: Recorder, body: Any) -> None:
    first = shop.post("/statistics/recompute", body, Idempotency_Key="k")
    second = shop.post("/statistics/recompute", body, Idempotency_Key="k")

    job_id = first.get_json()["job_id"]
    assert (first.status_code, second.get_json()["job_id"]) == (202, job_id)
    assert hints.publisher().flush()
    assert hinted.messages[0] == (jobs.STATISTICS_RECOMPUTE, [job_id])
    end_job(job_id, result={"rows": 3})
    done = shop.post("/statistics/recompute", body, Idempotency_Key="k", Prefer="wait=5")
    assert (done.status_code, done.get_json()) == (200, {"job_id": job_id, "status": "succeeded"})
    assert counts()["jobs"] == 1
