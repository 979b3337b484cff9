"""Ids that sort by time (UUIDv7, RFC 9562) and tokens that never repeat."""

from __future__ import annotations

from uuid import UUID

import uuid_utils


def new_id() -> str:
    """A fresh UUIDv7 as text: rows of one moment stay together in the index."""
    return str(uuid_utils.uuid7())


def new_token() -> str:
    """A fresh random UUIDv4. A lease token is unique, not a counter: a counter can repeat after a database crash."""
    return str(uuid_utils.uuid4())


def is_id(text: str) -> bool:
    """Whether `text` is a UUID as we print them (so that a path segment may be asked of the database)."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
