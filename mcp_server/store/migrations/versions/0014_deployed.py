"""When the version in production was put there."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """It is not known of what is in production now: the next server to start says that it was then."""
    op.add_column("versions", sa.Column("deployed", sa.Float()))
