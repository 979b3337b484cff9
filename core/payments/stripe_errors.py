"""Every way in which a call to Stripe fails, named by what we do about it (docs.stripe.com/api/errors).

Reads the SDK's errors by their fields, so it needs no SDK.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.payments.errors import (
    PaymentBusy,
    PaymentDeclined,
    PaymentError,
    PaymentKeyReused,
    PaymentMisconfigured,
    PaymentRefused,
    PaymentThrottled,
    PaymentUnknown,
)
from core.payments.stripe_http import AnswerLost, NothingSent
from core.redaction import redact_text

BUSY_SECONDS = 1.0
LONGEST_RETRY_AFTER = 60.0


def named(error: Exception, writing: bool) -> PaymentError | None:
    """Our name for what went wrong, or None for what is neither the network's nor Stripe's: a bug.

    Args:
        writing: the call was a POST, so that a lost answer leaves its outcome unknown; a GET can be repeated.
    """
    if isinstance(error, NothingSent):
        return PaymentBusy(f"Stripe was not reached ({error})")
    if isinstance(error, AnswerLost):
        return _lost(f"no answer from Stripe ({error})", writing)
    if not hasattr(error, "http_status"):
        return None
    ours = _answered(error, writing)
    ours.request_id = _header(error, "request-id")
    return ours


def _answered(error: Any, writing: bool) -> PaymentError:
    status: int | None = error.http_status
    meaning = _BY_STATUS.get(status or 0)
    if meaning is not None:
        return meaning(error)
    told = error.error
    # Only an error in Stripe's own words is Stripe's: a proxy's 404 says nothing about what happened behind it.
    if told is None or status is None or not 400 <= status < 500 or status == FAILED_DEPENDENCY:
        # A stored error is replayed for the key's whole life: it will answer nothing else.
        return _lost(f"Stripe answered {status}", writing, _header(error, "idempotent-replayed") == "true")
    if told.type == "idempotency_error":
        return PaymentKeyReused(_detail(error))
    if told.code == "rate_limit":
        return _slow_down(error)
    return PaymentRefused(_detail(error), told.code, getattr(told, "param", None))


def _lost(seen: str, writing: bool, replayed: bool = False) -> PaymentError:
    return PaymentUnknown(seen, replayed=replayed) if writing else PaymentBusy(seen)


def _declined(error: Any) -> PaymentError:
    told = error.error
    return PaymentDeclined(_detail(error), told and told.code, told and told.decline_code)


def _misconfigured(_: Any) -> PaymentError:
    return PaymentMisconfigured("Stripe does not accept our API key (401)")


def _forbidden(_: Any) -> PaymentError:
    # One right that a restricted key lacks must not stop what needs other rights.
    return PaymentMisconfigured("Stripe does not accept our API key for this (403)", everywhere=False)


def _in_use(error: Any) -> PaymentError:
    return PaymentBusy(f"Stripe is busy with the same object or key ({_code(error) or 409})", delay=BUSY_SECONDS)


def _slow_down(error: Any) -> PaymentError:
    return PaymentThrottled("Stripe asks us to slow down", _retry_after(error))


FAILED_DEPENDENCY = 424
_BY_STATUS: dict[int, Callable[[Any], PaymentError]] = {
    401: _misconfigured,
    402: _declined,
    403: _forbidden,
    409: _in_use,
    429: _slow_down,
}


def _detail(error: Any) -> str:
    return redact_text(error.user_message or type(error).__name__)


def _code(error: Any) -> str | None:
    return error.code or (error.error.code if error.error else None)  # 409 and 429 fill only the second


def _retry_after(error: Any) -> float:
    try:
        return min(max(float(_header(error, "retry-after") or BUSY_SECONDS), 0.1), LONGEST_RETRY_AFTER)
    except ValueError:  # a date, or nonsense
        return BUSY_SECONDS


def _header(error: Any, name: str) -> str | None:
    return next((value for key, value in (error.headers or {}).items() if key.lower() == name), None)
