"""Customers (docs.stripe.com/api/customers)."""

from __future__ import annotations

import re

from simulator import ids
from simulator.errors import JSON, invalid, no_such
from simulator.events import emit
from simulator.operation import Operation
from simulator.params import ADDRESS, SHIPPING, Spec, merged, metadata, string

FIELDS: Spec = {
    "email": string(512),
    "name": string(256),
    "phone": string(20),
    "description": string(),
    "address": ADDRESS,
    "shipping": SHIPPING,
    "metadata": metadata,
}


def create(op: Operation, given: JSON, _: str) -> JSON:
    """POST /v1/customers"""
    _check_email(given)
    customer: JSON = {
        "id": ids.new("cus"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": op.now,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": ids.token(8).upper(),
        "invoice_settings": {
            "custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None,
        },
        "livemode": False,
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }  # fmt: skip
    customer |= given | {"metadata": merged({}, given.get("metadata"))}
    emit(op, "customer.created", op.tx.add(customer))
    return customer


def retrieve(op: Operation, given: JSON, customer_id: str) -> JSON:
    """GET /v1/customers/{id}; a deleted one answers its stub."""
    return op.tx.get("customer", customer_id)


def update(op: Operation, given: JSON, customer_id: str) -> JSON:
    """POST /v1/customers/{id}"""
    _check_email(given)
    before = _live(op, customer_id)
    after = before | given
    if "metadata" in given:
        after["metadata"] = merged(before["metadata"], given["metadata"])
    emit(op, "customer.updated", op.tx.put(after), before)
    return after


def delete(op: Operation, given: JSON, customer_id: str) -> JSON:
    """DELETE /v1/customers/{id}"""
    customer = _live(op, customer_id)
    emit(op, "customer.deleted", customer)
    stub = {"id": customer_id, "object": "customer", "deleted": True}
    op.tx.put(stub)
    return stub


def _live(op: Operation, customer_id: str) -> JSON:
    customer = op.tx.get("customer", customer_id)
    if customer.get("deleted"):
        raise no_such("customer", customer_id)
    return customer


def _check_email(given: JSON) -> None:
    email = given.get("email")
    if email and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", email):
        raise invalid(f"Invalid email address: {email}", "email", "email_invalid")
