"""What retention took from a run that is still there."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Nothing so far."""
    op.add_column("runs", sa.Column("swept", sa.Text(), nullable=True))
