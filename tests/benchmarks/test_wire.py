from __future__ import annotations

import json

import pytest

from benchmarks import wire
from benchmarks.peers import environment, signatures
from core import payment
from core.payments.signature import signed_by

TARGET = wire.Target(order_id="order", payment_id="payment", intent_id="pi_7", amount=1050)


def parts(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:]), body


def test_an_event_is_signed_as_stripe_signs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    headers, body = parts(wire.webhook(TARGET))
    assert signed_by(body, headers["Stripe-Signature"], [wire.WEBHOOK_SECRET])
    monkeypatch.setattr(environment, "SECRET", wire.WEBHOOK_SECRET)
    assert signatures.genuine(body, headers["Stripe-Signature"])
    assert not signatures.genuine(body + b" ", headers["Stripe-Signature"])


def test_an_event_has_the_typical_size_and_the_version_that_we_parse() -> None:
    body = wire.event(TARGET)
    assert len(body) == wire.EVENT_BYTES
    assert json.loads(body)["api_version"] == payment.api_version


def test_a_request_says_how_long_it_is() -> None:
    for request in (wire.webhook(TARGET), wire.checkout(TARGET)):
        headers, body = parts(request)
        assert int(headers["Content-Length"]) == len(body)
        assert wire.content_length(request.partition(b"\r\n\r\n")[0]) == len(body)
