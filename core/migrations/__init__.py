"""The schema's history (Alembic), applied by `python -m core.migrations`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url

from core import database, settings

LOCK = 0x0C0F
"""Names PostgreSQL's advisory lock for upgrades."""


def config() -> Config:
    """Alembic's configuration, without an ini file."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    return made


def upgrade(revision: str = "head") -> None:
    """Bring the database at `DATABASE_URL` up to `revision`; of two at once, the second finds it done.

    Raises:
        DatabaseUnavailable: the database is away.
    """
    file = make_url(settings.load().database_url).database
    if database.engine().dialect.name == "sqlite" and file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    with database.transaction() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        made = config()
        made.attributes["connection"] = connection
        command.upgrade(made, revision)
