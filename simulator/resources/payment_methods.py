"""Payment methods: Stripe's published test ones become objects of their own when they are used."""

from __future__ import annotations

from simulator import ids
from simulator.behaviours import Behaviour, behaviour
from simulator.errors import JSON, invalid, no_such
from simulator.operation import Operation
from simulator.params import hash_of, one_of, string

DATA = hash_of(
    {"type": one_of("card"), "card": hash_of({"token": string(clearable=False)}, required=("token",))},
    required=("type", "card"),
)
"""payment_method_data: a test token only; card numbers are none of a stand-in's business."""


def use(op: Operation, given: JSON) -> JSON | None:
    """The payment method a request names, by id, published test name or test token; None if it names none.

    Raises:
        ApiError: 400 resource_missing for an unknown name.
    """
    if given.get("payment_method") and given.get("payment_method_data"):
        raise invalid("You may only specify one of these parameters: payment_method, payment_method_data.")
    if data := given.get("payment_method_data"):
        token = data["card"]["token"]
        return _materialise(op, token, "token", "payment_method_data[card][token]")
    name = given.get("payment_method")
    if not name:
        return None
    found = op.tx.find("payment_method", name)
    return found or _materialise(op, name, "PaymentMethod", "payment_method")


def behaviour_of(method: JSON | None) -> Behaviour:
    """What this payment method does."""
    return (behaviour(method["_test_name"]) if method else None) or Behaviour()


def retrieve(op: Operation, given: JSON, method_id: str) -> JSON:
    """GET /v1/payment_methods/{id}"""
    return op.tx.get("payment_method", method_id)


def details(method: JSON) -> JSON:
    """The payment_method_details of a charge made with it."""
    kind = method["type"]
    shown = {name: value for name, value in method[kind].items() if name != "display_brand"}
    return {"type": kind, kind: shown}


def _materialise(op: Operation, name: str, kind: str, param: str) -> JSON:
    does = behaviour(name)
    if does is None:
        raise no_such(kind, name, param)
    method: JSON = {
        "id": ids.new("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": {
                "city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None,
            },
            "email": None, "name": None, "phone": None, "tax_id": None,
        },
        "created": op.now,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "_test_name": name,
    }  # fmt: skip
    if does.brand == "us_bank_account":
        method |= {"type": "us_bank_account", "us_bank_account": {
            "account_holder_type": "individual", "account_type": "checking", "bank_name": "STRIPE TEST BANK",
            "last4": does.last4, "routing_number": "110000000",
        }}  # fmt: skip
    else:
        method |= {"type": "card", "card": {
            "brand": does.brand, "country": "US", "display_brand": does.brand, "exp_month": 12, "exp_year": 2034,
            "fingerprint": "sim" + does.brand + does.last4, "funding": "credit", "last4": does.last4,
            "three_d_secure_usage": {"supported": True}, "wallet": None,
        }}  # fmt: skip
    return op.tx.add(method)
