"""Money is an integer of minor units with an ISO 4217 currency; no sum ever crosses currencies.

Rules per currency from Stripe's documentation (docs.stripe.com/currencies).
"""

from __future__ import annotations

from functools import cache

from core.errors import Unprocessable

ZERO_DECIMAL = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
# Sent times 100 although they have no minor unit in use: the cents must be 00.
CENTS_MUST_BE_ZERO = frozenset({"isk", "ugx"})
LARGEST_AMOUNT = 99_999_999
"""Stripe takes at most eight digits, in minor units."""

# Stripe's published minimum charge in minor units; elsewhere its check (about US$0.50) answers.
MINIMUM_CHARGE = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250,
    "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300,
    "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip


@cache
def currencies() -> frozenset[str]:
    """Lower-case codes of the currencies in legal use somewhere today (Unicode CLDR, through Babel)."""
    from babel.core import get_global

    today: set[str] = set()
    for territory in get_global("territory_currencies").values():
        today.update(code.lower() for code, _, end, tender in territory if end is None and tender)
    return frozenset(today)


def check_currency(currency: str) -> str:
    """Return `currency` in lower case.

    Raises:
        Unprocessable: not a three-letter code of a currency in use.
    """
    code = currency.lower()
    if code not in currencies():
        raise Unprocessable("currency must be an ISO 4217 code in use, for example usd or eur", type="unknown-currency")
    return code


def decimals(currency: str) -> int:
    """How many decimals separate the minor unit from the major one at Stripe."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def check_amount(amount: int, currency: str) -> None:
    """Accept `amount` minor units of `currency` (lower case) as a sum that can move.

    Raises:
        Unprocessable: not an int (bool and float included), not positive, more than eight digits, or
            with last digits that the currency does not have.
    """
    if type(amount) is not int:
        raise Unprocessable("an amount is an integer of minor units, for example 1050 for 10.50 USD",
                            type="amount-not-integer")  # fmt: skip
    if amount <= 0:
        raise Unprocessable("an amount must be positive", type="amount-not-positive")
    if amount > LARGEST_AMOUNT:
        raise Unprocessable(f"an amount is at most {LARGEST_AMOUNT} minor units", type="amount-too-large")
    if currency in CENTS_MUST_BE_ZERO and amount % 100:
        raise Unprocessable(f"{currency} is sent times 100 and has no cents: the last two digits must be 00",
                            type="amount-has-cents")  # fmt: skip
    if currency in THREE_DECIMAL and amount % 10:
        raise Unprocessable(f"the last digit of an amount in {currency} must be 0", type="amount-has-mills")


def check_charge(amount: int, currency: str) -> None:
    """`check_amount`, and not below Stripe's published minimum charge for the currency.

    Raises:
        Unprocessable: as `check_amount`, or below the minimum.
    """
    check_amount(amount, currency)
    least = MINIMUM_CHARGE.get(currency, 1)
    if amount < least:
        raise Unprocessable(f"a charge in {currency} is at least {least} minor units", type="amount-too-small")
