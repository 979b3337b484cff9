"""Whatever happens at Stripe, and in whatever order, how often and how late we hear of it, we end where Stripe is."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from core.domain import jobs, ledger, orders
from core.domain.settlement import INTENT_STATUS, REFUND_STATUS
from tests.worker.shop import Shop
from tests.worker.stripe import Stripe

TOTAL = 1050
BOUNDED = settings(
    max_examples=20, stateful_step_count=12, deadline=None, derandomize=True, print_blob=False,
    phases=[Phase.generate],  # to shrink a failure, which takes minutes, leave this out
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
CARDS = ("pm_card_visa", "pm_card_chargeDeclined", "pm_card_pendingRefund", "pm_card_refundFail")
SIGNS = {ledger.REFUND: -1, ledger.REFUND_REVERSAL: 1, ledger.DISPUTE_WITHDRAWN: -1, ledger.DISPUTE_REINSTATED: 1}


class Story(RuleBasedStateMachine):
    """One order: things happen at Stripe, and its events reach us or do not, early, late, and again."""

    shop: Shop
    stripe: Stripe

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.dice = random.Random(seed)  # the order of the last deliveries, which come after all draws
        self.order = self.shop.order(TOTAL)
        self.heard: set[str] = set()
        [job] = self.shop.work(self.shop.checkout(self.order))
        assert job.result is not None
        self.intent_id: str = job.result["payment_intent_id"]

    # -- at Stripe

    @rule(card=st.sampled_from(CARDS))
    def the_customer_pays(self, card: str) -> None:
        if self.intent()["status"] == "requires_payment_method":
            self.stripe.pay(self.intent_id, card)

    @rule()
    def somebody_cancels_in_the_dashboard(self) -> None:
        if self.dice.random() < 0.2:
            self.stripe.post(f"/v1/payment_intents/{self.intent_id}/cancel")

    @rule(amount=st.sampled_from([50, 300, 700]))
    def somebody_refunds_in_the_dashboard(self, amount: int) -> None:
        self.stripe.post("/v1/refunds", payment_intent=self.intent_id, amount=amount)

    @rule(verb=st.sampled_from(["settle", "fail"]), which=st.integers(0, 3))
    def a_bank_decides_about_a_refund(self, verb: str, which: int) -> None:
        found = self.refunds()
        if found:
            self.stripe.control(f"/refunds/{found[which % len(found)]['id']}/{verb}")

    @rule(inquiry=st.booleans())
    def the_cardholder_disputes(self, inquiry: bool) -> None:
        if charge := self.intent().get("latest_charge"):
            self.stripe.control(f"/charges/{charge}/dispute?inquiry={str(inquiry).lower()}")

    @rule(outcome=st.sampled_from(["won", "lost"]))
    def the_bank_decides_about_a_dispute(self, outcome: str) -> None:
        for dispute in self.disputes()[:1]:
            self.stripe.control(f"/disputes/{dispute['id']}/close?outcome={outcome}")

    # -- here

    @precondition(lambda self: self.shop.look(self.order).status in (orders.PAID, orders.PARTIALLY_REFUNDED))
    @rule(amount=st.sampled_from([100, 400]))
    def the_shop_refunds(self, amount: int) -> None:
        held = sum(one.amount for one in self.shop.refunds(self.order) if one.status not in ("failed", "canceled"))
        if held + amount <= TOTAL:
            self.shop.work(self.shop.refund(self.order, amount))

    @rule(which=st.integers(0, 30), times=st.integers(1, 3))
    def an_event_arrives(self, which: int, times: int) -> None:
        found = self.events()
        for _ in range(times):
            self.hear([found[which % len(found)]])

    # -- at last

    def teardown(self) -> None:
        """All events arrive, shuffled, some twice; then we are where Stripe is, whatever came before."""
        if not hasattr(self, "intent_id"):
            return
        late = self.events() * 2
        self.dice.shuffle(late)
        for event in late:
            self.hear([event])
        self.shop.work_off()
        intent = self.intent()
        assert self.shop.payment(self.order).status == INTENT_STATUS[intent["status"]]
        ours = sorted((one.stripe_refund_id, one.amount, one.status) for one in self.shop.refunds(self.order)
                      if one.stripe_refund_id)  # fmt: skip
        assert ours == sorted((one["id"], one["amount"], REFUND_STATUS[one["status"]]) for one in self.refunds())
        refunded = sum(one["amount"] for one in self.refunds() if one["status"] == "succeeded")
        assert self.shop.look(self.order).status == self.expected_order(intent["status"], refunded)
        shown = {dispute["id"]: dispute["status"] for dispute in self.disputes()}
        assert {one.stripe_dispute_id: one.status for one in self.shop.disputes(self.order)} == shown
        assert self.shop.look(self.order).disputed == any(
            status not in ("won", "lost", "warning_closed") for status in shown.values()
        )
        # Stripe books a refund when it is asked for, we post it when it has succeeded.
        assert self.ledger_nets() == self.witness_nets() | {"refund": -refunded}
        assert {self.shop.job(job_id).status for job_id in self.heard} <= {jobs.SUCCEEDED}

    def expected_order(self, intent: str, refunded: int) -> str:
        if intent != "succeeded":
            return orders.PENDING if intent == "canceled" else orders.AWAITING_PAYMENT
        return {0: orders.PAID, TOTAL: orders.REFUNDED}.get(refunded, orders.PARTIALLY_REFUNDED)

    def ledger_nets(self) -> dict[str, int]:
        """Per group of movements what is left: a refund that came and went while we heard nothing is no posting."""
        nets = {"payment": 0, "refund": 0, "dispute": 0}
        for kind, amount in self.shop.ledger(self.order):
            nets[kind.partition("_")[0]] += SIGNS.get(kind, 1) * amount if kind != ledger.FEE else 0
        return nets

    def witness_nets(self) -> dict[str, int]:
        nets = {"payment": 0, "refund": 0, "dispute": 0}
        for moved in self.stripe.control(f"/ledger?payment_intent={self.intent_id}", "GET")["movements"]:
            if moved["kind"] != "fee":
                nets[moved["kind"].partition("_")[0]] += moved["amount"]
        return nets

    # -- looking

    def hear(self, events: list[dict[str, Any]]) -> None:
        self.shop.hear(events)
        for kind, job_id in self.shop.queued():
            self.heard.add(job_id)
            self.shop.make_due()
            self.shop.hint(kind, job_id)

    def events(self) -> list[dict[str, Any]]:
        page = self.stripe.get("/v1/events", limit=100)["data"]
        return [one for one in page if self.intent_id in (one["data"]["object"].get("payment_intent"),
                                                          one["data"]["object"]["id"])]  # fmt: skip

    def intent(self) -> dict[str, Any]:
        return self.stripe.get(f"/v1/payment_intents/{self.intent_id}")

    def refunds(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.stripe.get("/v1/refunds", payment_intent=self.intent_id, limit=100)["data"]
        return found

    def disputes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.stripe.get("/v1/disputes", payment_intent=self.intent_id, limit=100)["data"]
        return found


@pytest.mark.usefixtures("impatient")
def test_the_final_state_depends_only_on_what_happened_at_stripe(shop: Shop, stripe: Stripe) -> None:
    story = type("StoryHere", (Story,), {"shop": shop, "stripe": stripe})
    run_state_machine_as_test(story, settings=BOUNDED)
