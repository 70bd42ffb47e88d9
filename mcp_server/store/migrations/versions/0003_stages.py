"""Versions with stages, parents, and what people say about them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Every version so far has no stage but what follows from what serves."""
    for column in (
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("metrics", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("archived", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("deleted", sa.Boolean(), nullable=False, server_default=sa.false()),
    ):
        op.add_column("versions", column)
    op.add_column("marks", sa.Column("staging", sa.Integer(), nullable=True))
    op.add_column("marks", sa.Column("share", sa.Float(), nullable=False, server_default="0"))
