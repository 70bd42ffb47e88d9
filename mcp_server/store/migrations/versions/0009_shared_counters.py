"""What servers count together."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Nothing was counted so far."""
    op.create_table(
        "shared_counters",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("values", sa.Text(), nullable=False),
        sa.Column("changed", sa.Float(), nullable=False),
    )
