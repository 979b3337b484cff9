"""What can go wrong with Stripe, named by what we do about it; nothing of the SDK's own errors leaves the door."""

from __future__ import annotations

from core.errors import Declined, Permanent, Retryable, Uncertain, Unprocessable, Upstream


class PaymentError(Exception):
    """Anything that went wrong with a payment; catch this, or one of the kinds below."""

    code: str | None = None
    """Stripe's own code, where it gave one."""
    request_id: str | None = None
    """Stripe's id of the request, to ask its support about."""


class PaymentInvalid(PaymentError, Unprocessable):
    """The arguments cannot be a payment; nothing was sent."""


class PaymentDeclined(PaymentError, Declined):
    """The issuer said no: an answer, not a fault."""

    def __init__(self, detail: str, code: str | None = None, decline_code: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.decline_code = decline_code


class PaymentRefused(PaymentError, Upstream):
    """Stripe will not do it (400, 404): repeating changes nothing.

    Args:
        detail: Stripe's message.
        code: Stripe's code.
        param: the parameter that it is about, where Stripe names one.
    """

    def __init__(self, detail: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(detail, type="stripe-refused")
        self.code = code
        self.param = param


class PaymentKeyReused(PaymentError, Permanent):
    """The idempotency key came with other parameters before: a bug of ours, for a person."""

    type, title, status = "idempotency-key-misused", "Our own fault", 500
    code = "idempotency_error"


class PaymentBusy(PaymentError, Retryable):
    """Nothing happened; try again (409 key in use, a read that failed, a connection that was refused)."""


class PaymentThrottled(PaymentBusy):
    """Stripe asks us to slow down (429): it says so to all of us, and nothing about this payment.

    Args:
        detail: what was seen.
        delay: seconds to wait.
    """

    delay: float

    def __init__(self, detail: str, delay: float) -> None:
        super().__init__(detail, delay=delay, spends_attempt=False)


class PaymentMisconfigured(PaymentError, Retryable):
    """Stripe does not accept our key (401, 403), or we have none: our configuration, no fault of the payment.

    Args:
        detail: what was seen.
        delay: seconds to wait.
        everywhere: False when the key is good and only lacks the right to this call (403).
    """

    delay: float
    fingerprint = "none"
    """Of the key that was refused, as `Payment.fingerprint` gives it; the door names it."""

    def __init__(self, detail: str, delay: float = 30.0, everywhere: bool = True) -> None:
        super().__init__(detail, delay=delay, spends_attempt=False)
        self.everywhere = everywhere


class PaymentUnknown(PaymentError, Uncertain):
    """A write was sent and its answer was lost, or was 5xx: it may have happened.

    Args:
        detail: what was seen.
        replayed: Stripe replayed the error that it keeps for the key: this key will answer nothing else.
    """

    def __init__(self, detail: str, replayed: bool = False) -> None:
        super().__init__(detail)
        self.replayed = replayed
