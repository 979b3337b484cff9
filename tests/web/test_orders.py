from __future__ import annotations

from typing import Any

import pytest

from core.ids import new_id
from tests.web.shop import NOWHERE, ORDER, Shop, counts

ITEM = ORDER["items"][0]


def test_an_order_is_placed_with_a_total_computed_here(shop: Shop) -> None:
    response = shop.post("/orders", {**ORDER, "reference": "shop-1", "metadata": {"cart": "7"}})

    placed = response.get_json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/orders/{placed['id']}"
    assert (placed["total"], placed["currency"], placed["status"]) == (2500, "usd", "pending")
    assert (placed["reference"], placed["metadata"], placed["items"]) == ("shop-1", {"cart": "7"}, [ITEM])
    shown = shop.get(f"/orders/{placed['id']}").get_json()
    assert {name: shown[name] for name in placed if name != "checkout_token"} == {
        name: value for name, value in placed.items() if name != "checkout_token"
    }
    assert (shown["payments"], shown["refunds"], shown["disputes"], shown["jobs"]) == ([], [], [], [])


def test_an_order_of_a_known_user_needs_only_the_id(shop: Shop) -> None:
    user_id = shop.order()["user_id"]

    again = {name: value for name, value in ORDER.items() if name != "user"}
    assert shop.order(**{**again, "user": None, "user_id": user_id})["user_id"] == user_id


def test_one_address_is_one_user_however_it_is_written(shop: Shop) -> None:
    first = shop.order()
    assert shop.order(user={"email": "ADA@example.com"})["user_id"] == first["user_id"]


def test_the_same_reference_and_body_answer_the_same_order(shop: Shop) -> None:
    first = shop.post("/orders", {**ORDER, "reference": "r-1"})
    second = shop.post("/orders", {**ORDER, "reference": "r-1", "currency": "USD"})

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.get_json()["id"] == second.get_json()["id"]
    assert counts()["orders"] == 1


def test_the_same_reference_with_another_body_is_refused(shop: Shop) -> None:
    shop.order(reference="r-1")

    response = shop.post("/orders", {**ORDER, "reference": "r-1", "items": [{**ITEM, "quantity": 3}]})

    assert response.status_code == 409
    assert response.get_json()["type"] == "/problems/reference-in-use"
    assert counts()["orders"] == 1


def test_two_accounts_may_use_the_same_reference(shop: Shop, rival: Shop) -> None:
    assert shop.order(reference="r-1")["id"] != rival.order(reference="r-1")["id"]


def test_a_repeated_key_answers_the_same_order(shop: Shop) -> None:
    first = shop.post("/orders", ORDER, Idempotency_Key="k-1")
    second = shop.post("/orders", ORDER, Idempotency_Key="k-1")

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.get_json()["id"] == second.get_json()["id"]


def test_a_repeated_key_with_another_body_is_refused(shop: Shop) -> None:
    shop.post("/orders", ORDER, Idempotency_Key="k-1")

    response = shop.post("/orders", {**ORDER, "currency": "eur"}, Idempotency_Key="k-1")

    assert response.status_code == 422
    assert response.get_json()["type"] == "/problems/idempotency-key-reused"
    assert counts()["orders"] == 1


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"total": 1}, "total"),
    "no currency": ({"currency": None}, "currency"),
    "currency as a number": ({"currency": 840}, "currency"),
    "currency too long": ({"currency": "usdd"}, "currency"),
    "no items": ({"items": []}, "items"),
    "items as an object": ({"items": {}}, "items"),
    "too many items": ({"items": [ITEM] * 101}, "items"),
    "an item with an unknown field": ({"items": [{**ITEM, "price": 1}]}, "items.0.price"),
    "an item without a name": ({"items": [{"unit_amount": 1, "quantity": 1}]}, "items.0.name"),
    "an empty name": ({"items": [{**ITEM, "name": ""}]}, "items.0.name"),
    "a name too long": ({"items": [{**ITEM, "name": "x" * 201}]}, "items.0.name"),
    "a name with a NUL": ({"items": [{**ITEM, "name": "a\0b"}]}, "items.0.name"),
    "a name with half a character": ({"items": [{**ITEM, "name": "\ud800"}]}, "items.0.name"),
    "a float as money": ({"items": [{**ITEM, "unit_amount": 12.5}]}, "items.0.unit_amount"),
    "a whole float as money": ({"items": [{**ITEM, "unit_amount": 1250.0}]}, "items.0.unit_amount"),
    "a bool as money": ({"items": [{**ITEM, "unit_amount": True}]}, "items.0.unit_amount"),
    "a string as money": ({"items": [{**ITEM, "unit_amount": "1250"}]}, "items.0.unit_amount"),
    "zero": ({"items": [{**ITEM, "unit_amount": 0}]}, "items.0.unit_amount"),
    "negative": ({"items": [{**ITEM, "unit_amount": -1}]}, "items.0.unit_amount"),
    "too large": ({"items": [{**ITEM, "unit_amount": 100_000_000}]}, "items.0.unit_amount"),
    "larger than any integer": ({"items": [{**ITEM, "unit_amount": 10**30}]}, "items.0.unit_amount"),
    "quantity zero": ({"items": [{**ITEM, "quantity": 0}]}, "items.0.quantity"),
    "quantity too large": ({"items": [{**ITEM, "quantity": 10_001}]}, "items.0.quantity"),
    "quantity as a bool": ({"items": [{**ITEM, "quantity": True}]}, "items.0.quantity"),
    "reference too long": ({"reference": "x" * 101}, "reference"),
    "an empty reference": ({"reference": ""}, "reference"),
    "metadata with too many keys": ({"metadata": {str(n): "" for n in range(21)}}, "metadata"),
    "metadata with a number": ({"metadata": {"a": 1}}, "metadata.a"),
    "no address": ({"user": {"full_name": "Ada"}}, "user.email"),
    "an address without an at": ({"user": {"email": "ada.example.com"}}, "user.email"),
    "an address with a line break": ({"user": {"email": "ada@example.com\nBcc: x@y.zz"}}, "user.email"),
    "neither user nor id": ({"user": None}, "body"),
    "both user and id": ({"user_id": NOWHERE}, "body"),
    "an id that is none": ({"user": None, "user_id": "7"}, "user_id"),
}


@pytest.mark.parametrize(("change", "field"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_field_is_named_and_nothing_is_stored(shop: Shop, change: dict[str, Any], field: str) -> None:
    response = shop.post("/orders", {**ORDER, **change})

    assert response.status_code == 422
    assert response.get_json()["type"] == "/problems/validation-failed"
    assert field in [error["field"].removesuffix(".[key]") for error in response.get_json()["errors"]]
    assert not any(counts().values())


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"currency": "xxx"}, "unknown-currency"),
        ({"currency": "usd", "items": [{"name": "Gum", "unit_amount": 1, "quantity": 1}]}, "amount-too-small"),
        ({"items": [{"name": "Yacht", "unit_amount": 99_999_999, "quantity": 2}]}, "amount-too-large"),
        ({"currency": "kwd", "items": [{"name": "Tea", "unit_amount": 1001, "quantity": 1}]}, "amount-has-mills"),
    ],
)
def test_money_that_cannot_be_charged_is_refused_and_nothing_is_stored(
    shop: Shop, change: dict[str, Any], slug: str
) -> None:
    response = shop.post("/orders", {**ORDER, **change})

    assert (response.status_code, response.get_json()["type"]) == (422, f"/problems/{slug}")
    assert not any(counts().values())


def test_a_user_of_another_account_is_unknown(shop: Shop, rival: Shop) -> None:
    stranger = rival.order()["user_id"]

    response = shop.post("/orders", {**ORDER, "user": None, "user_id": stranger})

    assert response.status_code == 404
    assert counts()["orders"] == 1


@pytest.mark.parametrize("order_id", [NOWHERE, "7", "x" * 500, "%00", "' OR 1=1"])
def test_an_unknown_order_is_not_found(shop: Shop, order_id: str) -> None:
    assert shop.get(f"/orders/{order_id}").status_code == 404
    assert shop.post(f"/orders/{order_id}/checkout").status_code == 404
    assert shop.post(f"/orders/{order_id}/refunds", Idempotency_Key=new_id()).status_code == 404
    assert not any(counts().values())


def test_someone_elses_order_is_answered_as_if_there_were_none(shop: Shop, rival: Shop) -> None:
    order_id = shop.order()["id"]

    for response in (
        rival.get(f"/orders/{order_id}"),
        rival.post(f"/orders/{order_id}/checkout"),
        rival.post(f"/orders/{order_id}/refunds", Idempotency_Key="k"),
    ):
        assert response.status_code == 404
        assert response.get_json()["detail"] == rival.get(f"/orders/{NOWHERE}").get_json()["detail"]
    assert counts()["jobs"] == 0
