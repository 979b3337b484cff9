"""Amounts and currencies as Stripe takes them (docs.stripe.com/currencies). Integers in minor units only."""

from __future__ import annotations

from simulator.errors import ApiError, invalid

CURRENCIES = frozenset({
    "usd", "aed", "afn", "all", "amd", "ang", "aoa", "ars", "aud", "awg", "azn", "bam", "bbd", "bdt", "bgn", "bhd",
    "bif", "bmd", "bnd", "bob", "brl", "bsd", "bwp", "byn", "bzd", "cad", "cdf", "chf", "clp", "cny", "cop", "crc",
    "cve", "czk", "djf", "dkk", "dop", "dzd", "egp", "etb", "eur", "fjd", "fkp", "gbp", "gel", "gip", "gmd", "gnf",
    "gtq", "gyd", "hkd", "hnl", "htg", "huf", "idr", "ils", "inr", "isk", "jmd", "jod", "jpy", "kes", "kgs", "khr",
    "kmf", "krw", "kwd", "kyd", "kzt", "lak", "lbp", "lkr", "lrd", "lsl", "mad", "mdl", "mga", "mkd", "mmk", "mnt",
    "mop", "mur", "mvr", "mwk", "mxn", "myr", "mzn", "nad", "ngn", "nio", "nok", "npr", "nzd", "omr", "pab", "pen",
    "pgk", "php", "pkr", "pln", "pyg", "qar", "ron", "rsd", "rub", "rwf", "sar", "sbd", "scr", "sek", "sgd", "shp",
    "sle", "sos", "srd", "std", "szl", "thb", "tjs", "tnd", "top", "try", "ttd", "twd", "tzs", "uah", "ugx", "uyu",
    "uzs", "vnd", "vuv", "wst", "xaf", "xcd", "xcg", "xof", "xpf", "yer", "zar", "zmw",
})  # fmt: skip
ZERO_DECIMAL = frozenset({
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf",
})  # fmt: skip
THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
WHOLE_UNITS = frozenset({"isk", "ugx"})
"""Sent times 100 for old times' sake: the last two digits must be 00."""
LARGEST = 99_999_999
MINIMUM = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250,
    "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300,
    "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}


def decimals(currency: str) -> int:
    """Digits after the point."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def display(amount: int, currency: str) -> str:
    """The amount as an error message shows it, for example $1,234.50."""
    places = decimals(currency)
    whole, rest = divmod(amount, 10**places)
    return f"{SYMBOLS.get(currency, '')}{whole:,}" + (f".{rest:0{places}}" if places else "")


def currency(name: str, value: object) -> str:
    """Parameter parser: a supported code, in any case, returned in lower case."""
    code = value.lower() if isinstance(value, str) else ""
    if code not in CURRENCIES:
        raise invalid(f"Invalid currency: {value}. Stripe currently supports these currencies: "
                      f"{', '.join(sorted(CURRENCIES))}", name)  # fmt: skip
    return code


def check_charge(amount: int, code: str, param: str = "amount") -> None:
    """Refuse an amount that cannot be charged in this currency.

    Raises:
        ApiError: 400 amount_too_large, amount_too_small or invalid_charge_amount.
    """
    if amount > LARGEST:
        raise invalid(f"Amount must be no more than {display(LARGEST, code)} {code}", param, "amount_too_large")
    check_digits(amount, code, param)
    least = MINIMUM.get(code, 1)
    if amount < least:
        raise invalid(f"Amount must be at least {display(least, code)} {code}", param, "amount_too_small")


def check_digits(amount: int, code: str, param: str = "amount") -> None:
    """Refuse last digits that the currency does not have."""
    step = 100 if code in WHOLE_UNITS else 10 if code in THREE_DECIMAL else 1
    if amount % step:
        raise invalid(f"Invalid amount: an amount in {code} must be a multiple of {step}.", param,
                      "invalid_charge_amount")  # fmt: skip


def too_much_refunded(asked: int, left: int, charged: int, code: str) -> ApiError:
    """More is asked back than is left on the charge."""
    what = "charge amount" if left == charged else "unrefunded amount on charge"
    return ApiError(
        400,
        f"Refund amount ({display(asked, code)}) is greater than {what} ({display(left, code)})",
        code="amount_too_large",
        param="amount",
        executed=True,
    )
