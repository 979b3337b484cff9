"""What `make run` starts, walked through over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
import urllib3

from tests.e2e.conftest import FLOWER_LOGIN
from tests.e2e.shop import TOTAL, Shop, eventually
from tests.e2e.walk import walk


def test_an_order_is_paid_refunded_and_counted(shop: Shop) -> None:
    walk(shop)


def test_a_checkout_is_followed_live_to_its_end(shop: Shop) -> None:
    accepted = shop.checkout(shop.order()["id"])
    seen = list(shop.follow(accepted.body["job_id"]))
    assert seen[-1]["status"] == "succeeded"
    said = [event["what"] for message in seen for event in message["timeline"]]
    assert (said[0], said[-1]) == ("accepted", "succeeded")


def test_a_declined_customer_can_pay_with_another_card(shop: Shop) -> None:
    order_id, client_secret = shop.ready_to_pay()
    for card in ("pm_card_visa_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds"):
        assert shop.pay(client_secret, card)["error"]["code"] == "card_declined"
    assert shop.get(f"/orders/{order_id}")["status"] == "awaiting_payment"
    assert shop.pay(client_secret)["status"] == "succeeded"
    shop.until(order_id, "paid")
    assert shop.moved(order_id) == [("payment", TOTAL)]


def test_a_card_that_asks_for_authentication_pays_once_authenticated(shop: Shop) -> None:
    order_id, client_secret = shop.ready_to_pay()
    intent = shop.pay(client_secret, "pm_card_authenticationRequired")
    assert intent["status"] == "requires_action"

    def asked() -> bool:
        return bool(shop.get(f"/orders/{order_id}")["payments"][0]["status"] == "requires_action")

    eventually(asked, "the order shows that the customer must act")
    shop.stripe.control(f"/payment_intents/{intent['id']}/authenticate", outcome="succeeded")
    shop.until(order_id, "paid")
    assert shop.moved(order_id) == [("payment", TOTAL)]


def test_a_webhook_that_nobody_signed_is_refused(shop: Shop) -> None:
    forged = {"id": "evt_forged", "object": "event", "type": "payment_intent.succeeded", "data": {"object": {}}}
    reply = shop.ask("POST", "/webhooks/stripe", forged, Stripe_Signature="t=1,v1=00")
    assert (reply.status, reply.body["type"].rpartition("/")[2]) == (400, "invalid-signature")


def test_flower_shows_which_jobs_a_message_carried(shop: Shop) -> None:
    accepted = shop.checkout(shop.order()["id"])
    job_id = accepted.body["job_id"]
    login = urllib3.make_headers(basic_auth=FLOWER_LOGIN)

    def shown() -> dict[str, Any] | None:
        url = f"{shop.service.flower}/api/tasks?taskname=payments.create"
        tasks = urllib3.request("GET", url, headers=login, retries=False, timeout=10).json()
        return next((task for task in tasks.values() if job_id in task["args"] and task["state"] == "SUCCESS"), None)

    task = eventually(shown, "Flower shows the message as done")
    assert task["args"] == f"payments.create x1 {job_id}..{job_id}"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/health/live", "alive"),
        ("/health/ready", "ok"),
        ("/metrics", "# HELP"),
        ("/", "Counterfoil"),
        ("/docs", "/orders"),
    ],
)
def test_a_page_for_people_and_probes_answers_without_a_key(shop: Shop, path: str, says: str) -> None:
    answer = urllib3.request("GET", shop.service.web + path, retries=False, timeout=10)
    assert (answer.status, says in answer.data.decode()) == (200, True)
