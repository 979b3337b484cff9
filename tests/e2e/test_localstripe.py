"""A second opinion: the whole flow against localstripe, somebody else's stand-in for Stripe, and its own webhooks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from tests.e2e.service import free_ports, supervised
from tests.e2e.shop import TOTAL, Shop, eventually
from tests.worker.stripe import Stripe

PROGRAM = Path(__file__).with_name("loopback_localstripe.py")
KEY = "sk_test_localstripe"
SECRET = "whsec_localstripe"


@contextmanager
def localstripe(folder: Path) -> Iterator[str]:
    """The address of a running localstripe that works in `folder`."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, str(PROGRAM), str(port)], cwd=folder) as process:
        try:
            eventually(lambda: urllib3.request("GET", f"{url}/js.stripe.com/v3/", retries=False), "localstripe answers")
            yield url
        finally:
            process.terminate()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with (
        localstripe(tmp_path) as url,
        supervised(
            tmp_path, STRIPE_ENABLED="true", STRIPE_API_BASE=url, STRIPE_SECRET_KEY=KEY, STRIPE_WEBHOOK_SECRET=SECRET
        ) as (service, _),
    ):
        hook = {"url": f"{service.web}/webhooks/stripe", "secret": SECRET}
        urllib3.request("POST", f"{url}/_config/webhooks/counterfoil", json=hook, retries=False)
        yield Shop(service)


def test_an_order_is_paid_and_refunded(shop: Shop) -> None:
    order_id, client_secret = shop.ready_to_pay()
    customer = Stripe(shop.service.stripe, KEY)
    intent = f"/v1/payment_intents/{client_secret.partition('_secret_')[0]}"
    method = customer.get("/v1/payment_methods/pm_card_visa")["id"]
    customer.post(intent, payment_method=method)
    assert customer.post(f"{intent}/confirm")["status"] == "succeeded"

    order = shop.until(order_id, "paid")  # nobody but the signed webhook tells
    assert [job["result"]["outcome"] for job in order["jobs"] if job["kind"] == "webhooks.process"] == ["processed"]
    assert shop.refund(order_id, "part", amount=500).status == 200
    assert shop.refund(order_id, "rest").body["amount"] == TOTAL - 500
    shop.until(order_id, "refunded")
    returned = customer.get("/v1/refunds", payment_intent=intent.rpartition("/")[2])["data"]
    assert sorted(refund["amount"] for refund in returned) == [500, TOTAL - 500]
