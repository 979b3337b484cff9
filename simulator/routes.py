"""Every /v1 endpoint in one table."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import unknown_url
from simulator.listing import Handler, events, lister
from simulator.money import currency
from simulator.params import LISTING, Spec, array, boolean, integer, metadata, string
from simulator.resources import charges, customers, disputes, payment_intents, payment_methods, read_only, refunds


@dataclass(frozen=True)
class Route:
    """One endpoint.

    Attributes:
        handler: does it, inside the transaction.
        spec: its parameters.
        required: those that must be there.
        browser: may be called with a publishable key.
    """

    handler: Handler
    spec: Spec
    required: tuple[str, ...] = ()
    browser: bool = False


_text = string(clearable=False)
_SECRET: Spec = {"client_secret": _text}

ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "customers"): Route(customers.create, customers.FIELDS),
    ("GET", "customers"): Route(lister("customer", "/v1/customers", "email"), LISTING | {"email": _text}),
    ("GET", "customers/:id"): Route(customers.retrieve, {}),
    ("POST", "customers/:id"): Route(customers.update, customers.FIELDS),
    ("DELETE", "customers/:id"): Route(customers.delete, {}),
    ("POST", "payment_intents"): Route(payment_intents.create, payment_intents.CREATE, ("amount", "currency")),
    ("GET", "payment_intents"): Route(
        lister("payment_intent", "/v1/payment_intents", "customer"), LISTING | {"customer": _text}
    ),
    ("GET", "payment_intents/:id"): Route(payment_intents.retrieve, _SECRET, browser=True),
    ("POST", "payment_intents/:id"): Route(payment_intents.update, payment_intents.UPDATE),
    ("POST", "payment_intents/:id/confirm"): Route(payment_intents.confirm, payment_intents.CONFIRM, browser=True),
    ("POST", "payment_intents/:id/cancel"): Route(
        payment_intents.cancel, {"cancellation_reason": payment_intents.REASONS}
    ),
    ("POST", "payment_intents/:id/capture"): Route(
        payment_intents.capture, {"amount_to_capture": integer(), "metadata": metadata}
    ),
    ("GET", "payment_methods/:id"): Route(payment_methods.retrieve, {}),
    ("GET", "charges"): Route(
        lister("charge", "/v1/charges", "customer", "payment_intent"),
        LISTING | {"customer": _text, "payment_intent": _text},
    ),
    ("GET", "charges/:id"): Route(charges.retrieve, {}),
    ("POST", "refunds"): Route(refunds.create, refunds.CREATE),
    ("GET", "refunds"): Route(
        lister("refund", "/v1/refunds", "payment_intent", "charge"),
        LISTING | {"payment_intent": _text, "charge": _text},
    ),
    ("GET", "refunds/:id"): Route(refunds.retrieve, {}),
    ("POST", "refunds/:id"): Route(refunds.update, refunds.UPDATE),
    ("POST", "refunds/:id/cancel"): Route(refunds.cancel, {}),
    ("GET", "disputes"): Route(
        lister("dispute", "/v1/disputes", "payment_intent", "charge"),
        LISTING | {"payment_intent": _text, "charge": _text},
    ),
    ("GET", "disputes/:id"): Route(disputes.retrieve, {}),
    ("POST", "disputes/:id"): Route(disputes.update, disputes.UPDATE),
    ("POST", "disputes/:id/close"): Route(disputes.close, {}),
    ("GET", "balance_transactions"): Route(
        lister("balance_transaction", "/v1/balance_transactions", "type", "source"),
        LISTING | {"type": _text, "source": _text, "currency": currency},
    ),
    ("GET", "balance_transactions/:id"): Route(read_only.retrieve_balance_transaction, {}),
    ("GET", "events"): Route(
        events, LISTING | {"type": _text, "types": array(_text), "delivery_success": boolean}
    ),
    ("GET", "events/:id"): Route(read_only.retrieve_event, {}),
}  # fmt: skip


def resolve(method: str, path: str) -> tuple[Route, str]:
    """The endpoint of a path below /v1/, and the id in it.

    Raises:
        ApiError: 404, there is none.
    """
    parts = path.removeprefix("/v1/").split("/")
    object_id = parts[1] if len(parts) > 1 else ""
    pattern = "/".join([parts[0], ":id", *parts[2:]]) if object_id else path.removeprefix("/v1/")
    route = ROUTES.get((method, pattern))
    if route is None:
        raise unknown_url(method, path)
    return route, object_id
