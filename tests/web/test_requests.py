"""What holds for every route: bodies, methods, ids, headers, failures."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core import database, monitor
from core.domain import customers, orders
from tests.web.shop import ORDER, Shop, counts
from web.parsing import MAX_BODY


def post(shop: Shop, data: bytes, content_type: str | None = "application/json", path: str = "/orders") -> Any:
    return shop.client.post(path, data=data, content_type=content_type, headers=shop.auth)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"currency": NaN}',
        b'{"currency": Infinity}',
        b'{"currency": "usd", "currency": "eur"}',
        b'{"items": [{"name": "a", "name": "b"}]}',
        b"[" * 100_000,
        b'{"currency": ' + b"9" * 5000 + b"}",
        b"\xef\xbb\xbf{}",
        b"{} {}",
    ],
)
def test_what_is_not_json_is_refused(shop: Shop, body: bytes) -> None:
    response = post(shop, body)

    assert (response.status_code, response.get_json()["type"]) == (400, "/problems/malformed-json")
    assert not any(counts().values())


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"order"', b"true"])
def test_json_that_is_no_object_is_refused(shop: Shop, body: bytes) -> None:
    response = post(shop, body)

    assert response.status_code == 422
    assert response.get_json()["errors"] == [{"field": "body", "problem": "must be an object"}]


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_another_content_type_is_refused(shop: Shop, content_type: str | None) -> None:
    response = post(shop, b'{"a": 1}', content_type)

    assert (response.status_code, response.get_json()["type"]) == (415, "/problems/unsupported-media-type")
    assert not any(counts().values())


def test_a_charset_does_not_disturb(shop: Shop) -> None:
    assert post(shop, b"{}", "application/json; charset=utf-8").status_code == 422


@pytest.mark.parametrize("path", ["/orders", "/statistics/recompute"])
def test_too_large_a_body_is_refused(shop: Shop, path: str) -> None:
    response = post(shop, b" " * (MAX_BODY + 1), path=path)

    assert (response.status_code, response.get_json()["type"]) == (413, "/problems/body-too-large")
    assert not any(counts().values())


@pytest.mark.parametrize("size", [MAX_BODY + 1, 3 * MAX_BODY])
def test_too_large_a_body_of_unannounced_length_is_refused_not_cut(shop: Shop, size: int) -> None:
    response = shop.client.post(
        "/orders",
        input_stream=BytesIO(json.dumps(ORDER).encode() + b" " * (size - len(json.dumps(ORDER)))),
        content_type="application/json",
        headers=shop.auth,
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert (response.status_code, response.get_json()["type"]) == (413, "/problems/body-too-large")
    assert not any(counts().values())


def test_the_largest_order_fits_every_character_escaped(shop: Shop) -> None:
    character = "\U0001d49c"  # escaped it takes twelve bytes
    largest = {
        **ORDER,
        "user": {"email": character * 242 + "@example.com", "full_name": character * 200},
        "items": [{"name": character * 200, "unit_amount": 100, "quantity": 10}] * 100,
        "reference": character * 100,
        "metadata": {chr(0x1D4A2 + number) + character * 39: character * 500 for number in range(20)},
    }

    assert shop.post("/orders", largest).status_code == 201


@pytest.mark.parametrize("path", ["/nothing", "/orders//checkout", "/jobs", "/static/../web/auth.py"])
def test_an_unknown_route_is_a_problem_too(client: FlaskClient, path: str) -> None:
    response = client.get(path)

    assert (response.status_code, response.get_json()["type"]) == (404, "/problems/no-such-route")


def test_a_wrong_method_says_which_are_right(client: FlaskClient) -> None:
    response = client.delete("/orders")

    assert (response.status_code, response.get_json()["type"]) == (405, "/problems/method-not-allowed")
    assert "POST" in response.headers["Allow"]


def test_many_wrong_fields_are_told_up_to_a_bound(shop: Shop) -> None:
    response = shop.post("/orders", {**ORDER, **{f"x{number}": 1 for number in range(500)}})

    assert len(response.get_json()["errors"]) == 20
    assert len(response.data) < 4000


def test_a_sane_request_id_is_kept(client: FlaskClient) -> None:
    assert client.get("/health/live", headers={"X-Request-Id": "web-1.A_b"}).headers["X-Request-Id"] == "web-1.A_b"


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "caf\u00e9", '{"a":1}'])
def test_another_request_id_is_replaced(client: FlaskClient, given: str) -> None:
    answered = client.get("/health/live", headers={"X-Request-Id": given}).headers["X-Request-Id"]

    assert answered != given
    assert len(answered) == 36


def test_a_bug_says_nothing_about_itself(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    captured: list[BaseException] = []

    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("secret internals")

    monkeypatch.setattr(customers, "find_or_add", broken)
    monkeypatch.setattr(monitor, "capture_exception", lambda error, context: captured.append(error))

    response = shop.post("/orders", ORDER)

    assert (response.status_code, response.get_json()["type"]) == (500, "/problems/internal-error")
    assert "internals" not in response.text
    assert [str(error) for error in captured] == ["secret internals"]
    assert not any(counts().values())


def test_a_database_that_is_away_asks_for_a_repeat(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any, **_kwargs: Any) -> None:
        raise database.DatabaseUnavailable("connection refused at 10.0.0.7")

    monkeypatch.setattr(orders, "place", away)

    response = shop.post("/orders", ORDER)

    assert (response.status_code, response.get_json()["type"]) == (503, "/problems/unavailable")
    assert "repeat" in response.get_json()["detail"]
    assert "10.0.0.7" not in response.text
    assert response.headers["Retry-After"] == "1"


def test_answers_are_not_cached_and_run_no_script(shop: Shop) -> None:
    response = shop.get(f"/orders/{shop.order()['id']}")

    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_a_page_of_another_origin_may_check_out_but_not_refund(app: Flask, shop: Shop) -> None:
    order_id = shop.order()["id"]
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}

    checkout = shop.client.options(f"/orders/{order_id}/checkout", headers=asked)
    refund = shop.client.options(f"/orders/{order_id}/refunds", headers=asked)

    assert checkout.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in checkout.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in checkout.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in refund.headers


def test_a_path_forges_no_line_of_the_log(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "web.envelope")
    client.get("/a%0Ab")

    [line] = [record.getMessage() for record in caplog.records if record.name == "web.envelope"]
    assert line.splitlines() == ["GET /a%0Ab 404"]


def test_a_database_without_the_schema_answers_503_and_logs_what_to_do(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")

    response = shop.post("/orders", ORDER)

    assert (response.status_code, response.get_json()["type"]) == (503, "/problems/unavailable")
    assert "run `python -m core.migrations`" in caplog.text
    assert shop.get("/health/ready").get_json()["checks"]["database"]["ok"] is False
    database.dispose()
