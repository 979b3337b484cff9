"""What stands behind the facade: Stripe (`stripe_door.Door`) or test data (the module `disabled`), to one shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

Answer = dict[str, Any]
Metadata = dict[str, str] | None
BeforeNext = Callable[[], None] | None
"""What a list of many pages calls before each page but the first."""
Listed = Literal["payment_intents", "refunds", "disputes", "balance_transactions"]
"""What Stripe lists page by page."""


class Backend(Protocol):
    """The calls of `core.payments.Payment`, with arguments that it has checked."""

    @property
    def fingerprint(self) -> str: ...

    def create_payment_intent(
        self, amount: int, currency: str, metadata: Metadata, customer_id: str | None, idempotency_key: str | None
    ) -> Answer: ...

    def create_customer(
        self, email: str, name: str | None, metadata: Metadata, idempotency_key: str | None
    ) -> Answer: ...

    def create_refund(
        self,
        payment_intent_id: str,
        amount: int | None,
        reason: str | None,
        metadata: Metadata,
        idempotency_key: str | None,
    ) -> Answer: ...

    def cancel_payment_intent(self, payment_intent_id: str, idempotency_key: str | None) -> Answer: ...

    def retrieve_payment_intent(self, payment_intent_id: str) -> Answer: ...

    def retrieve_refund(self, refund_id: str) -> Answer: ...

    def retrieve_charge(self, charge_id: str) -> Answer: ...

    def retrieve_dispute(self, dispute_id: str) -> Answer: ...

    def list_payment_intents(
        self, customer_id: str | None, created_gte: int | None, created_lte: int | None, before_next: BeforeNext
    ) -> list[Answer]: ...

    def list_refunds(self, payment_intent_id: str | None, created_gte: int | None) -> list[Answer]: ...

    def list_disputes(self, created_gte: int | None) -> list[Answer]: ...

    def list_page(self, of: Listed, starting_after: str | None, created_gte: int | None, limit: int) -> Answer: ...

    def list_events(self, starting_after: str | None, created_gte: int | None, limit: int) -> Answer: ...
