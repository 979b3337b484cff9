"""Decoding of form-encoded nested brackets: a[b]=1, a[]=1, a[0][b]=1."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl

from simulator.errors import invalid

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
MOST_FIELDS = 1000


def decode(text: str) -> dict[str, Any]:
    """Nested dicts, lists and strings of a query string or form body.

    Raises:
        ApiError: 400, the text is no such form.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise invalid("Invalid request: the parameters could not be decoded.") from error
    root: dict[str, Any] = {}
    for key, value in pairs:
        _place(root, key, value)
    return {name: _lists(value) for name, value in root.items()}


def _place(root: dict[str, Any], key: str, value: str) -> None:
    match = _KEY.fullmatch(key)
    if not match:
        raise invalid(f"Invalid parameter name: {key}", key)
    path = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
    node = root
    for step, following in pairwise(path):
        node = node.setdefault(_index(node, step, following), {})
        if not isinstance(node, dict):
            raise invalid(f"Invalid parameter: {key} is both a value and a hash", key)
    last = path[-1] or str(len(node))
    if last in node and isinstance(node[last], dict):
        raise invalid(f"Invalid parameter: {key} is both a value and a hash", key)
    node[last] = value


def _index(node: dict[str, Any], step: str, following: str) -> str:
    """a[][b]=1&a[][c]=2 is one element until b is repeated."""
    if step:
        return step
    latest = str(len(node) - 1)
    return latest if latest in node and following not in node[latest] else str(len(node))


def _lists(node: Any) -> Any:
    """Turn a dict whose keys are 0..n into a list."""
    if not isinstance(node, dict):
        return node
    if node and all(str(position) in node for position in range(len(node))):
        return [_lists(node[str(position)]) for position in range(len(node))]
    return {name: _lists(value) for name, value in node.items()}
