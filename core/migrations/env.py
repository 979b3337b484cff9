"""Alembic runs this; the connection comes from `core.migrations.upgrade` or is opened here."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from core import database
from core.domain import schema


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=schema.metadata)
    with context.begin_transaction():
        context.run_migrations()


_given = context.config.attributes.get("connection")
if _given is not None:
    _run(_given)
else:
    with database.transaction() as _own:
        _run(_own)
