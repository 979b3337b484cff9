"""Identifiers that look like Stripe's."""

from __future__ import annotations

import os

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))


def token(length: int = 24) -> str:
    """`length` random letters and digits."""
    return os.urandom(length).translate(_LETTERS).decode()


def new(prefix: str) -> str:
    """A new object id, for example new("pi") -> pi_3Qx..."""
    return f"{prefix}_{token()}"


def new_request() -> str:
    """A new Request-Id."""
    return "req_" + token(14)
