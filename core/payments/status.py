"""The states of a payment, as strings."""

from __future__ import annotations

from enum import StrEnum


class PaymentStatus(StrEnum):
    """Where a payment stands; `unknown` means that an answer was lost, `needs_review` that a person must look."""

    CREATING = "creating"
    REQUIRES_PAYMENT = "requires_payment"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"
    UNKNOWN = "unknown"
    NEEDS_REVIEW = "needs_review"
