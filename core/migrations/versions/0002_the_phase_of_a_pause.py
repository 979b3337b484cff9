"""The phase of a pause: where the next return of the jobs begins."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WAITED = "what waits: all that needs Stripe, or one kind of job"
WAITS = "what waits: all that needs Stripe, with one key, or one kind of job"


def upgrade() -> None:
    """The phase of a pause."""
    # Every pause that is there returned from the first share on.
    phase = sa.Column(
        "phase", sa.Float(), server_default="0", nullable=False, comment="the share (0 to 1) that comes back first"
    )
    op.add_column("pauses", phase)
    _comment(WAITS, instead_of=WAITED)


def downgrade() -> None:
    """Back to returns that always begin with the first share."""
    _comment(WAITED, instead_of=WAITS)
    op.drop_column("pauses", "phase")


def _comment(name: str, instead_of: str) -> None:
    if op.get_bind().dialect.supports_comments:
        op.alter_column("pauses", "name", comment=name, existing_comment=instead_of)
