"""Whether a database has the schema that this program needs; without Alembic, which would slow every start."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

REVISIONS = sorted(
    file.name.partition("_")[0] for file in (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*_*.py")
)
"""Every revision of the schema, oldest first: a migration's file is named by it."""


def outdated(conn: Connection) -> bool:
    """Whether there is no schema or an older one. A newer one is none of our business: an upgrade migrates first."""
    if not inspect(conn).has_table("alembic_version"):
        return True
    found = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found is None or found in REVISIONS[:-1]
