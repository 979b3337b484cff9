"""Disputes and inquiries (docs.stripe.com/api/disputes). An inquiry (warning_*) moves no money."""

from __future__ import annotations

from typing import Any

from simulator import ids, ledger
from simulator.errors import JSON, ApiError, invalid
from simulator.events import emit
from simulator.operation import Operation
from simulator.params import Spec, boolean, merged, metadata

DAYS_TO_ANSWER = 9
CLOSED = frozenset({"won", "lost", "warning_closed"})


def evidence(name: str, value: Any) -> dict[str, str]:
    """Parameter parser: a hash of texts, each at most 20,000 characters."""
    if not isinstance(value, dict) or not all(isinstance(text, str) and len(text) <= 20_000 for text in value.values()):
        raise invalid("Invalid evidence: a hash of texts of at most 20000 characters.", name)
    return dict(value)


UPDATE: Spec = {"metadata": metadata, "evidence": evidence, "submit": boolean}


def open_dispute(
    op: Operation, charge_id: str, *, reason: str, amount: int | None = None, inquiry: bool = False
) -> JSON:
    """The cardholder disputes a captured charge.

    Raises:
        ApiError: 400, it cannot be disputed (again), or not by that amount.
    """
    charge = op.tx.get("charge", charge_id)
    amount = charge["amount_captured"] if amount is None else amount
    if not charge["captured"] or charge["disputed"] or not 0 < amount <= charge["amount_captured"]:
        raise ApiError(400, f"Charge {charge_id} cannot be disputed, or not by that amount.", executed=True)
    dispute: JSON = {
        "id": ids.new("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge_id,
        "created": op.now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": op.now + DAYS_TO_ANSWER * 86_400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": charge["payment_method_details"].get("card", {}).get("brand"),
                "case_type": "inquiry" if inquiry else "chargeback",
                "network_reason_code": "10",
            },
            "type": "card",
        },
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }
    op.tx.add(dispute)
    if not inquiry:
        op.tx.put(charge | {"disputed": True})
        booked = ledger.move(op, "dispute_withdrawn", -amount, dispute, charge=charge, type="adjustment",
                             category="dispute", fee=ledger.DISPUTE_FEE)  # fmt: skip
        dispute = op.tx.put(dispute | {"balance_transactions": [booked]})
    emit(op, "charge.dispute.created", dispute)
    if not inquiry:
        emit(op, "charge.dispute.funds_withdrawn", dispute)
    return dispute


def retrieve(op: Operation, given: JSON, dispute_id: str) -> JSON:
    """GET /v1/disputes/{id}"""
    return op.tx.get("dispute", dispute_id)


def update(op: Operation, given: JSON, dispute_id: str) -> JSON:
    """POST /v1/disputes/{id}: evidence (submit=true hands it in) and metadata."""
    before = _undecided(op, dispute_id)
    after = before | {"evidence": before["evidence"] | given.get("evidence", {})}
    if "metadata" in given:
        after["metadata"] = merged(before["metadata"], given["metadata"])
    submitted = "evidence" in given and given.get("submit", True)
    after["evidence_details"] = before["evidence_details"] | {
        "has_evidence": bool(after["evidence"]),
        "submission_count": before["evidence_details"]["submission_count"] + submitted,
    }
    if submitted:
        warning = before["status"].startswith("warning_")
        after["status"] = "warning_under_review" if warning else "under_review"
    emit(op, "charge.dispute.updated", op.tx.put(after), before)
    return after


def close(op: Operation, given: JSON, dispute_id: str) -> JSON:
    """POST /v1/disputes/{id}/close: the merchant accepts it as lost."""
    return decide(op, dispute_id, won=False)


def decide(op: Operation, dispute_id: str, *, won: bool) -> JSON:
    """The bank (or the merchant) ends it; a won dispute brings the money back, not the fee.

    Raises:
        ApiError: 400, it had already ended.
    """
    before = _undecided(op, dispute_id)
    inquiry = before["status"].startswith("warning_")
    after = before | {"status": "warning_closed" if inquiry else "won" if won else "lost"}
    reinstated = won and not inquiry
    if reinstated:
        charge = op.tx.get("charge", before["charge"])
        booked = ledger.move(op, "dispute_reinstated", before["amount"], before, charge=charge, type="adjustment",
                             category="dispute_reversal")  # fmt: skip
        after["balance_transactions"] = [*before["balance_transactions"], booked]
    emit(op, "charge.dispute.closed", op.tx.put(after), before)
    if reinstated:
        emit(op, "charge.dispute.funds_reinstated", after, before)
    return after


def _undecided(op: Operation, dispute_id: str) -> JSON:
    dispute = op.tx.get("dispute", dispute_id)
    if dispute["status"] in CLOSED:
        raise ApiError(400, "This dispute is already closed.", executed=True)
    return dispute
