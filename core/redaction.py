"""What must not leave the process: secrets and card numbers never, personal data only in dev.

Applied to every log record, Sentry event and breadcrumb. Names decide first, then the text itself.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"
MASKED = "[masked]"
DEEPEST = 8
LONGEST_TEXT = 16_384
"""Characters of one text that are kept: what is longer is a body, not a log line."""

_SECRET_NAME = (
    r"authorization|cookie|passw(?:or)?d|passphrase|secret|token|signature|credential"
    r"|(?:api|secret|access|private|signing|encryption)[_-]?key"
    r"|card[_-]?(?:number|no\b)|\bcv[cv]2?\b|security[_-]?code"
)
_SECRET_FIELD = re.compile(_SECRET_NAME, re.IGNORECASE)
_PERSONAL_FIELD = re.compile(
    r"(?:(?:full|first|last|user|nick|customer|cardholder|billing|shipping)[_-]?)?name"
    r"|(?:.*[_-])?(?:e?mail|phone|ip)|(?:e?mail|ip|billing|shipping)?[_-]?address(?:[_-]line\d)?"
    r"|remote[_-]?addr|user[_-]?agent",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(?P<uuid>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)"  # kept: its digits can pass as a card's
    r"|(?P<card>(?<![\w.])[0-9](?:[ -]?[0-9]){12,}(?!\w))"
    r"|\b(?:sk|rk)_(?:live|test)_\w+|\bwhsec_[\w+/=-]+|(?<=_secret_)\w{8,}"
    r"|(?:(?<=bearer )|(?<=basic )|(?<=bearer: ))[\w.~+/=-]{6,}"
    r"|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # a JSON Web Token
    r"|(?<=\bv[01]=)[0-9a-f]{32,}"  # the Stripe-Signature header
    r"|(?<=://)[^/\s:@]*:(?P<password>[^/\s@]+)(?=@)"
    rf"|(?P<name>[\w-]*(?:{_SECRET_NAME})[\w-]*['\"]?\s*[=:]\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^\s,;&)}}\]]+)",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")


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
    text = _SECRET_TEXT.sub(_replacement, text)
    return _EMAIL.sub(MASKED, text) if personal and "@" in text else text


def _walk(value: Any, personal: bool, name: str, depth: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if name and _SECRET_FIELD.search(name):
        return REDACTED
    if personal and name and _PERSONAL_FIELD.fullmatch(name.strip("_")):
        return MASKED
    if type(value) is int:
        return REDACTED if value > 10**12 and _is_card(str(value)) else value
    if type(value) is float:
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return redact_text(value, personal)
    if depth >= DEEPEST:
        return redact_text(_text(value), personal)
    try:
        if isinstance(value, Mapping):
            return {
                redact_text(_text(key), personal): _walk(item, personal, _text(key), depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_walk(item, personal, name, depth + 1) for item in value]
    except Exception as error:  # noqa: BLE001 - a container of the caller's may do anything while it is read
        return f"<unreadable {type(value).__name__}: {type(error).__name__}>"
    return redact_text(_text(value), personal)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a __str__ of the caller's may do anything
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"


def _replacement(match: re.Match[str]) -> str:
    if match["uuid"]:
        return match[0]
    if match["card"]:
        return _without_cards(match[0])
    if match["password"]:
        return match[0].removesuffix(match["password"]) + REDACTED
    if match["name"]:
        return match[0] if match["value"].lower() in ("true", "false", "none", "null") else match["name"] + REDACTED
    return REDACTED


def _without_cards(run: str) -> str:
    """`run`, digits in groups, without the first stretch of whole groups that is a card number."""
    groups = re.split(r"([ -])", run)
    for first in range(0, len(groups), 2):
        for last in range(len(groups), first, -2):
            if _is_card("".join(groups[first:last:2])):
                rest = "".join(groups[last:])
                return "".join(groups[:first]) + REDACTED + (rest and _SECRET_TEXT.sub(_replacement, rest))
    return run


def _is_card(digits: str) -> bool:
    # ISO/IEC 7812: 13 to 19 digits, the networks' numbers start with 2 to 6; the last one is Luhn's check digit.
    if not (13 <= len(digits) <= 19 and digits[0] in "23456"):
        return False
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, odd)) + sum(sum(divmod(2 * int(d), 10)) for d in even)) % 10 == 0
