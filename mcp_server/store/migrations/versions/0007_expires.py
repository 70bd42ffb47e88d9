"""Until when a run is kept, whatever else makes room."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Nothing was promised for the runs so far."""
    op.add_column("runs", sa.Column("expires", sa.Float(), nullable=True))
