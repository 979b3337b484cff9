"""Money: integers of minor units, by the rules of their currency."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import money
from core.errors import Unprocessable
from core.money import CENTS_MUST_BE_ZERO, LARGEST_AMOUNT, THREE_DECIMAL, ZERO_DECIMAL

BOUNDED = settings(max_examples=200, deadline=None, derandomize=True)
CURRENCIES = st.sampled_from(sorted(money.currencies()))


def refusal(check: Any, amount: Any, currency: str) -> str | None:
    """The type of the refusal, or None when the amount is accepted."""
    try:
        check(amount, currency)
    except Unprocessable as error:
        return error.type
    return None


@pytest.mark.parametrize(("given", "code"), [("usd", "usd"), ("EUR", "eur"), ("Jpy", "jpy"), ("isk", "isk")])
def test_a_currency_in_use_is_known_in_any_case(given: str, code: str) -> None:
    assert money.check_currency(given) == code


@pytest.mark.parametrize("wrong", ["", "us", "usdt", "xxx", "xau", "dem", "123", "u\u017fd", "usd "])
def test_what_is_no_currency_in_use_is_refused(wrong: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        money.check_currency(wrong)
    assert refused.value.type == "unknown-currency"


def test_every_currency_with_a_rule_of_its_own_is_one_in_use() -> None:
    ruled = ZERO_DECIMAL | THREE_DECIMAL | CENTS_MUST_BE_ZERO | set(money.MINIMUM_CHARGE)
    assert ruled - money.currencies() == set()
    assert ZERO_DECIMAL & THREE_DECIMAL == CENTS_MUST_BE_ZERO & ZERO_DECIMAL == set()


@pytest.mark.parametrize(
    ("currency", "decimals"),
    [("usd", 2), ("jpy", 0), ("krw", 0), ("kwd", 3), ("bhd", 3), ("isk", 2), ("ugx", 2), ("huf", 2), ("twd", 2)],
)
def test_a_currency_has_the_decimals_that_stripe_gives_it(currency: str, decimals: int) -> None:
    assert money.decimals(currency) == decimals


@pytest.mark.parametrize("wrong", [10.0, 1010.0, True, False, "100", None, 10**3 + 0j])
def test_only_an_int_is_an_amount(wrong: Any) -> None:
    assert refusal(money.check_amount, wrong, "usd") == "amount-not-integer"


@pytest.mark.parametrize(
    ("amount", "currency", "type"),
    [
        (1, "usd", None),
        (LARGEST_AMOUNT, "usd", None),
        (LARGEST_AMOUNT + 1, "usd", "amount-too-large"),
        (0, "usd", "amount-not-positive"),
        (-1, "usd", "amount-not-positive"),
        (1, "jpy", None),
        (100, "isk", None),
        (150, "isk", "amount-has-cents"),
        (1, "ugx", "amount-has-cents"),
        (10, "kwd", None),
        (15, "kwd", "amount-has-mills"),
        (1_000_001, "tnd", "amount-has-mills"),
    ],
)
def test_an_amount_follows_the_rules_of_its_currency(amount: int, currency: str, type: str | None) -> None:
    assert refusal(money.check_amount, amount, currency) == type


@pytest.mark.parametrize(("currency", "least"), money.MINIMUM_CHARGE.items())
def test_a_charge_has_a_least_amount_and_a_part_of_it_does_not(currency: str, least: int) -> None:
    assert refusal(money.check_charge, least, currency) is None
    assert refusal(money.check_charge, least - 1, currency) == "amount-too-small"
    assert refusal(money.check_amount, least - 1, currency) is None


def test_a_charge_is_an_amount_first() -> None:
    assert refusal(money.check_charge, 1.5, "usd") == "amount-not-integer"
    assert refusal(money.check_charge, 150, "isk") == "amount-has-cents"


@BOUNDED
@given(st.integers(-(10**12), 10**12), CURRENCIES)
def test_an_accepted_amount_is_a_whole_number_of_what_can_be_paid(amount: int, currency: str) -> None:
    accepted = refusal(money.check_amount, amount, currency) is None
    step = 100 if currency in CENTS_MUST_BE_ZERO else 10 if currency in THREE_DECIMAL else 1
    assert accepted == (0 < amount <= LARGEST_AMOUNT and amount % step == 0)


@BOUNDED
@given(st.integers(1, LARGEST_AMOUNT), CURRENCIES)
def test_what_can_be_charged_can_move_and_not_the_other_way_round(amount: int, currency: str) -> None:
    chargeable = refusal(money.check_charge, amount, currency) is None
    movable = refusal(money.check_amount, amount, currency) is None
    assert movable or not chargeable
    assert chargeable == (movable and amount >= money.MINIMUM_CHARGE.get(currency, 1))


@BOUNDED
@given(st.one_of(st.floats(), st.booleans(), st.text(max_size=5), st.none(), st.binary(max_size=3)), CURRENCIES)
def test_nothing_but_an_int_is_ever_accepted(amount: Any, currency: str) -> None:
    assert refusal(money.check_amount, amount, currency) == "amount-not-integer"
