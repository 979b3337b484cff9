"""What may be concluded from what Stripe shows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.clock import utcnow
from core.errors import Retryable
from core.payments import PaymentRefused
from worker.flows.evidence import insist_on_stripe, marked, too_old


def test_a_key_is_trusted_for_less_than_the_day_that_stripe_keeps_it() -> None:
    assert not too_old(utcnow() - timedelta(hours=22, minutes=59))
    assert too_old(utcnow() - timedelta(hours=23, minutes=1))


def test_the_object_that_carries_our_id_is_found_among_others() -> None:
    listed: list[dict[str, Any]] = [
        {"id": "1", "metadata": None},
        {"id": "2"},
        {"id": "3", "metadata": {"payment_id": "theirs"}},
        {"id": "4", "metadata": {"payment_id": "ours"}},
    ]
    assert marked(lambda: listed, "payment_id", "ours") == listed[3]
    assert marked(lambda: listed, "refund_id", "ours") is None


def refusing(code: str) -> list[dict[str, Any]]:
    raise PaymentRefused("no", code)


def test_a_parent_that_stripe_does_not_have_has_no_children() -> None:
    assert marked(lambda: refusing("resource_missing"), "payment_id", "ours") is None


def test_any_other_refusal_to_list_proves_nothing() -> None:
    with pytest.raises(Retryable):
        marked(lambda: refusing("parameter_invalid"), "payment_id", "ours")


def test_real_money_insists_on_stripe_and_test_data_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    insist_on_stripe(test_mode=True)
    with pytest.raises(Retryable):
        insist_on_stripe(test_mode=False)
    monkeypatch.setenv("STRIPE_ENABLED", "true")
    insist_on_stripe(test_mode=False)
