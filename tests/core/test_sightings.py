"""What carries our ids at Stripe, where it does not know the customer any more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core import payment
from core.payments import PaymentRefused
from core.sightings import intents_of_customer

SEEN = [{"id": "pi_1"}]
AT = datetime(2026, 11, 24, tzinfo=UTC)


def refusing(code: str) -> Any:
    def list_payment_intents(customer_id: str | None, *span: object) -> list[dict[str, str]]:
        if customer_id or code != "resource_missing":
            raise PaymentRefused("no", code)
        return SEEN

    return list_payment_intents


def test_the_intents_of_a_customer_that_was_deleted_are_found_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payment, "list_payment_intents", refusing("resource_missing"))
    assert intents_of_customer("cus_gone", AT, AT) == SEEN
    assert intents_of_customer(None, AT, AT) == SEEN


@pytest.mark.parametrize("customer_id", [None, "cus_1"])
def test_any_other_refusal_concludes_nothing(monkeypatch: pytest.MonkeyPatch, customer_id: str | None) -> None:
    monkeypatch.setattr(payment, "list_payment_intents", refusing("parameter_invalid"))
    with pytest.raises(PaymentRefused):
        intents_of_customer(customer_id, AT, AT)
