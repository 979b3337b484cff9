from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from benchmarks.processes import Program, free_port, listens

LATENCY_MS = 80


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    with Program(
        "gateway", [sys.executable, "-m", "benchmarks.gateway", str(port), str(LATENCY_MS)], {}, tmp_path
    ) as gateway:
        gateway.wait_for(lambda: listens(port), 20)
        yield f"http://127.0.0.1:{port}"


def ask(method: str, url: str, body: str = "") -> tuple[int, Any]:
    with urllib3.PoolManager(retries=False) as http:
        answer = http.request(method, url, body=body)
        return answer.status, json.loads(answer.data)


def test_a_payment_intent_is_what_was_asked_for_with_an_id_of_its_own(url: str) -> None:
    body = "amount=1050&currency=usd&customer=cus_1&metadata[order_id]=7"
    (status, first), (_, second) = (
        ask("POST", f"{url}/v1/payment_intents", body),
        ask("POST", f"{url}/v1/payment_intents", body),
    )
    assert (status, first["amount"], first["currency"], first["metadata"]) == (200, 1050, "usd", {"order_id": "7"})
    assert first["id"] != second["id"]
    assert first["client_secret"].startswith(first["id"])


def test_a_customer_is_made(url: str) -> None:
    status, customer = ask("POST", f"{url}/v1/customers", "email=ada%40example.com")
    assert (status, customer["object"], customer["email"]) == (200, "customer", "ada@example.com")


def test_an_answer_takes_its_time(url: str) -> None:
    began = time.monotonic()
    ask("POST", f"{url}/v1/payment_intents", "amount=1050&currency=usd")
    assert time.monotonic() - began >= LATENCY_MS / 1000


def test_it_tells_how_many_it_made(url: str) -> None:
    ask("POST", f"{url}/v1/payment_intents", "amount=1050&currency=usd")
    assert ask("GET", f"{url}/made") == (200, {"/v1/payment_intents": 1, "/v1/customers": 0})


def test_it_knows_nothing_else(url: str) -> None:
    assert ask("POST", f"{url}/v1/refunds", "charge=1")[0] == 404
