"""Asking Stripe for one object, so that one that it fails to show does not stop the work on all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core import get_logger, payment
from core.database import DatabaseUnavailable
from core.errors import Retryable
from core.payments import PaymentRefused
from worker.work import Work

logger = get_logger(__name__)


@dataclass(frozen=True)
class Told:
    """What Stripe said: the object, that it does not show it (`refused`), or nothing that helps (`failed`)."""

    seen: dict[str, Any] | None = None
    refused: str | None = None
    failed: str | None = None


def ask(work: Work, object_id: str, call: Callable[[], dict[str, Any] | None]) -> Told:
    """Make the call, and tell a Stripe that is away from one that only fails at this object.

    Args:
        object_id: for the log.

    Raises:
        Retryable: Stripe is away, asks us to slow down, does not accept our key, too little of the lease is left, or
            the worker stops.
    """
    work.check_time()
    try:
        return Told(seen=call())
    except PaymentRefused as error:
        return Told(refused=error.detail)
    except DatabaseUnavailable:  # between two pages: no fault of Stripe's
        raise
    except Retryable as error:
        if not error.spends_attempt:  # asked to slow down, or our key is not accepted: every call would be
            raise
        failed = error.detail
    work.renew()  # the call may have waited for as long as one can
    payment.list_events(limit=1)  # raises when Stripe answers nothing at all
    logger.warning("Stripe answers, and fails to show one object", extra={"object_id": object_id, "reason": failed})
    return Told(failed=failed)
