"""The whole way of an order over HTTP: the same on every database and every broker."""

from __future__ import annotations

from typing import Any

from tests.e2e.shop import TOTAL, Shop


def walk(shop: Shop) -> None:
    """An order is checked out, paid, refunded in part and in full, and counted; every step can be seen."""
    placed = shop.order(email="walk@example.com")
    client_secret = _check_out(shop, placed["id"])
    assert shop.pay(client_secret)["status"] == "succeeded"
    _see_it_paid(shop, placed["id"])
    _refund(shop, placed["id"])
    _count(shop, placed)
    _see_every_job(shop, placed["id"])
    assert shop.moved(placed["id"]) == [("payment", TOTAL), ("refund", -500), ("refund", 500 - TOTAL)]


def _check_out(shop: Shop, order_id: str) -> str:
    accepted = shop.checkout(order_id, Idempotency_Key=f"checkout-{order_id}")
    assert (accepted.status, accepted.headers["location"]) == (202, accepted.body["status_url"])
    job = shop.job_done(accepted.body["job_id"])
    assert job["status"] == "succeeded"
    again = shop.checkout(order_id, Idempotency_Key=f"checkout-{order_id}", Prefer="wait=30")
    assert (again.status, again.body["job_id"]) == (200, job["id"])
    assert again.body["client_secret"] == job["result"]["client_secret"]
    assert shop.get(f"/orders/{order_id}")["status"] == "awaiting_payment"
    client_secret: str = again.body["client_secret"]
    return client_secret


def _see_it_paid(shop: Shop, order_id: str) -> None:
    order = shop.until(order_id, "paid")
    [payment] = order["payments"]
    assert (payment["status"], payment["amount"]) == ("succeeded", TOTAL)
    assert shop.checkout(order_id).status == 409


def _refund(shop: Shop, order_id: str) -> None:
    part = shop.refund(order_id, "part", amount=500, reason="requested_by_customer")
    assert (part.status, part.body["amount"]) == (200, 500)
    assert shop.refund(order_id, "part", amount=500, reason="requested_by_customer").body == part.body
    assert shop.get(f"/orders/{order_id}")["status"] == "partially_refunded"
    assert shop.refund(order_id, "too much", amount=TOTAL).status == 422
    rest = shop.refund(order_id, "rest")
    assert (rest.status, rest.body["amount"]) == (200, TOTAL - 500)
    assert shop.until(order_id, "refunded")["refunds"][0]["reason"] == "requested_by_customer"


def _count(shop: Shop, placed: dict[str, Any]) -> None:
    [usd] = shop.get(f"/users/{placed['user_id']}/statistics")["currencies"]
    assert usd == {"currency": "usd", "total_orders": 1, "paid_orders": 1, "total_spent": 0, "avg_order": 0}
    day = placed["created_at"][:10]
    before = shop.ask("POST", "/statistics/recompute", Prefer="wait=30")
    assert before.status == 200, before
    found = shop.get(f"/statistics?from={day}&to={day}&currency=usd")
    assert found["series"][0]["day"] == day
    [total] = found["totals"]
    assert total["paid_orders"] >= 1
    assert total["net"] == total["gross"] - total["refunded"]


def _see_every_job(shop: Shop, order_id: str) -> None:
    summaries = shop.get(f"/orders/{order_id}")["jobs"]
    assert {"payments.create", "refunds.create", "webhooks.process"} == {job["kind"] for job in summaries}
    for summary in summaries:
        job = shop.job_done(summary["id"])
        said = [event["what"] for event in job["timeline"]]
        assert (said[0], said[-1]) == ("accepted", "succeeded")
        assert "claimed" in said
        if job["kind"] != "webhooks.process":
            asked = [event["data"] for event in job["timeline"] if event["what"] == "Stripe answered"]
            assert all(answer["stripe_request_id"].startswith("req_") for answer in asked)
            assert asked
