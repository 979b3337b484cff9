"""What must not leave the process: secrets and card numbers never, personal data only in dev.

Applied to every log record, Sentry event and breadcrumb. Names decide first, then the text itself.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

REDACTED = "[redacted]"
MASKED = "[masked]"
DEEPEST = 8
LONGEST_TEXT = 16_384
"""Characters of one text that are kept: what is longer is a body, not a log line."""

_HIDDEN_NAME = (
    r"authorization|cookie|passw(?:or)?d|passphrase|secret|token|signature|credential"
    r"|(?:api|secret|access|private|signing|encryption)[_-]?key"
    r"|card[_-]?(?:number|no\b)|\bcv[cv]2?\b|security[_-]?code"
)
_HIDDEN_FIELD = re.compile(_HIDDEN_NAME, re.IGNORECASE)
_PERSONAL_FIELD = re.compile(
    r"(?:(?:full|first|last|user|nick|customer|cardholder|billing|shipping)[_-]?)?name"
    r"|(?:.*[_-])?(?:e?mail|phone|ip)|(?:e?mail|ip|billing|shipping)?[_-]?address(?:[_-]line\d)?"
    r"|remote[_-]?addr|user[_-]?agent",
    re.IGNORECASE,
)
_CARD = re.compile(
    r"(?P<uuid>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)"  # left alone: its digits can pass as a card's
    r"|(?<![\w.])[0-9](?:[ -]?[0-9]){12,200}(?!\w)"
)
_VALUE = r"(?:(?:bearer|basic|token|digest)\s)?(?:\"[^\"]*\"|'[^']*'|[^\s,;&)}\]]+)"
_HIDES_NOTHING = r"(?!(?:true|false|none|null)\b)"

# The words that a text must hold (lower case) before its pattern is tried; patterns are bounded, so never slow.
_Rule = tuple[tuple[str, ...], re.Pattern[str], str]
_RULES: tuple[_Rule, ...] = (
    (
        ("auth", "cookie", "pass", "secret", "token", "signature", "credential", "key", "card", "cvc", "cvv", "code"),
        re.compile(
            rf"((?:{_HIDDEN_NAME})[\w-]{{0,40}}['\"]?\s{{0,4}}[=:]\s{{0,4}}){_HIDES_NOTHING}{_VALUE}", re.IGNORECASE
        ),
        rf"\1{REDACTED}",
    ),
    (("sk_", "rk_", "whsec_"), re.compile(r"\b(?:(?:sk|rk)_(?:live|test)_|whsec_)[\w+/=-]+"), REDACTED),
    (("_secret_",), re.compile(r"(_secret_)\w{8,}"), rf"\1{REDACTED}"),
    (("bearer ", "basic "), re.compile(r"\b(bearer|basic) [\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (("eyj",), re.compile(r"\beyJ[\w-]{8,2000}\.[\w-]{2,}\.[\w-]*"), REDACTED),  # a JSON Web Token
    (("v1=", "v0="), re.compile(r"\b(v[01]=)[0-9a-f]{32,}"), rf"\1{REDACTED}"),  # the Stripe-Signature header
    (("://",), re.compile(r"(://[^/\s:@]{0,200}:)[^/\s@]{1,200}(?=@)"), rf"\1{REDACTED}"),
)
_EMAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")


def hides_personal_data() -> bool:
    """Whether personal data is masked here: everywhere but in dev (`APP_ENV`)."""
    return os.environ.get("APP_ENV", "dev").strip() not in ("", "dev")


def redact(value: Any, personal: bool = False, name: str = "") -> Any:
    """A JSON-able copy of `value` without secrets; anything that JSON lacks becomes its text.

    Args:
        value: anything, also cyclic, huge or unprintable.
        personal: mask personal data as well.
        name: the field that holds it.
    """
    return _walk(value, personal, name, 0)


def redact_text(text: str, personal: bool = False) -> str:
    """`text` with keys, passwords, signatures and card numbers (Luhn) replaced, and e-mail addresses if `personal`."""
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + "..."
    lower = text.lower()
    for words, pattern, replacement in _RULES:
        if any(word in lower for word in words):
            text = pattern.sub(replacement, text)
    text = _CARD.sub(_without_cards, text)
    return _EMAIL.sub(MASKED, text) if personal and "@" in text else text


def as_text(value: object) -> str:
    """`str(value)`, also of an object that cannot be printed."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a __str__ of the caller's may do anything
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"


def _walk(value: Any, personal: bool, name: str, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if name and _is_hidden(name):
        return REDACTED
    if personal and name and _PERSONAL_FIELD.fullmatch(name.strip("_")):
        return MASKED
    if type(value) in (int, float):
        return _number(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset) and depth < DEEPEST:
        return _container(value, personal, name, depth)
    return redact_text(as_text(value), personal)


# Names are those of our code's fields again and again; those of others' objects are soon forgotten.
@lru_cache(maxsize=512)
def _is_hidden(name: str) -> bool:
    return _HIDDEN_FIELD.search(name) is not None


@lru_cache(maxsize=512)
def _field(name: str, personal: bool) -> str:
    return redact_text(name, personal)


def _number(value: float) -> Any:
    if isinstance(value, int):
        return REDACTED if value > 10**12 and _is_card(str(value)) else value
    return value if math.isfinite(value) else str(value)  # JSON has neither NaN nor infinity


def _container(value: Any, personal: bool, name: str, depth: int) -> Any:
    try:
        if not isinstance(value, Mapping):
            return [_walk(item, personal, name, depth + 1) for item in value]
        return {
            _field(text, personal): _walk(item, personal, text, depth + 1)
            for text, item in ((as_text(key), item) for key, item in value.items())
        }
    except Exception as error:  # noqa: BLE001 - a container of the caller's may do anything while it is read
        return f"<unreadable {type(value).__name__}: {type(error).__name__}>"


def _without_cards(match: re.Match[str]) -> str:
    """The matched digits, which may stand in groups, without each stretch of whole groups that is a card number."""
    if match["uuid"]:
        return match[0]
    groups = re.split(r"([ -])", match[0])
    kept, first = "", 0
    while first < len(groups):
        last = _end_of_card(groups, first)
        kept += REDACTED if last else groups[first]
        first = last or first + 1
    return kept


def _end_of_card(groups: list[str], first: int) -> int:
    digits = ""
    for at in range(first, min(first + 38, len(groups)), 2):
        digits += groups[at]
        if _is_card(digits):
            return at + 1
    return 0


def _is_card(digits: str) -> bool:
    # ISO/IEC 7812: 13 to 19 digits, the networks' numbers start with 2 to 6; the last one is Luhn's check digit.
    if not (13 <= len(digits) <= 19 and digits[0] in "23456"):
        return False
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, odd)) + sum(sum(divmod(2 * int(d), 10)) for d in even)) % 10 == 0
