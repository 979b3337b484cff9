"""What a customer, a bank and the dashboard do at the simulator."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import urllib3

from simulator import Simulator
from tests.core.payments.conftest import KEY


def post(simulator: Simulator, path: str, **params: Any) -> dict[str, Any]:
    """POST to the simulator's API, past our door."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/x-www-form-urlencoded"}
    with urllib3.PoolManager(retries=False) as http:
        answer = http.request("POST", simulator.url + path, body=urlencode(params), headers=headers)
        assert answer.status == 200, answer.data
        found: dict[str, Any] = answer.json()
        return found


def pay(simulator: Simulator, payment_intent_id: str, card: str = "pm_card_visa") -> dict[str, Any]:
    """Confirm a PaymentIntent with a test card."""
    return post(simulator, f"/v1/payment_intents/{payment_intent_id}/confirm", payment_method=card)


def plan(simulator: Simulator, **rule: Any) -> None:
    """Have the simulator's next requests go wrong."""
    with urllib3.PoolManager(retries=False) as http:
        answer = http.request("POST", f"{simulator.url}/_sim/faults", json={"requests": [rule]})
        assert answer.status == 200, answer.data
