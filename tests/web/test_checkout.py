from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread
from time import monotonic, sleep
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from core.database import reading
from core.domain import jobs
from tests.web.shop import Recorder, Shop, counts, end_job, make_key, pay
from web import acceptance, hints, waiting

RESULT = {
    "total": 2500,
    "currency": "usd",
    "client_secret": "pi_1_secret",
    "payment_intent_id": "pi_1",
}


def done(order_id: str) -> dict[str, Any]:
    return {"order_id": order_id, **RESULT}


def test_a_checkout_is_accepted_stored_and_hinted(shop: Shop, hinted: Recorder) -> None:
    order_id = shop.order()["id"]

    response = shop.post(
        f"/orders/{order_id}/checkout", X_Request_Id="web-1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"
    )

    accepted = response.get_json()
    assert response.status_code == 202
    assert accepted["status_url"] == response.headers["Location"] == f"/jobs/{accepted['job_id']}"
    assert (accepted["order_id"], accepted["status"]) == (order_id, "queued")
    assert hints.publisher().flush()
    assert hinted.messages == [(jobs.PAYMENT_CREATE, [accepted["job_id"]])]
    with reading() as conn:
        assert conn.execute(select(jobs.jobs.c.traceparent)).scalar_one() == f"00-{'a' * 32}-{'b' * 16}-01"
    job = shop.get(accepted["status_url"]).get_json()
    assert (job["kind"], job["request_id"], job["order_id"]) == ("payments.create", "web-1", order_id)
    assert [event["what"] for event in job["timeline"]] == ["accepted"]


@pytest.mark.parametrize("sent", [{}, {"data": b"{}", "content_type": "application/json"}, {"data": b""}])
def test_a_checkout_needs_no_body(shop: Shop, sent: dict[str, Any]) -> None:
    order_id = shop.order()["id"]

    assert shop.client.post(f"/orders/{order_id}/checkout", headers=shop.auth, **sent).status_code == 202


def test_an_order_is_the_same_in_capitals(shop: Shop) -> None:
    order_id = shop.order()["id"]

    first = shop.post(f"/orders/{order_id.upper()}/checkout").get_json()
    second = shop.post(f"/orders/{order_id}/checkout").get_json()

    assert first["order_id"] == order_id
    assert first["job_id"] == second["job_id"]
    assert shop.get(f"/jobs/{first['job_id'].upper()}").get_json()["order_id"] == order_id


def test_a_checkout_takes_no_fields(shop: Shop) -> None:
    order_id = shop.order()["id"]

    response = shop.post(f"/orders/{order_id}/checkout", {"amount": 1})

    assert response.status_code == 422
    assert response.get_json()["errors"] == [{"field": "amount", "problem": "is not a field here"}]
    assert counts()["jobs"] == 0


def test_a_repeated_key_gives_the_same_job_and_hints_again(shop: Shop, hinted: Recorder) -> None:
    order_id = shop.order()["id"]

    first = shop.post(f"/orders/{order_id}/checkout", Idempotency_Key="k").get_json()
    second = shop.post(f"/orders/{order_id}/checkout", {}, Idempotency_Key="k").get_json()

    assert first == second
    assert counts()["jobs"] == 1
    assert hints.publisher().flush()
    assert set(hinted.ids) == {first["job_id"]}


def test_a_repeated_key_gives_the_same_result_once_it_is_done(shop: Shop) -> None:
    order_id = shop.order()["id"]
    job_id = shop.post(f"/orders/{order_id}/checkout", Idempotency_Key="k").get_json()["job_id"]
    end_job(job_id, result=done(order_id))

    for _ in range(2):
        response = shop.post(f"/orders/{order_id}/checkout", Idempotency_Key="k")
        assert response.status_code == 200
        assert response.get_json() == {**done(order_id), "job_id": job_id, "test_mode": False}


def test_a_key_of_another_order_is_refused(shop: Shop) -> None:
    first, second = shop.order()["id"], shop.order()["id"]
    shop.post(f"/orders/{first}/checkout", Idempotency_Key="k")

    response = shop.post(f"/orders/{second}/checkout", Idempotency_Key="k")

    assert (response.status_code, response.get_json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert counts()["jobs"] == 1


def test_keys_of_two_accounts_never_meet(shop: Shop, rival: Shop) -> None:
    first = shop.post(f"/orders/{shop.order()['id']}/checkout", Idempotency_Key="k")
    second = rival.post(f"/orders/{rival.order()['id']}/checkout", Idempotency_Key="k")

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.get_json()["job_id"] != second.get_json()["job_id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9", "a\tb"])
def test_a_key_that_is_no_key_is_refused(shop: Shop, key: str) -> None:
    order_id = shop.order()["id"]

    response = shop.post(f"/orders/{order_id}/checkout", Idempotency_Key=key)

    assert (response.status_code, response.get_json()["type"]) == (400, "/problems/idempotency-key-invalid")
    assert counts()["jobs"] == 0


def test_twenty_requests_with_one_key_make_one_job(app: Flask, shop: Shop) -> None:
    path = f"/orders/{shop.order()['id']}/checkout"
    start = Barrier(20)

    def ask(_number: int) -> tuple[int, str]:
        racer = Shop(app.test_client(), shop.auth["Authorization"].removeprefix("Bearer "), shop.account_id)
        start.wait()
        response = racer.post(path, Idempotency_Key="k")
        return response.status_code, response.get_json()["job_id"]

    with ThreadPoolExecutor(20) as pool:
        answers = set(pool.map(ask, range(20)))

    assert [status for status, _ in answers] == [202]
    assert (counts()["jobs"], counts()["payments"]) == (1, 1)


def test_twenty_requests_without_a_key_make_one_live_payment(app: Flask, shop: Shop) -> None:
    path = f"/orders/{shop.order()['id']}/checkout"
    start = Barrier(20)

    def ask(_number: int) -> int:
        start.wait()
        return app.test_client().post(path, headers=shop.auth).status_code

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(ask, range(20))) == {202}

    assert counts()["payments"] == 1


def test_a_paid_order_cannot_be_checked_out(shop: Shop) -> None:
    order_id = shop.paid_order()["id"]
    before = counts()

    response = shop.post(f"/orders/{order_id}/checkout")

    assert (response.status_code, response.get_json()["type"]) == (409, "/problems/order-paid")
    assert counts() == before


def test_the_answer_of_a_checkout_outlives_the_payment(shop: Shop) -> None:
    order_id = shop.order()["id"]
    job_id = shop.post(f"/orders/{order_id}/checkout", Idempotency_Key="k").get_json()["job_id"]
    end_job(job_id, result=done(order_id))
    pay(order_id, shop.account_id)

    assert shop.post(f"/orders/{order_id}/checkout", Idempotency_Key="k").get_json()["job_id"] == job_id


def test_a_waiting_request_answers_with_the_result(shop: Shop) -> None:
    order_id = shop.order()["id"]
    job_id = shop.post(f"/orders/{order_id}/checkout").get_json()["job_id"]
    ending = Thread(target=lambda: _end_once_waited_for(job_id, result=done(order_id)))
    ending.start()

    response = shop.post(f"/orders/{order_id}/checkout", Prefer="wait=30")

    ending.join()
    assert response.status_code == 200
    assert response.headers["Preference-Applied"] == "wait=30"
    assert (response.get_json()["client_secret"], response.get_json()["job_id"]) == ("pi_1_secret", job_id)


def test_a_wait_that_ends_first_answers_202(shop: Shop) -> None:
    order_id = shop.order()["id"]

    response = shop.post(f"/orders/{order_id}/checkout", Prefer="wait=0")

    assert (response.status_code, response.headers["Preference-Applied"]) == (202, "wait=0")


@pytest.mark.parametrize(
    ("preference", "applied"),
    [
        ("respond-async, Wait = 0", "wait=0"),
        ('wait="0"; x=y', "wait=0"),
        ("respond-async", None),
        ("wait=soon", None),
        ("wait=-1", None),
    ],
)
def test_a_preference_is_read_as_rfc_7240_writes_it(shop: Shop, preference: str, applied: str | None) -> None:
    order_id = shop.order()["id"]

    response = shop.post(f"/orders/{order_id}/checkout", Prefer=preference)

    assert (response.status_code, response.headers.get("Preference-Applied")) == (202, applied)


@pytest.mark.parametrize(
    ("status", "error", "answer"),
    [
        ("failed", {"type": "declined", "title": "Declined", "status": 402, "detail": "No."}, 402),
        ("failed", {"type": "order-paid", "title": "Conflict", "status": 409, "detail": "No."}, 409),
        ("failed", {"type": "upstream", "title": "Stripe", "status": 502, "detail": "No."}, 502),
        ("quarantined", None, 500),
        ("needs_review", {"type": "in-doubt", "title": "In doubt", "status": 500, "detail": "No."}, 500),
    ],
)
def test_a_job_that_ended_badly_answers_its_problem(shop: Shop, status: str, error: Any, answer: int) -> None:
    order_id = shop.order()["id"]
    job_id = shop.post(f"/orders/{order_id}/checkout", Idempotency_Key="k").get_json()["job_id"]
    end_job(job_id, status, error=error)

    response = shop.post(f"/orders/{order_id}/checkout", Idempotency_Key="k", Prefer="wait=5")

    assert response.status_code == answer
    assert response.get_json()["job_id"] == job_id
    if error:
        assert response.get_json()["type"] == f"/problems/{error['type']}"


def test_a_wait_is_capped(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "LONGEST_WAIT", 0)
    order_id = shop.order()["id"]

    response = shop.post(f"/orders/{order_id}/checkout", Prefer="wait=999999999")

    assert (response.status_code, response.headers["Preference-Applied"]) == (202, "wait=0")


def test_a_key_belongs_to_its_route(shop: Shop) -> None:
    order_id = shop.paid_order()["id"]

    refund = shop.post(f"/orders/{order_id}/refunds", Idempotency_Key="k")
    rebuild = shop.post("/statistics/recompute", Idempotency_Key="k")

    assert (refund.status_code, rebuild.status_code) == (202, 202)
    assert refund.get_json()["job_id"] != rebuild.get_json()["job_id"]


def test_past_the_cap_a_wait_answers_202_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "waits", waiting.Places(0))
    order_id = shop.order()["id"]

    response = shop.post(f"/orders/{order_id}/checkout", Prefer="wait=30")

    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers


def test_a_key_without_the_scope_is_told_which_is_needed(app: Flask, shop: Shop) -> None:
    order_id = shop.order()["id"]
    reader = Shop(app.test_client(), make_key("default", "read"), "default")

    response = reader.post(f"/orders/{order_id}/checkout")

    assert response.status_code == 403
    assert "'checkout'" in response.get_json()["detail"]
    assert counts()["jobs"] == 0


def _end_once_waited_for(job_id: str, **ended: Any) -> None:
    until = monotonic() + 20
    while monotonic() < until and not waiting.waits.taken:
        sleep(0.005)
    end_job(job_id, **ended)
