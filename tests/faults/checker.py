"""Decides from the clients' histories and the witness alone; our own status columns are claims to be checked.

L  lost: an accepted request whose job never ends, or whose effect is not at the witness
C  charged twice, or about to be: two payments of one order, two PaymentIntents of one payment, or one key,
   reference or event that made two things
R  refunds: a key refunded twice, more than was captured, or not at all although it was answered as refunded
O  an illegal transition that a client saw, or a job that ended twice
F  a stale writer: what the API shows at the end differs from the witness
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from tests.faults.history import CALL, Line, answered
from tests.faults.transitions import legal
from tests.faults.witness import Witness

ENDINGS = frozenset({"succeeded", "failed", "quarantined", "needs_review"})
HONEST_FAILURES = frozenset({"refund-failed"})
"""How an accepted job may fail although nobody broke a promise: the bank returned the money."""


@dataclass(frozen=True)
class Violation:
    """One broken promise: its letter, what it is about, and what was seen."""

    letter: str
    about: str
    seen: str

    def __str__(self) -> str:
        return f"{self.letter} {self.about}: {self.seen}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The violation that `str` wrote."""
        head, _, seen = text.partition(": ")
        letter, _, about = head.partition(" ")
        return cls(letter, about, seen)


class Checker:
    """One run's evidence, indexed.

    Args:
        lines: the history.
        witness: the simulator's ledger after the run.
        poisoned: orders whose job kills its worker: set aside is how they must end.
    """

    def __init__(self, lines: list[Line], witness: Witness, poisoned: frozenset[str] = frozenset()) -> None:
        self._lines, self._witness, self._poisoned = lines, witness, poisoned
        self._orders: dict[str, dict[str, Any]] = {}  # as placed, by id
        self._accepted: dict[str, Line] = {}  # the first call of each accepted job, by job id
        self._last: dict[tuple[str, str], Line] = {}  # the last look of all at ("order" | "job", id)
        for call, answer in answered(lines):
            self._keep(call, answer)

    def violations(self) -> list[Violation]:
        """Everything that is wrong, in the order of the letters."""
        return [*self._lost(), *self._twice(), *self._refunds(), *self._transitions(), *self._stale()]

    def _keep(self, call: Line, answer: Line) -> None:
        body, op = answer["body"], call["op"]
        if op == "order" and answer["status"] in (200, 201):
            self._orders[body["id"]] = body
        elif op in ("checkout", "refund") and body.get("job_id"):
            self._accepted.setdefault(body["job_id"], call)
        elif op == "final":
            self._last[call["kind"], call["id"]] = answer

    def _final(self, kind: str, object_id: str) -> dict[str, Any] | None:
        answer = self._last.get((kind, object_id))
        return answer["body"] if answer is not None and answer["status"] == 200 else None

    def _lost(self) -> Iterator[Violation]:
        for order_id in self._orders:
            if self._final("order", order_id) is None:
                yield Violation("L", f"order {order_id}", "is not there any more")
        for job_id, call in self._accepted.items():
            lost = self._how_lost(job_id, call)
            if lost:
                yield Violation("L", f"{call['op']} job {job_id}", lost)

    def _how_lost(self, job_id: str, call: Line) -> str | None:
        job = self._final("job", job_id)
        if job is None:
            return "is not there any more"
        if call["order"] in self._poisoned:
            return None if job["status"] == "quarantined" else f"is poison and {job['status']}, not set aside"
        if job["status"] == "succeeded":
            return self._without_effect(call, job["result"])
        if job["status"] == "failed" and (job["error"] or {}).get("type") in HONEST_FAILURES:
            return None
        return f"ended as {job['status']}: {(job['error'] or {}).get('detail')}"

    def _without_effect(self, call: Line, result: dict[str, Any]) -> str | None:
        intent = result.get("payment_intent_id")
        if call["op"] == "checkout" and intent not in self._witness.intents:
            return f"succeeded with {intent}, which the witness does not know"
        return None

    def _twice(self) -> Iterator[Violation]:
        paid = [move for move in self._witness.movements if move.kind == "payment"]
        for order_id, count in Counter(move.metadata.get("order_id", "no order") for move in paid).items():
            if count > 1:
                yield Violation("C", f"order {order_id}", f"paid {count} times")
        for payment_id, count in Counter(self._witness.intents.values()).items():
            if count > 1:  # each could be paid
                yield Violation("C", f"payment {payment_id}", f"has {count} PaymentIntents")
        for (what, key), made in self._made().items():
            if len(made) > 1:
                yield Violation("C", f"{what} {key}", f"made {len(made)}: {', '.join(sorted(made))}")

    def _made(self) -> dict[tuple[str, str], set[str]]:
        """What each reference, key and event made."""
        made: dict[tuple[str, str], set[str]] = defaultdict(set)
        for call, answer in answered(self._lines):
            if call["op"] == "order" and answer["status"] in (200, 201):
                made["reference", call["reference"]].add(answer["body"]["id"])
            elif call["op"] in ("checkout", "refund") and answer["body"].get("job_id"):
                made[f"{call['op']} key", call["key"]].add(answer["body"]["job_id"])
        for (kind, _), answer in self._last.items():
            for job in (answer["body"].get("jobs") or []) if kind == "order" else []:
                if job["kind"] == "webhooks.process" and job["result"]:
                    made["event", job["result"]["event_id"]].add(job["id"])
        return made

    def _refunds(self) -> Iterator[Violation]:
        yield from self._over_refunded()
        moved = [move for move in self._witness.movements if move.kind == "refund"]
        at_witness = {move.refund: -move.amount for move in moved}
        marks = [move.metadata for move in moved if move.metadata.get("order_id") in self._orders]
        ours = Counter(mark["refund_id"] for mark in marks if "refund_id" in mark)
        for refund_id, count in ours.items():
            if count > 1:
                yield Violation("R", f"refund {refund_id}", f"made {count} times at Stripe")
        claimed: dict[str, str] = {}
        for job_id, call in self._accepted.items():
            job = self._final("job", job_id)
            if call["op"] != "refund" or job is None or job["status"] != "succeeded":
                continue
            result = job["result"]
            if at_witness.get(result["stripe_refund_id"]) != result["amount"]:
                yield Violation("R", f"refund job {job_id}", f"{result} is not what the witness saw")
            first = claimed.setdefault(result["stripe_refund_id"], job_id)
            if first != job_id:
                yield Violation("R", f"refund job {job_id}", f"shares its refund with {first}")
        yield from self._unasked(set(ours))

    def _over_refunded(self) -> Iterator[Violation]:
        left: Counter[str] = Counter()
        for move in self._witness.movements:
            if move.kind in ("payment", "refund", "refund_reversal"):
                left[move.intent] += move.amount
                if left[move.intent] < 0:
                    yield Violation("R", move.intent, f"refunded {-left[move.intent]} more than was captured")

    def _unasked(self, made: set[str]) -> Iterator[Violation]:
        """Refunds at the witness for which no client's key can account; a lost answer may have been an acceptance."""
        asked = {line["key"] for line in self._lines if line["what"] == CALL and line["op"] == "refund"}
        refused = {
            call["key"] for call, answer in answered(self._lines, "refund")
            if 400 <= answer["status"] < 500 and not answer["body"].get("job_id")
        }  # fmt: skip
        accepted = {call["key"] for call in self._accepted.values() if call["op"] == "refund"}
        if len(made) > len(asked - (refused - accepted)):
            yield Violation("R", "all refunds", f"{len(made)} made for {len(asked - refused)} keys")

    def _transitions(self) -> Iterator[Violation]:
        """Only looks that did not overlap are compared: the later call left after the earlier answer came."""
        seen: dict[tuple[str, str], tuple[float, str]] = {}
        for call, answer in answered(self._lines):
            for kind, object_id, status in _statuses(call, answer):
                at, before = seen.get((kind, object_id), (0.0, status))
                if call["at"] < at:
                    continue
                if not legal(kind, before, status):
                    yield Violation("O", f"{kind} {object_id}", f"{before} -> {status}")
                seen[kind, object_id] = (answer["at"], status)
        for (kind, job_id), answer in self._last.items():
            ends = [line["what"] for line in answer["body"].get("timeline", []) if line["what"] in ENDINGS]
            if kind == "job" and len(ends) > 1:
                yield Violation("O", f"job {job_id}", f"ended {len(ends)} times: {', '.join(ends)}")

    def _stale(self) -> Iterator[Violation]:
        money = _money_by_order(self._witness)
        for order_id, placed in self._orders.items():
            shown = self._final("order", order_id)
            if shown is None:
                continue
            paid, refunded = money.get(order_id, (0, 0))
            expected = _expected_status(paid, refunded)
            if shown["status"] not in expected:
                yield Violation("F", f"order {order_id}", f"shown {shown['status']}, the witness says {expected[0]}")
            counted = sum(one["amount"] for one in shown["payments"] if one["status"] == "succeeded")
            back = sum(one["amount"] for one in shown["refunds"] if one["status"] in ("succeeded", "pending"))
            if (counted, back) != (paid, refunded):
                sums = f"shown paid {counted} refunded {back}, the witness says {paid} and {refunded}"
                yield Violation("F", f"order {order_id}", f"{sums} of {placed['total']}")


def _statuses(call: Line, answer: Line) -> Iterator[tuple[str, str, str]]:
    body = answer["body"]
    if answer["status"] != 200 or call["op"] not in ("poll", "final"):
        return
    if call["kind"] == "job":
        yield "job", body["id"], body["status"]
        return
    yield "order", body["id"], body["status"]
    for kind in ("payment", "refund"):
        for one in body[f"{kind}s"]:
            yield kind, one["id"], one["status"]


def _money_by_order(witness: Witness) -> dict[str, tuple[int, int]]:
    """Per order: minor units captured, and minor units refunded and not returned."""
    of_intent = {move.intent: move.metadata.get("order_id", "") for move in witness.movements if move.kind == "payment"}
    paid, refunded = Counter[str](), Counter[str]()
    for move in witness.movements:
        order_id = of_intent.get(move.intent, "")
        if move.kind == "payment":
            paid[order_id] += move.amount
        elif move.kind in ("refund", "refund_reversal"):
            refunded[order_id] -= move.amount
    return {order_id: (paid[order_id], refunded[order_id]) for order_id in paid}


def _expected_status(paid: int, refunded: int) -> tuple[str, ...]:
    if paid == 0:
        return ("pending", "awaiting_payment", "canceled")
    if refunded == 0:
        return ("paid",)
    return ("refunded",) if refunded >= paid else ("partially_refunded",)
