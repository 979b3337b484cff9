"""What one customer and the shop's front end do with one order, repeats and races included."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.faults.caller import Answer, Caller, NoAnswer
from tests.faults.checker import ENDINGS

CARDS = ("pm_card_visa",) * 8 + ("pm_card_refundFail", "pm_card_pendingRefund")
SLOW_REFUNDS = ("pm_card_visa", "pm_card_pendingRefund", "pm_card_pendingRefund")
CUSTOMERS = 400
"""Some come again, and after hundreds of orders some are still new: several crash points are met by those only."""


@dataclass(frozen=True)
class Habits:
    """How customers behave in a run.

    Args:
        dawdle: longest time in seconds between getting the PaymentIntent and paying.
        poison: share of orders whose payment job kills its worker.
        refunds: share of paid orders that get refunds.
        repeats: share of requests that are sent several times at once.
        cards: what they pay with.
        waits: seconds for a job to end or an order to be paid; what takes longer is left to the last look.
    """

    dawdle: float = 0.0
    poison: float = 0.0
    refunds: float = 0.7
    repeats: float = 0.3
    cards: tuple[str, ...] = CARDS
    waits: float = 90.0


class Customer:
    """Runs one order from its placing to its refunds.

    Args:
        name: unique in the run; the order's reference and the keys begin with it.
        shop: calls the service.
        stripe: calls the simulator with a publishable key.
        dice: decides everything, so that a seed replays the same requests.
        habits: how this run's customers behave.
    """

    def __init__(self, name: str, shop: Caller, stripe: Caller, dice: random.Random, habits: Habits) -> None:
        self._name, self._shop, self._stripe, self._dice, self._habits = name, shop, stripe, dice, habits
        self._keys = 0
        self.operations = 0
        self.order_id: str | None = None
        self.jobs: set[str] = set()
        self.poisoned = dice.random() < habits.poison

    def run(self) -> None:
        """Do all of it; what gets no answer for too long is left for the checker."""
        try:
            self._shop_and_pay()
        except NoAnswer:
            return

    def _shop_and_pay(self) -> None:
        order = self._place()
        intents = self._check_out()
        if self.poisoned or not intents:
            return
        time.sleep(self._dice.uniform(0, self._habits.dawdle))
        for intent, secret in intents.items():  # a customer with two windows pays in both, if there are two to pay
            self._pay(intent, secret)
        if self._dice.random() < self._habits.refunds and self._is_paid():
            self._refund(order["total"])

    def _place(self) -> dict[str, Any]:
        items = [{"name": f"thing {n}", "unit_amount": self._dice.randrange(500, 20_000, 100), "quantity": n + 1}
                 for n in range(self._dice.randint(1, 3))]  # fmt: skip
        body = {
            "user": {"email": f"customer{self._dice.randrange(CUSTOMERS)}@example.com"},
            "currency": self._dice.choice(("usd", "eur", "jpy")),
            "items": items,
            "reference": self._name,
            "metadata": {"poison": "yes"} if self.poisoned else {},
        }
        answers = self._often(lambda: self._shop.post("/orders", body, "order", reference=self._name))
        order: dict[str, Any] = answers[0].body
        self.order_id = order["id"]
        return order

    def _check_out(self) -> dict[str, str]:
        """Client secrets by PaymentIntent; sometimes two windows ask at once, each with its own key."""
        keys = [self._key() for _ in range(2 if self._dice.random() < 0.15 else 1)]
        prefer = self._dice.choice((None, None, None, "wait=2"))

        def ask(key: str) -> Answer:
            path = f"/orders/{self.order_id}/checkout"
            return self._shop.post(path, {}, "checkout", key, prefer, order=self.order_id)

        answers = self._often(*(lambda key=key: ask(key) for key in keys))
        results = [self._end_of(answer) for answer in answers]
        return {done["payment_intent_id"]: done["client_secret"] for done in results if done}

    def _pay(self, intent: str, secret: str) -> None:
        self.operations += 1
        fields = {"payment_method": self._dice.choice(self._habits.cards), "client_secret": secret}
        self._stripe.form(f"/v1/payment_intents/{intent}/confirm", fields, "pay", order=self.order_id)

    def _is_paid(self) -> bool:
        return self._until("order", str(self.order_id), lambda order: order["status"] != "awaiting_payment") is not None

    def _refund(self, total: int) -> None:
        style = self._dice.choice(("full", "partial", "two", "race"))
        step = 100  # minor units; whole in every currency here
        part = max(total // 3 // step * step, step)
        most = max(total * 6 // 10 // step * step, step)
        styles: dict[str, list[dict[str, Any]]] = {
            "full": [{}],
            "partial": [{"amount": part}],
            "two": [{"amount": part}, {"amount": part}],
            "race": [{"amount": most}, {"amount": most}],
        }
        asked = styles[style]
        if style == "race":
            self._ask_refunds(*asked)
            return
        for body in asked:
            self._ask_refunds(body)

    def _ask_refunds(self, *bodies: dict[str, Any]) -> None:
        pairs = [(self._key(), body) for body in bodies]

        def ask(key: str, body: dict[str, Any]) -> Answer:
            path = f"/orders/{self.order_id}/refunds"
            return self._shop.post(path, body, "refund", key, order=self.order_id, amount=body.get("amount"))

        for answer in self._often(*(lambda pair=pair: ask(*pair) for pair in pairs)):
            self._end_of(answer)

    def _often(self, *asks: Callable[[], Answer]) -> list[Answer]:
        """Each request once, or several times at once; answers in no order."""
        copies = self._dice.randint(2, 4) if self._dice.random() < self._habits.repeats else 1
        wanted = [ask for ask in asks for _ in range(copies)]
        self.operations += len(wanted)
        if len(wanted) == 1:
            return [wanted[0]()]
        with ThreadPoolExecutor(len(wanted)) as together:
            return list(together.map(lambda ask: ask(), wanted))

    def _end_of(self, answer: Answer) -> dict[str, Any] | None:
        """The result of the job that was accepted, None when it was refused, failed, or is not done for long."""
        job_id = answer.body.get("job_id")
        if job_id is None:
            return None
        self.jobs.add(job_id)
        if answer.status == 200:
            done: dict[str, Any] = answer.body
            return done
        if self.poisoned:
            return None  # its end takes several leases; the last look sees it
        job = self._until("job", job_id, lambda job: job["status"] in ENDINGS)
        return job["result"] if job else None

    def _until(self, kind: str, object_id: str, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        give_up, pause = time.monotonic() + self._habits.waits, 0.03
        while time.monotonic() < give_up:
            shown: dict[str, Any] = self._shop.look("poll", kind, object_id).body
            if done(shown):
                return shown
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        return None

    def _key(self) -> str:
        self._keys += 1
        return f"{self._name}-{self._keys}"
