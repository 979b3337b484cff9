"""simulator/faults.py and the connection faults of simulator/http_server.py"""

from __future__ import annotations

import json
from typing import Any

import pytest
import stripe
import urllib3

from simulator.faults import FaultPlan
from tests.simulator.wire import Wire

CREATE = "amount=500&currency=usd"
INTENTS = "/v1/payment_intents"


def made(wire: Wire) -> int:
    """How many PaymentIntents exist."""
    return len(wire("GET", INTENTS + "?limit=100").json()["data"])


CUTS = [
    ({"kind": "reset"}, 0),
    ({"kind": "timeout", "seconds": 0.05}, 0),
    ({"kind": "reset", "when": "after"}, 1),
    ({"kind": "timeout", "seconds": 0.05, "when": "after"}, 1),
    ({"kind": "reset_mid_body"}, 1),
]


@pytest.mark.parametrize(("fault", "effects"), CUTS)
def test_a_lost_answer_leaves_the_effect_or_none(wire: Wire, fault: dict[str, Any], effects: int) -> None:
    wire.faults(fault | {"method": "POST", "match": INTENTS, "next": 1})
    with pytest.raises(urllib3.exceptions.ProtocolError):
        wire("POST", INTENTS, CREATE, Idempotency_Key="k")
    assert made(wire) == effects
    again = wire("POST", INTENTS, CREATE, Idempotency_Key="k")
    assert ("Idempotent-Replayed" in again.headers) is bool(effects)
    assert made(wire) == 1


def test_the_sdk_sees_a_connection_error(client: stripe.StripeClient, wire: Wire) -> None:
    wire.faults({"kind": "reset", "when": "after", "next": 1})
    with pytest.raises(stripe.APIConnectionError):
        client.v1.payment_intents.create({"amount": 500, "currency": "usd"}, {"idempotency_key": "k"})
    client.v1.payment_intents.create({"amount": 500, "currency": "usd"}, {"idempotency_key": "k"})
    assert made(wire) == 1


def test_a_timeout_outlasts_the_callers_patience(wire: Wire) -> None:
    wire.faults({"kind": "timeout", "seconds": 30, "when": "after", "next": 1})
    with (
        urllib3.PoolManager(retries=False, timeout=0.2) as impatient,
        pytest.raises(urllib3.exceptions.ReadTimeoutError),
    ):
        impatient.request("POST", wire.url + INTENTS, body=CREATE, headers={
            "Authorization": "Bearer sk_test_a", "Content-Type": "application/x-www-form-urlencoded",
        })  # fmt: skip
    assert made(wire) == 1


def test_a_429_says_when_to_come_back(client: stripe.StripeClient, wire: Wire) -> None:
    wire.faults({"kind": "rate_limit_429", "retry_after": 7, "next": 1})
    with pytest.raises(stripe.RateLimitError) as caught:
        client.v1.payment_intents.list()
    assert caught.value.headers is not None
    assert caught.value.headers["retry-after"] == "7"


def test_added_latency_delays_and_nothing_else(wire: Wire) -> None:
    for when in ("before", "after"):
        wire.faults({"kind": "latency", "seconds": 0.01, "when": when})
        assert wire("POST", INTENTS, CREATE).status == 200
    assert wire.sim("GET", "faults")["requests"][0]["fired"] == 1


def test_a_rule_strikes_its_method_and_path_only(wire: Wire) -> None:
    wire.faults({"kind": "error_500", "method": "POST", "match": "/v1/refunds*"})
    assert wire("POST", INTENTS, CREATE).status == 200
    assert wire("GET", "/v1/refunds").status == 200
    assert wire("POST", "/v1/refunds", "charge=ch_1").status == 500


def test_a_rule_strikes_as_often_as_it_says(wire: Wire) -> None:
    wire.faults({"kind": "error_500", "next": 2})
    assert [wire("GET", INTENTS).status for _ in range(4)] == [500, 500, 200, 200]
    [rule] = wire.sim("GET", "faults")["requests"]
    assert (rule["fired"], rule["next"]) == (2, 0)


def test_a_plan_is_replaced_and_taken_away(wire: Wire) -> None:
    wire.faults({"kind": "error_500"})
    assert wire("GET", INTENTS).status == 500
    wire.sim("DELETE", "faults")
    assert wire("GET", INTENTS).status == 200


def rolls(seed: int) -> list[bool]:
    """Which of 200 requests are struck."""
    plan = FaultPlan()
    plan.replace({"seed": seed, "requests": [{"kind": "reset", "probability": 0.3}]})
    return [plan.request("GET", INTENTS) is not None for _ in range(200)]


def test_a_seed_replays_its_faults() -> None:
    assert rolls(7) == rolls(7) != rolls(8)
    assert 30 < sum(rolls(7)) < 90


BAD_PLANS = [
    {"rules": []},
    {"requests": ["reset"]},
    {"requests": [{"kind": "earthquake"}]},
    {"requests": [{"kind": "reset", "colour": "red"}]},
    {"requests": [{"kind": "reset", "probability": 2}]},
    {"requests": [{"kind": "reset", "when": "during"}]},
    {"requests": [{"kind": "in_use_409", "when": "after"}]},
    {"webhooks": [{"kind": "reset"}]},
]


@pytest.mark.parametrize("plan", BAD_PLANS)
def test_a_plan_that_is_none_is_refused_and_the_old_one_stays(wire: Wire, plan: dict[str, Any]) -> None:
    wire.faults({"kind": "error_500"})
    answer = wire("POST", "/_sim/faults", json.dumps(plan), key=None, Content_Type="application/json")
    assert answer.status == 400
    assert wire("GET", INTENTS).status == 500


def test_the_control_api_is_never_struck(wire: Wire) -> None:
    wire.faults({"kind": "reset"})
    assert wire.sim("GET", "health")["status"] == "ok"
