"""simulator/idempotency.py"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import stripe

from simulator import Simulator, SimulatorSettings
from tests.simulator.wire import Wire

CREATE = "amount=500&currency=usd"
INTENTS = "/v1/payment_intents"


def test_a_repeated_key_replays_the_first_answer(wire: Wire) -> None:
    first = wire("POST", INTENTS, "amount=500&currency=usd", Idempotency_Key="k")
    again = wire("POST", INTENTS, "currency=usd&amount=500", Idempotency_Key="k")
    assert first.data == again.data
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"] != again.headers["Request-Id"]
    assert len(wire("GET", INTENTS).json()["data"]) == 1


def test_a_replay_shows_the_object_as_it_was_then(wire: Wire) -> None:
    made = wire("POST", INTENTS, CREATE, Idempotency_Key="k").json()
    wire("POST", f"{INTENTS}/{made['id']}/cancel")
    assert wire("POST", INTENTS, CREATE, Idempotency_Key="k").json()["status"] == "requires_payment_method"


def test_a_repeated_key_with_another_body_is_refused(client: stripe.StripeClient) -> None:
    create = client.v1.payment_intents.create
    create({"amount": 500, "currency": "usd"}, {"idempotency_key": "k"})
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        create({"amount": 501, "currency": "usd"}, {"idempotency_key": "k"})


def test_a_repeated_key_at_another_endpoint_is_refused(client: stripe.StripeClient) -> None:
    client.v1.customers.create(None, {"idempotency_key": "k"})
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        client.v1.payment_intents.create({"amount": 500, "currency": "usd"}, {"idempotency_key": "k"})


def test_a_decline_is_replayed_and_not_tried_again(wire: Wire) -> None:
    body = CREATE + "&confirm=true&payment_method=pm_card_chargeDeclined"
    first, again = (wire("POST", INTENTS, body, Idempotency_Key="k") for _ in range(2))
    assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (402, 402, "true")
    assert first.data == again.data
    assert len(wire("GET", "/v1/charges").json()["data"]) == 1


def test_a_refusal_of_an_executed_request_is_replayed_even_when_it_would_work_now(wire: Wire) -> None:
    made = wire("POST", INTENTS, CREATE).json()
    refund = f"payment_intent={made['id']}"
    first = wire("POST", "/v1/refunds", refund, Idempotency_Key="k")
    wire("POST", f"{INTENTS}/{made['id']}/confirm", "payment_method=pm_card_visa")
    again = wire("POST", "/v1/refunds", refund, Idempotency_Key="k")
    assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (400, 400, "true")
    assert wire("POST", "/v1/refunds", refund, Idempotency_Key="k2").status == 200


@pytest.mark.parametrize("body", ["currency=usd", "amount=10.5&currency=usd", CREATE + "&colour=red"])
def test_a_validation_failure_is_not_remembered(wire: Wire, body: str) -> None:
    assert wire("POST", INTENTS, body, Idempotency_Key="k").status == 400
    assert wire("POST", INTENTS, CREATE, Idempotency_Key="k").status == 200


@pytest.mark.parametrize("kind", ["unauthorized_401", "rate_limit_429", "in_use_409", "error_500"])
def test_what_never_executed_is_not_remembered(wire: Wire, kind: str) -> None:
    wire.faults({"kind": kind, "next": 1})
    assert wire("POST", INTENTS, CREATE, Idempotency_Key="k").status == int(kind[-3:])
    assert wire("POST", INTENTS, CREATE, Idempotency_Key="k").status == 200


def test_a_500_after_the_effect_is_remembered(wire: Wire) -> None:
    wire.faults({"kind": "error_500", "when": "after", "next": 1})
    first, again = (wire("POST", INTENTS, CREATE, Idempotency_Key="k") for _ in range(2))
    assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (500, 500, "true")
    assert first.headers["Stripe-Should-Retry"] == again.headers["Stripe-Should-Retry"] == "false"
    assert len(wire("GET", INTENTS).json()["data"]) == 1


def test_a_key_is_forgotten_after_24_hours(wire: Wire) -> None:
    first = wire("POST", INTENTS, CREATE, Idempotency_Key="k").json()
    wire.sim("POST", "clock", hours=23.9)
    assert wire("POST", INTENTS, CREATE, Idempotency_Key="k").json() == first
    wire.sim("POST", "clock", hours=0.2)
    assert wire("POST", INTENTS, "amount=900&currency=usd", Idempotency_Key="k").json()["amount"] == 900


def test_requests_side_by_side_under_one_key_have_one_effect(tmp_path: Path) -> None:
    with Simulator(SimulatorSettings(tmp_path, port=0, latency_ms=200)) as simulator:
        wire = Wire(simulator.url)
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: wire("POST", INTENTS, CREATE, Idempotency_Key="k"), range(8)))
        conflicts = [answer for answer in answers if answer.status == 409]
        assert len({answer.json()["id"] for answer in answers if answer.status == 200}) == 1
        assert conflicts
        for conflict in conflicts:
            assert conflict.json()["error"]["code"] == "idempotency_key_in_use"
            assert conflict.headers["Stripe-Should-Retry"] == "true"
        assert len(wire("GET", INTENTS).json()["data"]) == 1
        wire.close()


def test_the_sdk_reads_a_conflict_as_stripes(client: stripe.StripeClient, wire: Wire) -> None:
    wire.faults({"kind": "in_use_409", "next": 1})
    with pytest.raises(stripe.APIError) as caught:
        client.v1.customers.create(None, {"idempotency_key": "k"})
    assert caught.value.http_status == 409
    assert caught.value.error is not None
    assert caught.value.error.code == "idempotency_key_in_use"


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_of_the_wrong_length_is_refused(wire: Wire, key: str) -> None:
    assert wire("POST", INTENTS, CREATE, Idempotency_Key=key).status == 400


def test_a_get_takes_no_notice_of_a_key(wire: Wire) -> None:
    wire("POST", INTENTS, CREATE, Idempotency_Key="k")
    listed = wire("GET", INTENTS, Idempotency_Key="k")
    assert (listed.status, "Idempotent-Replayed" in listed.headers) == (200, False)
