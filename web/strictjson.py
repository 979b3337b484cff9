"""JSON as it is meant: UTF-8, no key twice, no NaN. What two parsers could read differently is refused."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def loads(raw: bytes) -> Any:
    """Parse `raw` as one JSON value (RFC 8259, with the names within an object unique).

    Raises:
        ValueError: what is wrong, in words that may be shown to the caller.
    """
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the body has the key {twice[:100]!r} more than once in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"the body has {name}, which is not JSON")
