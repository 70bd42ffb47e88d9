"""How the files of a version came here."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Before there were keys nobody deployed over a network but at his own risk: uploads are local."""
    op.add_column("versions", sa.Column("provenance", sa.Text(), nullable=False, server_default="local"))
    op.execute("UPDATE versions SET provenance = 'folder' WHERE author = 'folder'")
