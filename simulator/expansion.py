"""expand[]: ids in an answer replaced by their objects (docs.stripe.com/api/expanding_objects)."""

from __future__ import annotations

from typing import Any

from simulator.errors import JSON, invalid
from simulator.operation import Operation
from simulator.store import public

DEEPEST = 4
EXPANDABLE = frozenset({
    "balance_transaction", "charge", "customer", "failure_balance_transaction", "latest_charge", "payment_intent",
    "payment_method", "source",
})  # fmt: skip
_KIND_BY_PREFIX = {
    "txn": "balance_transaction",
    "ch": "charge",
    "cus": "customer",
    "pi": "payment_intent",
    "pm": "payment_method",
    "re": "refund",
    "du": "dispute",
}


def expand(op: Operation, answer: JSON, paths: list[str]) -> JSON:
    """Follow each dotted path (data. first, in lists).

    Raises:
        ApiError: 400, a path does not lead to an id.
    """
    for path in paths:
        steps = path.split(".")
        if len(steps) > DEEPEST:
            raise invalid(f"You cannot expand more than {DEEPEST} levels of a property.", "expand")
        _follow(op, answer, steps, path)
    return answer


def _follow(op: Operation, node: Any, steps: list[str], path: str) -> None:
    if isinstance(node, list):
        for element in node:
            _follow(op, element, steps, path)
        return
    if not steps or node is None:
        return
    name = steps[0]
    value = node.get(name)
    is_list = name == "data" and node.get("object") == "list"
    if not is_list and (name not in EXPANDABLE or name not in node):
        raise invalid(f"This property cannot be expanded ({path}).", "expand")
    if isinstance(value, str):
        found = op.tx.find(_KIND_BY_PREFIX.get(value.split("_")[0], ""), value)
        node[name] = value = public(found) if found else value
    if isinstance(value, dict | list):
        _follow(op, value, steps[1:], path)
