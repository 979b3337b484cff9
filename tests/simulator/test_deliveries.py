"""simulator/deliveries.py, simulator/events.py and simulator/signatures.py"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import stripe

from simulator import Simulator
from tests.simulator.conftest import client_of, hooked_settings
from tests.simulator.receiver import SECRET, Hook, Receiver, eventually
from tests.simulator.wire import Wire


@pytest.fixture
def sender(hooked: Simulator) -> stripe.StripeClient:
    """The SDK pointed at the simulator that sends webhooks."""
    return client_of(hooked)


@pytest.fixture
def control(hooked: Simulator) -> Iterator[Wire]:
    """Raw HTTP to the simulator that sends webhooks."""
    raw = Wire(hooked.url)
    yield raw
    raw.close()


def genuine(hook: Hook) -> bool:
    """Does Stripe's own verification accept it?"""
    try:
        stripe.Webhook.construct_event(hook.body, hook.signature, SECRET)
    except stripe.SignatureVerificationError:
        return False
    return True


def test_webhooks_pass_stripes_own_verification(sender: stripe.StripeClient, receiver: Receiver) -> None:
    made = sender.v1.payment_intents.create({
        "amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_visa",
    }, {"idempotency_key": "order-1"})  # fmt: skip
    hooks = receiver.wait_for(
        "payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated"
    )
    for hook in hooks:
        event = stripe.Webhook.construct_event(hook.body, hook.signature, SECRET)
        assert event.request.idempotency_key == "order-1"
    [done] = [hook.event for hook in hooks if hook.type == "payment_intent.succeeded"]
    assert done["data"]["object"]["id"] == made.id
    assert (done["api_version"], done["livemode"], done["pending_webhooks"]) == ("2026-10-28.endive", False, 1)


def test_a_webhook_is_sent_again_until_it_is_taken(sender: stripe.StripeClient, receiver: Receiver) -> None:
    tries = count()
    receiver.answer = lambda hook: 200 if next(tries) == 2 else 503
    sender.v1.customers.create()
    hooks = receiver.wait_for("customer.created", "customer.created", "customer.created")
    assert len({hook.event["id"] for hook in hooks}) == 1
    assert all(genuine(hook) for hook in hooks)


def test_undelivered_events_are_found_by_the_api(sender: stripe.StripeClient, receiver: Receiver) -> None:
    receiver.answer = lambda hook: 500 if hook.type == "customer.created" else 200
    customer = sender.v1.customers.create()
    sender.v1.customers.delete(customer.id)
    eventually(lambda: len(sender.v1.events.list({"delivery_success": True}).data) == 1)
    [failed] = sender.v1.events.list({"delivery_success": False}).data
    assert (failed.type, failed.pending_webhooks) == ("customer.created", 1)
    receiver.answer = lambda hook: 200
    eventually(lambda: sender.v1.events.list({"delivery_success": False}).data == [])


def test_many_webhooks_go_out_side_by_side(sender: stripe.StripeClient, receiver: Receiver) -> None:
    for _ in range(40):
        sender.v1.customers.create()
    hooks = receiver.wait_for(*["customer.created"] * 40)
    assert len({hook.event["id"] for hook in hooks}) == 40


def test_a_duplicated_webhook_arrives_as_often_as_it_says(
    sender: stripe.StripeClient, receiver: Receiver, control: Wire
) -> None:
    control.faults(webhooks=({"kind": "duplicate", "copies": 3, "match": "customer.*"},))
    sender.v1.customers.create()
    hooks = receiver.wait_for(*["customer.created"] * 3)
    assert len({hook.event["id"] for hook in hooks}) == 1


def test_a_dropped_webhook_never_comes_but_its_event_exists(
    sender: stripe.StripeClient, receiver: Receiver, control: Wire
) -> None:
    control.faults(webhooks=({"kind": "drop", "match": "customer.created", "next": 1},))
    first, second = sender.v1.customers.create(), sender.v1.customers.create()
    receiver.wait_for("customer.created")
    eventually(lambda: control.sim("GET", "deliveries")["deliveries"][-1]["state"] == "delivered")
    assert [hook.event["data"]["object"]["id"] for hook in receiver.hooks] == [second.id]
    [lost] = sender.v1.events.list({"delivery_success": False}).data
    assert lost.data.object["id"] == first.id


@pytest.mark.parametrize("kind", ["delay", "reorder"])
def test_a_late_webhook_is_overtaken(sender: stripe.StripeClient, receiver: Receiver, control: Wire, kind: str) -> None:
    control.faults(webhooks=({"kind": kind, "seconds": 100_000, "match": "customer.created"},))
    customer = sender.v1.customers.create()
    sender.v1.customers.delete(customer.id)
    receiver.wait_for("customer.deleted")
    assert receiver.types == ["customer.deleted"]
    control.sim("POST", "clock", hours=48)
    receiver.wait_for("customer.created")
    assert receiver.types == ["customer.deleted", "customer.created"]


def test_an_early_webhook_is_there_before_the_answer(
    sender: stripe.StripeClient, receiver: Receiver, control: Wire
) -> None:
    control.faults(webhooks=({"kind": "early"},))
    for number in range(5):
        sender.v1.customers.create()
        assert len(receiver.hooks) == number + 1


@pytest.mark.parametrize("kind", ["forged", "stale"])
def test_a_bad_signature_is_followed_by_a_good_one(
    sender: stripe.StripeClient, receiver: Receiver, control: Wire, kind: str
) -> None:
    receiver.answer = lambda hook: 200 if genuine(hook) else 400
    control.faults(webhooks=({"kind": kind, "next": 1},))
    sender.v1.customers.create()
    bad, good = receiver.wait_for("customer.created", "customer.created")
    assert (genuine(bad), genuine(good), bad.body) == (False, True, good.body)


def test_a_future_timestamp_is_signed_as_such(sender: stripe.StripeClient, receiver: Receiver, control: Wire) -> None:
    control.faults(webhooks=({"kind": "future", "next": 1},))
    sender.v1.customers.create()
    [hook] = receiver.wait_for("customer.created")
    assert int(hook.signature[2:].split(",")[0]) > json.loads(hook.body)["created"] + 3000


def test_the_clock_moves_the_timestamps_of_webhooks(
    sender: stripe.StripeClient, receiver: Receiver, control: Wire
) -> None:
    now = control.sim("POST", "clock", hours=1000)["now"]
    sender.v1.customers.create()
    [hook] = receiver.wait_for("customer.created")
    assert int(hook.signature[2:].split(",")[0]) >= int(now)
    assert hook.event["created"] >= int(now)


def test_what_was_not_delivered_is_taken_up_by_the_next_life(tmp_path: Path, receiver: Receiver) -> None:
    settings = hooked_settings(tmp_path, receiver)
    receiver.answer = lambda hook: 500
    with Simulator(settings) as first:
        customer = client_of(first).v1.customers.create()
        receiver.wait_for("customer.created")
    receiver.hooks.clear()
    receiver.answer = lambda hook: 200
    with Simulator(settings):
        [hook] = receiver.wait_for("customer.created")
    assert hook.event["data"]["object"]["id"] == customer.id


def test_a_receiver_that_is_down_loses_nothing(tmp_path: Path) -> None:
    with Receiver() as gone:
        settings = hooked_settings(tmp_path, gone)
    with Simulator(settings) as simulator:
        client = client_of(simulator)
        client.v1.customers.create()
        [event] = client.v1.events.list({"delivery_success": False}).data
        assert event.type == "customer.created"


def test_a_failing_refund_card_tells_the_receiver_in_the_end(sender: stripe.StripeClient, receiver: Receiver) -> None:
    paid = sender.v1.payment_intents.create({
        "amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_refundFail",
    })  # fmt: skip
    refund = sender.v1.refunds.create({"payment_intent": paid.id})
    hooks = receiver.wait_for("refund.created", "charge.refunded", "refund.failed", "charge.refund.updated")
    [failed] = [hook.event for hook in hooks if hook.type == "refund.failed"]
    assert (failed["data"]["object"]["id"], failed["data"]["object"]["status"]) == (refund.id, "failed")
    assert failed["request"] == {"id": None, "idempotency_key": None}
