"""Strict reading of parameters: what is not declared is refused, what is declared has one exact form."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from simulator.errors import ApiError, invalid

Parser = Callable[[str, Any], Any]
Spec = dict[str, Parser]

UNSUPPORTED = frozenset({
    "allowed_payment_method_types", "amount_details", "amount_to_confirm", "application_fee_amount", "balance",
    "business_name", "cash_balance", "confirmation_token", "customer_account", "default_source",
    "error_on_requires_action", "excluded_payment_method_types", "final_capture", "hooks", "individual_name",
    "instructions_email", "intended_submission_method", "invoice_prefix", "invoice_settings", "mandate",
    "mandate_data", "next_invoice_sequence", "on_behalf_of", "origin", "payment_details",
    "payment_method_configuration", "payment_method_options", "payout", "preferred_locales", "radar_options",
    "refund_application_fee", "reverse_transfer", "source", "tax", "tax_exempt", "tax_id_data", "test_clock",
    "transfer_data", "transfer_group", "validate",
})  # fmt: skip
"""Stripe knows these where this stand-in does not: refused by name rather than called unknown."""


def parse(spec: Spec, raw: Mapping[str, Any], required: tuple[str, ...] = (), prefix: str = "") -> dict[str, Any]:
    """Read `raw` by `spec`.

    Args:
        spec: parameter name -> parser.
        raw: decoded form.
        required: names that must be there.
        prefix: the enclosing parameter in bracket notation.

    Raises:
        ApiError: 400, never remembered by an idempotency key.
    """
    unknown = [name for name in raw if name not in spec]
    if unknown:
        raise _unknown([_join(prefix, name) for name in unknown])
    for name in required:
        if name not in raw:
            full = _join(prefix, name)
            raise invalid(f"Missing required param: {full}.", full, "parameter_missing")
    return {name: spec[name](_join(prefix, name), value) for name, value in raw.items()}


def _join(prefix: str, name: str) -> str:
    return f"{prefix}[{name}]" if prefix else name


def _unknown(names: list[str]) -> ApiError:
    for name in names:
        if name in UNSUPPORTED:
            return invalid(f"This simulator does not implement the parameter: {name}", name)
    plural = "s" if len(names) > 1 else ""
    return invalid(f"Received unknown parameter{plural}: {', '.join(names)}", names[0], "parameter_unknown")


def _empty(name: str) -> ApiError:
    return invalid(
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a field; "
        f"however '{name}' cannot be unset. You should remove '{name}' from your request or supply a non-empty value.",
        name,
        "parameter_invalid_empty",
    )


def string(most: int = 5000, *, clearable: bool = True) -> Parser:
    """Text of at most `most` characters; an empty one clears the field (None) where that is allowed."""

    def read(name: str, value: Any) -> str | None:
        if not isinstance(value, str):
            raise invalid(f"Invalid string: {name} must not be a hash or an array", name)
        if not value:
            if clearable:
                return None
            raise _empty(name)
        if len(value) > most:
            raise invalid(f"Invalid string: {name} must be at most {most} characters", name)
        return value

    return read


def integer(least: int = 1, most: int | None = None) -> Parser:
    """A decimal integer: no sign but minus, no point, no exponent, no spaces."""

    def read(name: str, value: Any) -> int:
        if value == "":
            raise _empty(name)
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise invalid(f"Invalid integer: {value}", name, "parameter_invalid_integer")
        number = int(value)
        if number < least:
            raise invalid(f"This value must be greater than or equal to {least}.", name, "parameter_invalid_integer")
        if most is not None and number > most:
            raise invalid(f"This value must be less than or equal to {most}.", name, "parameter_invalid_integer")
        return number

    return read


def boolean(name: str, value: Any) -> bool:
    """true or false."""
    if value not in ("true", "false"):
        raise invalid(f"Invalid boolean: {value}", name)
    return bool(value == "true")


def one_of(*choices: str) -> Parser:
    """One of a closed list."""

    def read(name: str, value: Any) -> str:
        if value not in choices:
            listed = ", ".join(choices[:-1]) + (" or " if len(choices) > 1 else "") + choices[-1]
            raise invalid(f"Invalid {name}: must be one of {listed}", name)
        return str(value)

    return read


def array(item: Parser) -> Parser:
    """A list of anything that `item` reads."""

    def read(name: str, value: Any) -> list[Any]:
        if value == "":
            return []
        if not isinstance(value, list):
            raise invalid(f"Invalid array: {name}", name)
        return [item(f"{name}[{position}]", element) for position, element in enumerate(value)]

    return read


def hash_of(spec: Spec, required: tuple[str, ...] = ()) -> Parser:
    """A nested hash with its own declaration."""

    def read(name: str, value: Any) -> dict[str, Any] | None:
        if value == "":
            return None
        if not isinstance(value, dict):
            raise invalid(f"Invalid object: {name}", name)
        return parse(spec, value, required, prefix=name)

    return read


def metadata(name: str, value: Any) -> dict[str, str] | None:
    """At most 50 keys of 40 characters with values of 500 (docs.stripe.com/api/metadata); None clears all."""
    if value == "":
        return None
    if not isinstance(value, dict):
        raise invalid("Invalid hash: metadata must be a set of key-value pairs", name)
    if len(value) > 50:
        raise invalid("Metadata can have at most 50 keys.", name)
    for key, text in value.items():
        if not isinstance(text, str):
            raise invalid("Metadata values must be strings.", f"{name}[{key}]")
        if len(key) > 40:
            raise invalid("Metadata keys must be at most 40 characters long.", f"{name}[{key}]")
        if len(text) > 500:
            raise invalid("Metadata values must be at most 500 characters long.", f"{name}[{key}]")
    return dict(value)


def merged(current: dict[str, str], change: dict[str, str] | None) -> dict[str, str]:
    """Metadata after `change`: an empty value unsets its key, None unsets all."""
    if change is None:
        return {}
    return {key: text for key, text in (current | change).items() if text}


def time_range(name: str, value: Any) -> dict[str, int]:
    """created=T, or any of created[gt], [gte], [lt], [lte], in Unix seconds."""
    if isinstance(value, dict):
        return parse(dict.fromkeys(("gt", "gte", "lt", "lte"), integer(0)), value, prefix=name)
    second = integer(0)(name, value)
    return {"gte": second, "lte": second}


EXPAND: Spec = {"expand": array(string(200, clearable=False))}
PAGE: Spec = {
    "limit": integer(1, 100),
    "starting_after": string(clearable=False),
    "ending_before": string(clearable=False),
}
LISTING: Spec = PAGE | {"created": time_range}

_line = string(500)
ADDRESS = hash_of(dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"), _line))
SHIPPING = hash_of(
    {"address": ADDRESS, "name": _line, "phone": _line, "carrier": _line, "tracking_number": _line},
    required=("address", "name"),
)
