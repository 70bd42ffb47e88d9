"""Runs that another server continues, and what was heard of runs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """No run so far can be continued."""
    op.add_column("runs", sa.Column("continues", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("events", sa.LargeBinary(), nullable=True))
