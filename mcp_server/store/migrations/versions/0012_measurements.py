"""What was measured of versions; and which version each call was counted for."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Nothing was measured so far; the calls so far were counted for no version in particular."""
    op.create_table(
        "measurements",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_measurements"),
    )
    op.create_index("ix_measurements_version", "measurements", ["pipeline", "version"])
    _count_by_version()


def _count_by_version() -> None:
    """SQLite cannot change a primary key, so the table is made anew; version 0 stands for none."""
    rows = op.get_bind().execute(sa.text("SELECT * FROM counters")).mappings().all()
    op.drop_table("counters")
    made = op.create_table(
        "counters",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "version", "day", "bucket", name="pk_counters"),
    )
    op.bulk_insert(made, [{**row, "version": 0} for row in rows])
