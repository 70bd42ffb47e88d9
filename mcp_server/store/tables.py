"""The tables of the catalog."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(column_0_label)s",
    }
)

revisions = Table(
    "revisions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
)
"""One row: how many changes were made. Every change raises it in its own transaction."""

versions = Table(
    "versions",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("author", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("parent", Integer),
    Column("description", Text),
    Column("tags", Text, nullable=False, server_default="{}"),
    Column("metrics", Text, nullable=False, server_default="{}"),
    Column("archived", Boolean, nullable=False, server_default=false()),
    Column("deleted", Boolean, nullable=False, server_default=false()),
    Column("provenance", Text, nullable=False, server_default="local"),
    Column("deployed", Float),
    UniqueConstraint("pipeline", "digest"),
)
"""Every version that was ever served. `created` in seconds since the epoch; `options`, `tags` and `metrics`
as JSON. `provenance` is the most trusted way in which its files came. `deployed` is since when it has been in
production; null for all others."""

marks = Table(
    "marks",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("upload", Text),
    Column("undeployed", Boolean, nullable=False),
    Column("staging", Integer),
    Column("share", Float, nullable=False, server_default="0"),
    ForeignKeyConstraint(["pipeline", "upload"], ["versions.pipeline", "versions.digest"]),
)
"""What was decided about a name: the digest of the upload or pinned version that serves, whether it was
undeployed, the number of the version in staging and its share of the calls."""

schemas = Table(
    "schemas",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("created", Float, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("options", Text, nullable=False),
)
"""What loading a source revealed, as JSON; a cache that may be emptied at any time."""

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("per_second", Float),
    Column("per_hour", Integer),
    Column("created", Float, nullable=False),
    Column("changed", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
    UniqueConstraint("name"),
)
"""API keys, with the SHA-256 of their secrets; `scopes` as JSON, times in seconds since the epoch."""

secrets = Table(
    "secrets", metadata, Column("name", Text, primary_key=True), Column("value", LargeBinary, nullable=False)
)
"""What the servers on a store share and nobody else may know; made once."""
