"""The checker on small histories: each promise broken once, and a clean run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import Checker
from tests.faults.history import ANSWER, ASKED, CALL, Line
from tests.faults.presence import Presence, gaps
from tests.faults.recovery import Claimed, Evidence, Recovery, first_waits, percentile, read_claims, recoveries
from tests.faults.report import Row, overall, too_late
from tests.faults.run import Result
from tests.faults.transitions import legal
from tests.faults.witness import Movement, Witness

MARKS = {"order_id": "o1"}
PAID = Movement("payment", 1000, "usd", "pi_1", None, MARKS)
REFUNDED = Movement("refund", -400, "usd", "pi_1", "re_1", {**MARKS, "refund_id": "r1"})
REVERSED = Movement("refund_reversal", 400, "usd", "pi_1", "re_1", {**MARKS, "refund_id": "r1"})
ORDER = {"id": "o1", "status": "awaiting_payment", "total": 1000, "payments": [], "refunds": [], "jobs": []}
CHECKOUT = {"order_id": "o1", "payment_intent_id": "pi_1"}
REFUND = {"refund_id": "r1", "stripe_refund_id": "re_1", "amount": 400}


class Told:
    """Writes a history line by line; time passes by a second per line."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def told(self, op: str, status: int, body: dict[str, Any], **about: Any) -> Told:
        """One call and its answer."""
        at = float(len(self.lines))
        self.lines += [
            {"what": CALL, "call": len(self.lines), "op": op, "at": at, **about},
            {"what": ANSWER, "call": len(self.lines), "status": status, "body": body, "at": at + 1},
        ]
        return self

    def job(self, job_id: str, status: str, result: dict[str, Any] | None = None, **more: Any) -> Told:
        """The last look at a job."""
        body = {"id": job_id, "status": status, "result": result, "error": None, "timeline": [], **more}
        return self.told("final", 200, body, kind="job", id=job_id)

    def order(self, op: str = "final", **shown: Any) -> Told:
        """A look at the order."""
        return self.told(op, 200, ORDER | shown, kind="order", id="o1")

    def letters(self, *movements: Movement, intents: dict[str, str] | None = None) -> set[str]:
        """What the checker finds."""
        witness = Witness(movements, {"pi_1": "p1"} if intents is None else intents)
        return {violation.letter for violation in Checker(self.lines, witness).violations()}


def checked_out() -> Told:
    return (
        Told()
        .told("order", 201, ORDER, reference="a")
        .told("checkout", 202, {"job_id": "j1"}, key="k1", order="o1")
        .job("j1", "succeeded", CHECKOUT)
    )


def paid(**shown: Any) -> Told:
    return checked_out().order(status="paid", payments=[{"id": "p1", "status": "succeeded", "amount": 1000}], **shown)


def refunded(told: Told, key: str = "k2", job_id: str = "j2", **result: Any) -> Told:
    told.told("refund", 202, {"job_id": job_id}, key=key, order="o1", amount=400)
    return told.job(job_id, "succeeded", REFUND | result)


def shown_refunded() -> Told:
    one = {"id": "r1", "status": "succeeded", "amount": 400}
    payment = {"id": "p1", "status": "succeeded", "amount": 1000}
    return refunded(checked_out()).order(status="partially_refunded", payments=[payment], refunds=[one])


def test_a_clean_run_has_no_violations() -> None:
    assert checked_out().order().letters() == set()
    assert paid().letters(PAID) == set()
    assert shown_refunded().letters(PAID, REFUNDED) == set()


@pytest.mark.parametrize("status", ["queued", "running", "failed", "needs_review", "quarantined"])
def test_an_accepted_job_that_does_not_end_well_is_lost(status: str) -> None:
    told = Told().told("order", 201, ORDER, reference="a").order()
    told.told("checkout", 202, {"job_id": "j1"}, key="k1", order="o1").job("j1", status)
    assert told.letters() == {"L"}


def test_an_accepted_job_or_order_that_vanished_is_lost() -> None:
    told = Told().told("order", 201, ORDER, reference="a")
    assert told.letters() == {"L"}
    told.order().told("checkout", 202, {"job_id": "j1"}, key="k1", order="o1")
    assert told.told("final", 404, {}, kind="job", id="j1").letters() == {"L"}


def test_a_checkout_without_a_payment_intent_at_the_witness_is_lost() -> None:
    assert checked_out().order().letters(intents={}) == {"L"}


def test_two_payments_of_one_order_are_a_double_charge() -> None:
    assert "C" in paid().letters(PAID, Movement("payment", 1000, "usd", "pi_2", None, MARKS))


def test_two_payment_intents_of_one_payment_are_a_double_charge_to_come() -> None:
    assert checked_out().order().letters(intents={"pi_1": "p1", "pi_2": "p1"}) == {"C"}


def test_a_key_and_a_reference_that_made_two_things_are_seen() -> None:
    told = checked_out().order().told("order", 201, ORDER | {"id": "o2"}, reference="a")
    told.told("final", 200, ORDER | {"id": "o2"}, kind="order", id="o2")
    assert told.letters() == {"C"}
    told = checked_out().order().told("checkout", 202, {"job_id": "j9"}, key="k1", order="o1")
    assert told.job("j9", "succeeded", CHECKOUT).letters() == {"C"}


def test_one_event_that_made_two_jobs_is_seen() -> None:
    twice = [{"id": job, "kind": "webhooks.process", "result": {"event_id": "evt_1"}} for job in ("j8", "j9")]
    assert checked_out().order(jobs=twice).letters() == {"C"}


def test_a_refund_made_twice_at_stripe_is_seen() -> None:
    again = Movement("refund", -400, "usd", "pi_1", "re_2", REFUNDED.metadata)
    assert "R" in shown_refunded().letters(PAID, REFUNDED, again)


def test_a_refund_answered_but_not_made_is_seen() -> None:
    assert "R" in shown_refunded().letters(PAID)


def test_more_refunded_than_captured_is_seen() -> None:
    assert "R" in shown_refunded().letters(PAID, REFUNDED, Movement("refund", -601, "usd", "pi_1", "re_2", MARKS))


def test_a_refund_that_nobody_asked_for_is_seen() -> None:
    assert "R" in paid().letters(PAID, REFUNDED)


def test_a_refund_whose_money_came_back_is_no_violation() -> None:
    told = refunded(checked_out())
    one = {"id": "r1", "status": "failed", "amount": 400}
    told.order(status="paid", payments=[{"id": "p1", "status": "succeeded", "amount": 1000}], refunds=[one])
    assert told.letters(PAID, REFUNDED, REVERSED) == set()


def test_an_order_that_goes_back_is_an_illegal_transition() -> None:
    assert "O" in paid().order("poll", status="awaiting_payment").letters(PAID)


def test_looks_that_overlapped_are_not_compared() -> None:
    told = paid()
    told.order("poll", status="awaiting_payment")
    told.lines[-2]["at"] = 0.0  # it left before the other answer came
    assert told.letters(PAID) == set()


def test_a_job_that_ended_twice_is_an_illegal_transition() -> None:
    told = Told().told("order", 201, ORDER, reference="a").order()
    told.told("checkout", 202, {"job_id": "j1"}, key="k1", order="o1")
    told.job("j1", "succeeded", CHECKOUT, timeline=[{"what": "succeeded"}, {"what": "succeeded"}])
    assert told.letters() == {"O"}


def test_an_order_that_is_shown_unlike_the_witness_saw_it_is_stale() -> None:
    assert paid().letters() == {"F"}
    assert checked_out().order().letters(PAID) == {"F"}
    assert refunded(paid()).letters(PAID, REFUNDED) == {"F"}


def test_every_state_can_be_skipped_but_none_undone() -> None:
    assert legal("order", "pending", "refunded")
    assert legal("payment", "creating", "succeeded")
    assert not legal("order", "paid", "pending")
    assert not legal("payment", "succeeded", "requires_payment")
    assert not legal("job", "succeeded", "queued")


BEGAN = 1767225600.0
"""2026-01-01 in Unix time."""


def looked(created: int, finished: int, *expired: int) -> Told:
    at = "2026-01-01T00:00:{:02d}.000Z".format
    timeline = [{"what": "lease expired", "at": at(second), "data": {"times": times}}
                for times, second in enumerate(expired, 1)]  # fmt: skip
    job = {"id": "j1", "created_at": at(created), "finished_at": at(finished), "timeline": timeline}
    return Told().told("final", 200, job, kind="job", id="j1")


def retry(second: int, delay: float, reason: str) -> dict[str, object]:
    at = f"2026-01-01T00:00:{second:02d}.000Z"
    return {"what": "retry", "at": at, "data": {"delay": delay, "reason": reason}}


def happened(told: Told, what: str, second: int, kind: str, target: str) -> None:
    told.lines.append({"what": what, "at": BEGAN + second, "kind": kind, "target": target})


def evidence(*taken: tuple[int, str], gaps: tuple[tuple[int, int], ...] = ()) -> Evidence:
    claims = {"j1": [Claimed(BEGAN + second, worker) for second, worker in taken]}
    return Evidence(claims, {}, [(BEGAN + begin, BEGAN + end) for begin, end in gaps])


def test_recovery_counts_from_the_fault_that_hit_the_jobs_own_worker_until_a_worker_has_it_again() -> None:
    told = looked(8, 16, 14)
    for second, program in ((2, "worker-0"), (9, "worker-1"), (10, "web-0"), (11, "worker-0"), (15, "worker-0")):
        happened(told, "fault", second, "kill", program)
    assert recoveries(told.lines, evidence((9, "worker-0"), (15, "worker-1"))) == [Recovery(4.0, 5.0)]


def test_a_job_whose_worker_killed_itself_counts_from_its_claim() -> None:
    assert recoveries(looked(8, 16, 14).lines, evidence((10, "worker-0"))) == [Recovery(6.0, 6.0)]


def test_a_job_that_was_hit_again_recovered_each_time_and_the_second_time_for_itself() -> None:
    shown = evidence((5, "worker-0"), (10, "worker-0"), (15, "worker-1"), (18, "worker-1"))
    assert recoveries(looked(4, 20, 9, 14).lines, shown) == [Recovery(5.0, 15.0), Recovery(5.0, 10.0, alone=True)]


def test_a_claim_that_nobody_noted_was_made_no_earlier_than_somebody_asked() -> None:
    taken = {"j1": [Claimed(BEGAN + 5, "worker-0"), Claimed(BEGAN + 17, "worker-1")]}
    asked = {"j1": [Claimed(BEGAN + second, "worker-1") for second in (4, 5, 10, 12, 17)]}
    assert recoveries(looked(4, 20, 9, 14).lines, Evidence(taken, asked))[1] == Recovery(7.0, 10.0, alone=True)
    assert recoveries(looked(4, 20, 9, 14).lines, Evidence(taken))[1] == Recovery(8.0, 11.0, alone=True)


def test_a_claim_that_nobody_noted_is_not_taken_for_one_that_was_put_back() -> None:
    told = looked(4, 20, 14)
    told.lines[-1]["body"]["timeline"].insert(0, retry(7, 1.0, "the database is not available"))
    assert recoveries(told.lines, evidence((5, "worker-0"), (17, "worker-1"))) == [Recovery(10.0, 13.0)]


def test_a_first_claim_of_which_nothing_is_noted_counts_from_the_jobs_creation() -> None:
    assert recoveries(looked(8, 16, 14).lines, Evidence({})) == [Recovery(8.0, 8.0)]


def test_t_of_a_whole_run_is_too_long_by_its_percentile_and_not_by_one_row() -> None:
    def row(*seconds: float) -> Row:
        return Row("kills", "sqlite", Result(1, 1.0, [], [Recovery(one, one) for one in seconds], limit=5.0), "again")

    assert too_late([row(*[4.0] * 98), row(6.0, 6.0)])
    assert not too_late([row(*[4.0] * 99), row(6.0)])
    assert not too_late([row(6.0)])
    assert overall([row(*[4.0] * 99), row(6.0)]) == "T of all 100: p99 80% of its bound, longest 120%"


def test_what_workers_noted_is_read_by_its_sort_and_a_torn_line_is_not(tmp_path: Path) -> None:
    (tmp_path / "claims").write_text(
        "1.5 asked worker-0 j1\n2.5 taken worker-0 j1\n3.5 asked worker-1 j1\n4.5 asked wor"
    )
    assert read_claims(tmp_path / "claims") == {"j1": [Claimed(2.5, "worker-0")]}
    assert read_claims(tmp_path / "claims", ASKED) == {"j1": [Claimed(1.5, "worker-0"), Claimed(3.5, "worker-1")]}


def test_the_time_in_which_nobody_could_work_is_no_recovery() -> None:
    told = looked(8, 40, 14)
    happened(told, "fault", 20, "down", "broker")
    happened(told, "healed", 25, "down", "broker")
    shown = evidence((10, "worker-0"), gaps=((0, 11), (22, 30), (38, 50)))
    assert recoveries(told.lines, shown) == [Recovery(30.0 - 1 - 10 - 2, 30.0)]  # and nobody had it again


def test_recovery_from_an_outage_counts_from_its_end_but_not_from_the_end_of_one_workers_rest() -> None:
    told = looked(9, 16)
    happened(told, "healed", 13, "down", "broker")
    happened(told, "healed", 15, "stop", "worker-1")
    assert recoveries(told.lines, evidence((10, "worker-0"))) == [Recovery(3.0, 3.0)]
    assert recoveries(told.lines, evidence((10, "worker-0"), (14, "worker-0"))) == [Recovery(1.0, 3.0)]


def test_a_job_that_stripe_had_put_off_is_due_only_then_whatever_else_had_ended() -> None:
    told = looked(4, 40)
    told.lines[-1]["body"]["timeline"] = [retry(5, 25.0, "no answer from Stripe (ReadTimeoutError)")]
    happened(told, "healed", 10, "down", "broker")
    assert recoveries(told.lines, evidence((5, "worker-0"), (32, "worker-1"))) == [Recovery(2.0, 30.0)]


def test_a_job_that_we_put_off_ourselves_is_held_up_whatever_the_reason_mentions() -> None:
    told = looked(4, 40)
    told.lines[-1]["body"]["timeline"] = [retry(5, 25.0, "it moved while Stripe's answer was being applied")]
    happened(told, "healed", 10, "down", "broker")
    assert recoveries(told.lines, evidence((5, "worker-0"), (32, "worker-1"))) == [Recovery(22.0, 30.0)]


def test_a_job_that_nobody_held_up_did_not_recover_and_its_first_wait_is_known() -> None:
    told = looked(9, 16)
    assert recoveries(told.lines, evidence((14, "worker-0"))) == []
    assert first_waits(told.lines, evidence((14, "worker-0"), (15, "worker-1"), gaps=((10, 12),))) == [3.0]


def test_nobody_can_work_without_a_worker_a_beat_or_stripe() -> None:
    came = [(1.0, "worker-0", True), (1.5, "worker-1", True), (4.0, "worker-0", True)]
    left = [(second, name, False) for second, name in ((0.0, "worker-0"), (2.0, "worker-0"), (3.0, "worker-1"))]
    news = [*came, *left, (5.0, "beat-0", False), (6.0, "web-0", False)]
    assert gaps(news) == [(0.0, 1.0), (3.0, 4.0), (5.0, float("inf"))]


def test_whoever_left_and_did_not_come_back_is_absent() -> None:
    presence = Presence()
    for name in ("worker-0", "worker-1", "beat-0"):
        presence.left(name)
    presence.came("worker-1")
    assert presence.absent("worker") == {"worker-0"}


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert percentile([], 0.5) is None
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert percentile([1.0, 2.0, 3.0], 0.99) == 3.0
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0
