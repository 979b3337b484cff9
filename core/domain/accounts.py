"""Accounts and their API keys. A key is shown once, when it is made; only its hash is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, ForeignKey, String, Table, Uuid, insert, select, update

from core.database import AnyRow, Timestamp, insert_into, metadata, now
from core.ids import is_id, new_id

CHECKOUT, REFUND, READ, OPERATE = "checkout", "refund", "read", "operate"
SCOPES = (CHECKOUT, REFUND, READ, OPERATE)
DEFAULT = "default"
BOOTSTRAP = "bootstrap"
"""The name of the key that the environment gives to the account `default`."""

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", Timestamp, nullable=False),
)
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("account_id", String(64), ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("hash", String(64), nullable=False, unique=True, comment="sha256 (hex) of the key"),
    Column("scopes", String(100), nullable=False, comment="separated by spaces"),
    Column("created_at", Timestamp, nullable=False),
    Column("revoked_at", Timestamp),
)


@dataclass(frozen=True)
class Key:
    """An API key without its secret."""

    id: str
    account_id: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None


_SHOWN = [api_keys.c[name] for name in ("id", "account_id", "name", "scopes", "created_at", "revoked_at")]


def digest(secret: str) -> str:
    """What is stored of a key.

    One round of sha256 is right here: a key is 256 random bits, so nobody can try them all, which is what salts and
    slow hashes are for, and every request pays for this one. (A key given in the environment is refused outside dev
    when it is shorter than 32 characters.)
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def create_key(conn: Connection, account_id: str, name: str, scopes: Iterable[str]) -> tuple[Key, str]:
    """Make a key for an account, which is made as well when it is new.

    Returns:
        The key, and its secret: the only time that anybody sees it.
    """
    secret = f"cfk_{secrets.token_urlsafe(32)}"
    add_account(conn, account_id)
    made = conn.execute(insert(api_keys).values(_row(account_id, name, scopes, secret)).returning(*_SHOWN)).one()
    return _key(made), secret


def ensure_bootstrap_key(conn: Connection, secret: str) -> bool:
    """Give the account `default` this key with every scope, and revoke the one that stood here before it.

    Returns:
        Whether the key works: one that was revoked stays so, and then replaces nothing.
    """
    add_account(conn, DEFAULT)
    conn.execute(insert_into(conn, api_keys).values(_row(DEFAULT, BOOTSTRAP, SCOPES, secret)).on_conflict_do_nothing())
    if find_key(conn, secret) is None:
        return False
    earlier = (api_keys.c.account_id == DEFAULT) & (api_keys.c.name == BOOTSTRAP) & (api_keys.c.hash != digest(secret))
    conn.execute(update(api_keys).where(earlier, api_keys.c.revoked_at.is_(None)).values(revoked_at=now()))
    return True


def find_key(conn: Connection, secret: str) -> Key | None:
    """The key with that secret, or None when there is none or it was revoked."""
    wanted = digest(secret)
    found = conn.execute(
        select(*_SHOWN, api_keys.c.hash).where(api_keys.c.hash == wanted, api_keys.c.revoked_at.is_(None))
    ).first()
    # The index walk compares hashes, whose bytes a caller cannot steer; the last word is constant-time all the same.
    if found is None or not hmac.compare_digest(found.hash, wanted):
        return None
    return _key(found)


def list_keys(conn: Connection, account_id: str | None = None) -> list[Key]:
    """All keys, or one account's, oldest first, the revoked ones included."""
    query = select(*_SHOWN).order_by(api_keys.c.id)
    if account_id is not None:
        query = query.where(api_keys.c.account_id == account_id)
    return [_key(row) for row in conn.execute(query)]


def revoke_key(conn: Connection, key_id: str) -> bool:
    """Revoke the key; False when there is none or it was revoked before."""
    if not is_id(key_id):
        return False
    live = (api_keys.c.id == key_id) & api_keys.c.revoked_at.is_(None)
    return conn.execute(update(api_keys).where(live).values(revoked_at=now())).rowcount == 1


def add_account(conn: Connection, account_id: str) -> None:
    """Add the account unless it exists."""
    conn.execute(insert_into(conn, accounts).values(id=account_id, created_at=now()).on_conflict_do_nothing())


def _row(account_id: str, name: str, scopes: Iterable[str], secret: str) -> dict[str, Any]:
    return {
        "id": new_id(), "account_id": account_id, "name": name, "hash": digest(secret),
        "scopes": " ".join(scopes), "created_at": now(),
    }  # fmt: skip


def _key(row: AnyRow) -> Key:
    values = {column.name: getattr(row, column.name) for column in _SHOWN}
    return Key(**{**values, "scopes": frozenset(row.scopes.split())})
