"""Stripe's webhooks: verify the bytes, store the event with its job, answer."""

from __future__ import annotations

from typing import Annotated, Literal

from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import get_logger, monitor, payment
from core.crashpoints import crash_point
from core.domain import intake
from core.errors import Invalid
from web import hints, strictjson
from web.acceptance import job_request
from web.answers import Received
from web.headers import STRIPE_SIGNATURE
from web.metrics import ACCEPTED
from web.parsing import read_body
from web.routing import Routes, Text, reply

logger = get_logger(__name__)
routes = Routes("Webhooks")

MAX_BODY = 1024 * 1024
"""Bytes; refused before the signature is computed over them."""


EXAMPLE = {
    "id": "evt_1Example",
    "object": "event",
    "type": "payment_intent.succeeded",
    "api_version": payment.api_version,
    "livemode": False,
    "data": {"object": {"id": "pi_3Example", "object": "payment_intent"}},
}


class Data(BaseModel):
    """The object that the event is about."""

    object: dict[str, object]


class Envelope(BaseModel):
    """What every snapshot event has. A thin event (`v2.core.event`) is another format and is refused."""

    model_config = ConfigDict(strict=True)

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,255}$")]
    object: Literal["event"]
    type: Annotated[str, Field(pattern=r"^[a-z0-9_.]{1,100}$")]
    api_version: Annotated[str | None, Field(pattern=r"^[\x20-\x7e]{1,64}$")] = None
    livemode: bool = False
    data: Data


@routes.post(
    "/webhooks/stripe",
    "Receive an event from Stripe",
    body=Text("application/json", "A snapshot event, as Stripe signed it", EXAMPLE),
    headers=(STRIPE_SIGNATURE,),
    answers={200: (Received,)},
    problems=(400,),
)
def receive_webhook() -> Response:
    """Store a signed event. 200 means stored; any other answer makes Stripe send it again."""
    raw = read_body(MAX_BODY)
    if not payment.verify_webhook_signature(raw, request.headers.get("Stripe-Signature")):
        raise Invalid("the signature does not match the body", type="invalid-signature")
    event = _envelope(raw)
    expected = event.livemode == payment.livemode()
    accepted = intake.take_in(
        intake.Delivery(event.id, event.type, event.api_version, event.livemode, raw.decode("utf-8"), job_request()),
        expected,
    )
    crash_point("web.event_stored")
    if accepted is not None:
        hints.send(accepted)
        ACCEPTED.labels(accepted.kind.name).inc()
    if not expected:
        _alert(event)
    return reply(Received())


def _envelope(raw: bytes) -> Envelope:
    try:
        return Envelope.model_validate(strictjson.loads(raw))
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, item["loc"])) or "body" for item in error.errors())
        raise Invalid(f"the body is not a snapshot event of Stripe's: see {fields}", type="not-an-event") from None
    except ValueError as error:
        raise Invalid(str(error), type="malformed-json") from None


def _alert(event: Envelope) -> None:
    mode = "live" if event.livemode else "test"
    logger.error("Webhook of the other mode", extra={"event_id": event.id, "mode": mode})
    monitor.capture_exception(
        RuntimeError(f"a {mode} mode webhook reached a deployment of the other mode"), context={"event_id": event.id}
    )
