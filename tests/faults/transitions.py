"""Which moves a client may see. Polls skip states, so every state that can be reached in some steps is legal."""

from __future__ import annotations

_ORDER = {
    "pending": {"awaiting_payment"},
    "awaiting_payment": {"paid", "pending", "canceled"},
    "paid": {"partially_refunded", "refunded"},
    "partially_refunded": {"refunded", "paid"},  # back when a refund that had succeeded fails at the bank
    "refunded": {"partially_refunded", "paid"},
    "canceled": {"paid"},  # money that arrives late is recorded
}
_PAYMENT = {
    "creating": {"unknown", "requires_payment", "needs_review", "canceled"},
    "unknown": {"requires_payment", "needs_review", "canceled"},
    "requires_payment": {"requires_action", "processing", "succeeded", "canceled", "needs_review"},
    "requires_action": {"requires_payment", "processing", "succeeded", "canceled"},
    "processing": {"requires_payment", "succeeded", "canceled"},
    "needs_review": {"requires_payment", "succeeded", "canceled"},
    "canceled": {"succeeded"},
}
_REFUND = {
    "creating": {"unknown", "pending", "requires_action", "needs_review", "canceled", "failed"},
    "unknown": {"pending", "requires_action", "needs_review", "canceled", "failed"},
    "pending": {"requires_action", "succeeded", "failed", "canceled"},
    "requires_action": {"pending", "succeeded", "failed", "canceled"},
    "succeeded": {"failed"},
    "needs_review": {"pending"},
}
_JOB = {
    "queued": {"running"},
    "running": {"queued", "succeeded", "failed", "quarantined", "needs_review"},
}


def _closure(steps: dict[str, set[str]]) -> dict[str, frozenset[str]]:
    return {state: frozenset(_reached({state}, steps)) for state in {*steps, *set().union(*steps.values())}}


def _reached(states: set[str], steps: dict[str, set[str]]) -> set[str]:
    more = states.union(*(steps.get(state, set()) for state in states))
    return states if more == states else _reached(more, steps)


LEGAL = {kind: _closure(steps) for kind, steps in
         {"order": _ORDER, "payment": _PAYMENT, "refund": _REFUND, "job": _JOB}.items()}  # fmt: skip


def legal(kind: str, before: str, after: str) -> bool:
    """Whether an object of this kind that was seen as `before` may be seen as `after` later."""
    return after in LEGAL[kind].get(before, ())
