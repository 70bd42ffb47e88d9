"""What servers on one store ask of each other, and what runs ask."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Nothing is asked so far."""
    op.create_table(
        "errands",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("run", sa.Text(), sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("answers", sa.LargeBinary(), nullable=True),
    )
    op.add_column("runs", sa.Column("question", sa.LargeBinary(), nullable=True))
