"""Customers of a shop ("users" over HTTP), each with at most one Stripe customer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Executable, Index, String, Table, Uuid, bindparam, select, update

from core.database import AnyRow, Timestamp, insert_into, metadata, now
from core.ids import is_id, new_id
from core.statements import first_within

users = Table(
    "users",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("email", String(320), nullable=False, comment="as given"),
    Column("email_folded", String(320), nullable=False, comment="one customer however it is capitalised"),
    Column("full_name", String(200)),
    Column("stripe_customer_id", String(64)),
    Column("deleted_customer_id", String(64), comment="the last one that was deleted at Stripe"),
    Column("created_at", Timestamp, nullable=False),
)
Index("uq_users_email", users.c.account_id, users.c.email_folded, unique=True)


@dataclass(frozen=True)
class User:
    """A customer of one account."""

    id: str
    account_id: str
    email: str
    full_name: str | None
    stripe_customer_id: str | None
    deleted_customer_id: str | None

    @property
    def idempotency_key(self) -> str:
        """The key that creates the Stripe customer; that of a deleted one would only answer with it again."""
        return f"customer:{self.id}:{self.deleted_customer_id}" if self.deleted_customer_id else f"customer:{self.id}"


_SHOWN = [
    users.c[name] for name in ("id", "account_id", "email", "full_name", "stripe_customer_id", "deleted_customer_id")
]


def find(conn: Connection, account_id: str, user_id: str) -> User | None:
    """The account's customer with that id, or None."""
    if not is_id(user_id):
        return None
    found = first_within(conn, _of_id, asked=user_id, account=account_id)
    return User(*found) if found else None


def _of_id() -> Executable:
    mine = users.c.account_id.is_not_distinct_from(bindparam("account"))  # see `orders._locking`
    return select(*_SHOWN).where(users.c.id == bindparam("asked"), mine)


def find_or_add(conn: Connection, account_id: str, email: str, full_name: str | None) -> User:
    """The account's customer with that address, added when new; a known customer's name stays as it is."""
    insert = insert_into(conn, users)
    conn.execute(
        insert.values(
            id=new_id(), account_id=account_id, email=email, email_folded=email.lower(), full_name=full_name,
            created_at=now(),
        ).on_conflict_do_nothing()
    )  # fmt: skip
    found = _first(conn, (users.c.account_id == account_id) & (users.c.email_folded == email.lower()))
    if found is None:
        raise LookupError("a customer vanished inside its own transaction")
    return found


def remember_stripe_customer(conn: Connection, user_id: str, stripe_customer_id: str) -> str:
    """Keep the Stripe customer unless one is kept already; returns the kept one."""
    conn.execute(
        update(users)
        .where(users.c.id == user_id, users.c.stripe_customer_id.is_(None))
        .values(stripe_customer_id=stripe_customer_id)
    )
    return str(conn.execute(select(users.c.stripe_customer_id).where(users.c.id == user_id)).scalar_one())


def forget_stripe_customer(conn: Connection, user_id: str, stripe_customer_id: str) -> None:
    """Stripe has this customer no more; one that was kept in its place meanwhile stays."""
    conn.execute(
        update(users)
        .where(users.c.id == user_id, users.c.stripe_customer_id == stripe_customer_id)
        .values(stripe_customer_id=None, deleted_customer_id=stripe_customer_id)
    )


def _first(conn: Connection, condition: Any) -> User | None:
    found: AnyRow | None = conn.execute(select(*_SHOWN).where(condition)).first()
    return User(**found._asdict()) if found else None
