from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask import Flask

from core.domain import jobs
from tests.web.shop import Recorder, Shop, counts, end_job, make_key
from web import hints


def test_a_refund_is_accepted_reserved_and_hinted(shop: Shop, hinted: Recorder) -> None:
    order_id = shop.paid_order()["id"]

    response = shop.post(
        f"/orders/{order_id}/refunds", {"amount": 500, "reason": "requested_by_customer"}, Idempotency_Key="r-1"
    )

    job_id = response.get_json()["job_id"]
    assert response.status_code == 202
    assert hints.publisher().flush()
    assert (jobs.REFUND_CREATE, [job_id]) in hinted.messages
    [refund] = shop.get(f"/orders/{order_id}").get_json()["refunds"]
    assert (refund["amount"], refund["currency"], refund["reason"]) == (500, "usd", "requested_by_customer")


def test_without_an_amount_all_that_is_left_is_refunded(shop: Shop) -> None:
    order_id = shop.paid_order()["id"]
    shop.post(f"/orders/{order_id}/refunds", {"amount": 500}, Idempotency_Key="r-1")

    assert shop.post(f"/orders/{order_id}/refunds", Idempotency_Key="r-2").status_code == 202
    amounts = [refund["amount"] for refund in shop.get(f"/orders/{order_id}").get_json()["refunds"]]
    assert amounts == [500, 2000]


def test_a_refund_needs_a_key(shop: Shop) -> None:
    order_id = shop.paid_order()["id"]
    before = counts()

    response = shop.post(f"/orders/{order_id}/refunds", {"amount": 500})

    assert (response.status_code, response.get_json()["type"]) == (400, "/problems/idempotency-key-required")
    assert counts() == before


def test_a_repeated_refund_is_one_refund(shop: Shop) -> None:
    order_id = shop.paid_order()["id"]

    first = shop.post(f"/orders/{order_id}/refunds", {"amount": 500}, Idempotency_Key="r")
    second = shop.post(f"/orders/{order_id}/refunds", {"amount": 500}, Idempotency_Key="r")
    other = shop.post(f"/orders/{order_id}/refunds", {"amount": 501}, Idempotency_Key="r")

    assert first.get_json() == second.get_json()
    assert (other.status_code, other.get_json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert counts()["refunds"] == 1


def test_a_repeated_refund_answers_its_result_once_it_is_done(shop: Shop) -> None:
    order_id = shop.paid_order()["id"]
    job_id = shop.post(f"/orders/{order_id}/refunds", {"amount": 500}, Idempotency_Key="r").get_json()["job_id"]
    result = {
        "order_id": order_id,
        "refund_id": "019b7a5f-20aa-7b55-b2c3-d4e5f6071829",
        "stripe_refund_id": "re_1",
        "amount": 500,
        "currency": "usd",
        "status": "succeeded",
    }
    end_job(job_id, result=result)

    response = shop.post(f"/orders/{order_id}/refunds", {"amount": 500}, Idempotency_Key="r")

    assert (response.status_code, response.get_json()) == (200, {**result, "job_id": job_id})


@pytest.mark.parametrize("amount", [0, -5, 500.0, True, "500", 100_000_000, [500]])
def test_an_amount_that_is_no_amount_is_refused(shop: Shop, amount: Any) -> None:
    order_id = shop.paid_order()["id"]
    before = counts()

    response = shop.post(f"/orders/{order_id}/refunds", {"amount": amount}, Idempotency_Key="r")

    assert response.status_code == 422
    assert response.get_json()["errors"][0]["field"] == "amount"
    assert counts() == before


@pytest.mark.parametrize("body", [{"reason": "because"}, {"currency": "usd"}])
def test_a_reason_that_stripe_does_not_know_and_unknown_fields_are_refused(shop: Shop, body: Any) -> None:
    order_id = shop.paid_order()["id"]
    before = counts()

    assert shop.post(f"/orders/{order_id}/refunds", body, Idempotency_Key="r").status_code == 422
    assert counts() == before


def test_more_than_is_left_is_refused(shop: Shop) -> None:
    order_id = shop.paid_order()["id"]
    shop.post(f"/orders/{order_id}/refunds", {"amount": 2000}, Idempotency_Key="r-1")
    before = counts()

    response = shop.post(f"/orders/{order_id}/refunds", {"amount": 501}, Idempotency_Key="r-2")

    assert (response.status_code, response.get_json()["type"]) == (422, "/problems/refund-exceeds-payment")
    assert counts() == before


def test_what_is_refunded_already_cannot_be_refunded_again(shop: Shop) -> None:
    order_id = shop.paid_order()["id"]
    shop.post(f"/orders/{order_id}/refunds", Idempotency_Key="r-1")

    response = shop.post(f"/orders/{order_id}/refunds", Idempotency_Key="r-2")

    assert (response.status_code, response.get_json()["type"]) == (409, "/problems/order-refunded")
    assert counts()["refunds"] == 1


def test_an_unpaid_order_cannot_be_refunded(shop: Shop) -> None:
    order_id = shop.order()["id"]
    before = counts()

    response = shop.post(f"/orders/{order_id}/refunds", {"amount": 500}, Idempotency_Key="r")

    assert (response.status_code, response.get_json()["type"]) == (409, "/problems/order-not-paid")
    assert counts() == before


def test_racing_refunds_never_exceed_what_was_paid(app: Flask, shop: Shop) -> None:
    path = f"/orders/{shop.paid_order()['id']}/refunds"
    start = Barrier(10)

    def ask(number: int) -> int:
        start.wait()
        racer = Shop(app.test_client(), shop.auth["Authorization"].removeprefix("Bearer "), shop.account_id)
        return racer.post(path, {"amount": 1000}, Idempotency_Key=f"r-{number}").status_code

    with ThreadPoolExecutor(10) as pool:
        answers = sorted(pool.map(ask, range(10)))

    assert answers == [202] * 2 + [422] * 8
    assert counts()["refunds"] == 2


def test_a_refund_needs_its_scope(app: Flask, shop: Shop) -> None:
    order_id = shop.paid_order()["id"]
    cashier = Shop(app.test_client(), make_key("default", "checkout", "read"), "default")

    response = cashier.post(f"/orders/{order_id}/refunds", Idempotency_Key="r")

    assert response.status_code == 403
    assert "'refund'" in response.get_json()["detail"]
    assert counts()["refunds"] == 0
