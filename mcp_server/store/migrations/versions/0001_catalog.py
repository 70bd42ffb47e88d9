"""The catalog: versions, decisions about names, cached schemas, and the revision counter."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """From an empty file."""
    revisions = op.create_table(
        "revisions",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revisions"),
    )
    op.bulk_insert(revisions, [{"id": 1, "number": 0}])
    op.create_table(
        "versions",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "number", name="pk_versions"),
        sa.UniqueConstraint("pipeline", "digest", name="uq_versions_pipeline_digest"),
    )
    op.create_table(
        "marks",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("upload", sa.Text(), nullable=True),
        sa.Column("undeployed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", name="pk_marks"),
        sa.ForeignKeyConstraint(
            ["pipeline", "upload"],
            ["versions.pipeline", "versions.digest"],
            name="fk_marks_pipeline_upload",
        ),
    )
    op.create_table(
        "schemas",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "digest", "environment", name="pk_schemas"),
    )
