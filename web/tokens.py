"""Checkout tokens: what a customer's browser needs to pay one order, and nothing else."""

from __future__ import annotations

from functools import lru_cache

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from core import settings
from web.problems import Unauthenticated

PREFIX = "cft_"
LIFETIME = 24 * 3600
"""Seconds."""


def issue(account_id: str, order_id: str) -> str:
    """A token for this order, signed with SECRET_KEY, so nothing is stored and any web process accepts it."""
    return PREFIX + _signer(settings.load().secret_key.get_secret_value()).dumps([account_id, order_id])


def read(token: str) -> tuple[str, str]:
    """The account and the order that `token` was issued for.

    Raises:
        Unauthenticated: it was not issued here, was changed, or is too old.
    """
    signer = _signer(settings.load().secret_key.get_secret_value())
    try:
        account_id, order_id = signer.loads(token.removeprefix(PREFIX), max_age=LIFETIME)
    except SignatureExpired:
        raise Unauthenticated("the checkout token has expired: get a new one by placing the order again") from None
    except BadSignature:
        raise Unauthenticated("the checkout token is not valid") from None
    return account_id, order_id


@lru_cache(maxsize=4)
def _signer(secret_key: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret_key, salt="counterfoil.checkout-token")
