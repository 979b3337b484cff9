"""The fault plan: what goes wrong, decided by seeded random numbers so that a seed replays."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

REQUEST_KINDS = frozenset({
    "timeout", "reset", "reset_mid_body", "error_500", "in_use_409", "rate_limit_429", "unauthorized_401", "latency",
})  # fmt: skip
BEFORE_ONLY = frozenset({"in_use_409", "rate_limit_429", "unauthorized_401"})
WEBHOOK_KINDS = frozenset({"duplicate", "delay", "reorder", "drop", "early", "forged", "stale", "future"})


class PlanError(ValueError):
    """The posted plan is no plan; the message says why."""


@dataclass
class Rule:
    """One line of the plan.

    Attributes:
        kind: one of REQUEST_KINDS or WEBHOOK_KINDS.
        method: GET, POST, DELETE or * (requests only).
        match: path pattern (requests) or event type pattern (webhooks), with * wildcards.
        when: before or after the effect (requests only).
        seconds: how long a timeout or latency lasts, a delivery is delayed or (reorder) may be delayed.
        retry_after: header of a 429, in seconds.
        copies: deliveries of a duplicated webhook.
        probability: that a matching request is hit.
        next: how many hits are left; None for no end.
        fired: how often it has hit.
    """

    kind: str
    match: str = "*"
    method: str = "*"
    when: str = "before"
    seconds: float = 1.0
    retry_after: int = 1
    copies: int = 1
    probability: float = 1.0
    next: int | None = None
    fired: int = 0
    dice: random.Random = field(default_factory=random.Random, repr=False)

    def hits(self, method: str, name: str) -> bool:
        """Roll for a request or event; one roll per match, so that a seed replays."""
        if self.next == 0 or not fnmatchcase(name, self.match) or self.method not in ("*", method):
            return False
        if self.dice.random() >= self.probability:
            return False
        self.next = None if self.next is None else self.next - 1
        self.fired += 1
        return True

    def delay(self) -> float:
        """Seconds by which a webhook is late. Reordered ones are late by different times."""
        if self.kind == "reorder":
            return self.dice.uniform(0, self.seconds) or self.seconds
        return self.seconds if self.kind == "delay" else 0.0

    def shown(self) -> dict[str, Any]:
        """As the control API tells it."""
        return {name: value for name, value in vars(self).items() if name != "dice"}


class FaultPlan:
    """The rules in force. Not durable: a restarted simulator is a healthy one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seed: int = 0
        self.requests: list[Rule] = []
        self.webhooks: list[Rule] = []

    def replace(self, plan: Mapping[str, Any]) -> None:
        """Put `{"seed": 7, "requests": [rule, ...], "webhooks": [rule, ...]}` in force.

        Raises:
            PlanError: it is no such plan; the old one stays.
        """
        unknown = plan.keys() - {"seed", "requests", "webhooks"}
        if unknown:
            raise PlanError(f"unknown members: {', '.join(sorted(unknown))}")
        seed = plan.get("seed", 0)
        requests = [_rule(raw, REQUEST_KINDS, f"{seed}:request:{n}") for n, raw in enumerate(plan.get("requests", []))]
        webhooks = [_rule(raw, WEBHOOK_KINDS, f"{seed}:webhook:{n}") for n, raw in enumerate(plan.get("webhooks", []))]
        with self._lock:
            self.seed, self.requests, self.webhooks = seed, requests, webhooks

    def request(self, method: str, path: str) -> Rule | None:
        """The fault of this request: the first rule that hits."""
        if not self.requests:
            return None
        with self._lock:
            return next((rule for rule in self.requests if rule.hits(method, path)), None)

    def webhook(self, type: str) -> Rule | None:
        """The fault of this event's delivery."""
        if not self.webhooks:
            return None
        with self._lock:
            return next((rule for rule in self.webhooks if rule.hits("*", type)), None)

    def shown(self) -> dict[str, Any]:
        """The plan with its counters."""
        with self._lock:
            return {
                "seed": self.seed,
                "requests": [rule.shown() for rule in self.requests],
                "webhooks": [rule.shown() for rule in self.webhooks],
            }


_TYPES: dict[str, tuple[type, ...]] = {
    "kind": (str,), "match": (str,), "method": (str,), "when": (str,), "seconds": (int, float),
    "retry_after": (int,), "copies": (int,), "probability": (int, float), "next": (int,),
}  # fmt: skip


def _rule(raw: Any, kinds: frozenset[str], seed: str) -> Rule:
    if not isinstance(raw, dict):
        raise PlanError("a rule must be an object")
    for name, value in raw.items():
        if name not in _TYPES or not isinstance(value, _TYPES[name]):
            raise PlanError(f"{name}={value!r} is not a member of a rule, or of the wrong type")
    if raw.get("kind") not in kinds:
        raise PlanError(f"kind must be one of {', '.join(sorted(kinds))}")
    members: dict[str, Any] = {"copies": 2 if raw["kind"] == "duplicate" else 1} | raw
    rule = Rule(**members, dice=random.Random(seed))  # noqa: S311 - it must replay, not surprise
    if rule.when not in ("before", "after") or (rule.kind in BEFORE_ONLY and rule.when == "after"):
        raise PlanError(f"{rule.kind} cannot happen {rule.when}")
    if not 0 <= rule.probability <= 1 or rule.seconds < 0 or rule.copies < 1:
        raise PlanError("probability is 0 to 1, seconds are not negative, copies are at least 1")
    if rule.kind == "reset_mid_body":
        rule.when = "after"
    return rule
