"""simulator/api.py, simulator/params.py, simulator/form.py and simulator/money.py, over the wire"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import stripe

from simulator import Simulator, SimulatorSettings
from simulator.form import decode
from tests.simulator.wire import Wire

INTENTS = "/v1/payment_intents"


def refused(wire: Wire, body: str, path: str = INTENTS) -> dict[str, Any]:
    """The error object of a 400."""
    answer = wire("POST", path, body)
    assert answer.status == 400, answer.data
    error: dict[str, Any] = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    return error


def test_every_answer_carries_a_request_id_and_the_version(wire: Wire) -> None:
    for answer in (wire("GET", INTENTS), wire("GET", "/v1/nothing"), wire("GET", INTENTS, key=None)):
        assert answer.headers["Request-Id"].startswith("req_")
        assert answer.headers["Stripe-Version"] == "2026-10-28.endive"
    assert wire("GET", INTENTS, Stripe_Version="2024-06-20").headers["Stripe-Version"] == "2024-06-20"
    assert wire("GET", INTENTS, Stripe_Version="newest").status == 400


def test_bearer_and_basic_authorization_are_both_taken(wire: Wire) -> None:
    basic = "Basic " + base64.b64encode(b"sk_test_of_the_tests:").decode()
    assert wire("GET", INTENTS, key=None, Authorization=basic).status == 200
    assert wire("GET", INTENTS).status == 200


@pytest.mark.parametrize("header", ["Bearer", "Bearer sk_live_real", "Bearer sk_test_", "Basic !!", "Token sk_test_a"])
def test_no_key_or_a_wrong_one_is_a_401(wire: Wire, header: str) -> None:
    answer = wire("GET", INTENTS, key=None, Authorization=header)
    assert answer.status == 401
    assert "sk_live_real" not in answer.data.decode()


def test_with_configured_keys_only_these_are_taken(tmp_path: Path) -> None:
    settings = SimulatorSettings(tmp_path, port=0, secret_key="sk_test_one", publishable_key="pk_test_one")
    with Simulator(settings) as simulator:
        wire = Wire(simulator.url)
        assert wire("GET", INTENTS, key="sk_test_one").status == 200
        assert wire("GET", INTENTS, key="sk_test_two").status == 401
        assert wire("GET", INTENTS, key="pk_test_two").status == 401
        assert wire("GET", INTENTS, key="pk_test_one").status == 403
        wire.close()


NOWHERE = [("GET", "/v1/nothing"), ("PUT", INTENTS), ("GET", "/v1/refunds/re_1/cancel"), ("GET", "/v2/core/events")]


@pytest.mark.parametrize(("method", "path"), NOWHERE)
def test_an_unknown_url_is_a_404(wire: Wire, method: str, path: str) -> None:
    answer = wire(method, path)
    assert answer.status == 404
    assert "Unrecognized request URL" in answer.json()["error"]["message"]


def test_a_missing_object_is_a_404_of_the_sdks_kind(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.payment_intents.retrieve("pi_nobody")
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")


def test_unknown_parameters_are_refused_at_every_depth(wire: Wire) -> None:
    error = refused(wire, "amount=500&currency=usd&colour=red")
    assert (error["code"], error["param"]) == ("parameter_unknown", "colour")
    nested = refused(wire, "amount=500&currency=usd&shipping[x]=1")
    assert nested["message"] == "Received unknown parameter: shipping[x]"
    assert "colours" in refused(wire, "colour=1&colours=2", "/v1/customers")["message"]
    assert wire("GET", f"{INTENTS}?colour=red").status == 400


def test_what_stripe_knows_and_the_simulator_does_not_is_said_so(wire: Wire) -> None:
    assert "does not implement" in refused(wire, "amount=500&currency=usd&transfer_group=a")["message"]


@pytest.mark.parametrize("amount", ["1010.0", "true", "1e3", "+5", " 500", "0x10", "٥٠٠", "[500]", "None"])
def test_an_amount_is_an_integer_string_and_nothing_else(wire: Wire, amount: str) -> None:
    error = refused(wire, f"amount={quote(amount)}&currency=usd")
    assert (error["code"], error["param"]) == ("parameter_invalid_integer", "amount")


AMOUNTS = [
    ("0", "usd", "parameter_invalid_integer"),
    ("-1", "usd", "parameter_invalid_integer"),
    ("", "usd", "parameter_invalid_empty"),
    ("49", "usd", "amount_too_small"),
    ("29", "gbp", "amount_too_small"),
    ("100000000", "usd", "amount_too_large"),
    ("100000000", "jpy", "amount_too_large"),
    ("1050", "isk", "invalid_charge_amount"),
    ("1050", "ugx", "invalid_charge_amount"),
    ("10005", "kwd", "invalid_charge_amount"),
]


@pytest.mark.parametrize(("amount", "currency", "code"), AMOUNTS)
def test_an_amount_that_stripe_does_not_take_is_refused(wire: Wire, amount: str, currency: str, code: str) -> None:
    assert refused(wire, f"amount={amount}&currency={currency}")["code"] == code


EDGES = [(99999999, "usd"), (50, "jpy"), (100, "isk"), (10, "kwd"), (50, "usd")]


@pytest.mark.parametrize(("amount", "currency"), EDGES)
def test_an_amount_at_the_edge_is_taken(wire: Wire, amount: int, currency: str) -> None:
    assert wire("POST", INTENTS, f"amount={amount}&currency={currency}").json()["amount"] == amount


@pytest.mark.parametrize("currency", ["xxx", "dollars", "", "us"])
def test_an_unknown_currency_is_refused(wire: Wire, currency: str) -> None:
    assert refused(wire, f"amount=500&currency={currency}")["param"] == "currency"


def test_a_missing_parameter_is_named(wire: Wire) -> None:
    error = refused(wire, "currency=usd")
    assert (error["code"], error["param"]) == ("parameter_missing", "amount")


@pytest.mark.parametrize("extra", ["&confirm=yes", "&confirm=1", "&capture_method=later", "&off_session=true"])
def test_a_value_out_of_its_list_is_refused(wire: Wire, extra: str) -> None:
    refused(wire, "amount=500&currency=usd" + extra)


def test_json_is_no_form(wire: Wire) -> None:
    answer = wire("POST", INTENTS, '{"amount": 500}', Content_Type="application/json")
    assert (answer.status, "x-www-form-urlencoded" in answer.json()["error"]["message"]) == (400, True)


@pytest.mark.parametrize("body", ["a[b=1", "a=1&a[b]=2", "a[b]=1&a=2", "a=%ff", "[]=1"])
def test_a_form_that_cannot_be_read_is_refused(wire: Wire, body: str) -> None:
    refused(wire, body)


def test_nested_brackets_become_hashes_and_lists() -> None:
    decoded = decode("a[b][c]=1&l[]=x&l[]=y&n[1]=q&n[0]=p&h[][k]=1&h[][v]=2&h[][k]=3&e=")
    assert decoded == {
        "a": {"b": {"c": "1"}}, "l": ["x", "y"], "n": ["p", "q"], "h": [{"k": "1", "v": "2"}, {"k": "3"}], "e": "",
    }  # fmt: skip


def test_a_request_refused_after_its_effect_leaves_nothing_of_it(wire: Wire) -> None:
    assert "cannot be expanded" in refused(wire, "amount=500&currency=usd&expand[]=amount")["message"]
    assert wire("GET", INTENTS).json()["data"] == []
    assert wire("GET", "/v1/events").json()["data"] == []
