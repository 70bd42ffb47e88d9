"""The database file: made, opened, brought to our schema. The only place that knows SQLite's habits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from ..errors import Unusable
from .tables import REVISIONS, metadata, revisions

BUSY = 10.0
"""Seconds to wait while another server writes."""
MIGRATIONS = Path(__file__).parent / "migrations"
REASONS = {
    "disk is full": "the disk is full",
    "readonly": "it is read-only",
    "unable to open": "it cannot be opened",
    "not a database": "its file is not a database of this server",
    "malformed": "its file is damaged",
    "locked": "another server is writing; try again",
    "disk i/o": "the disk reports an error",
}
"""What SQLite says (a part of it), and what that means to a person."""


def connect(path: Path | None) -> Engine:
    """An engine for the file, or for a database in memory. Touches nothing yet."""
    if path is None:
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY})
    event.listen(engine, "connect", _prepared)
    event.listen(engine, "begin", _begin)
    return engine


def prepare(engine: Engine, path: Path | None) -> None:
    """Make the file, private to its user, and bring it to our schema. Raises `Unusable`."""
    try:
        if path is None:
            _make(engine)
            return
        _private(path)
        with engine.connect() as connection:
            behind = _revision(connection) != REVISIONS[-1]
        if behind:
            _migrate(engine)
    except OSError as error:
        raise Unusable(
            f"The state folder cannot be used: {(error.strerror or 'no reason given').lower()}."
        ) from error
    except DBAPIError as error:
        raise Unusable(f"The state folder cannot be used: {explain(error)}.") from error


def explain(error: DBAPIError) -> str:
    """Why SQLite refused, in words that name no path."""
    said = str(error.orig).lower()
    return next((meaning for part, meaning in REASONS.items() if part in said), "the database refuses")


def _private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _prepared(connection: Any, record: object) -> None:
    """Pragmas of every connection. The driver's own transactions are off: `_begin` says which kind it is."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(BUSY * 1000)}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _revision(connection: Connection) -> str | None:
    """The revision of the file's schema; None for an empty file. Raises `Unusable` for a newer one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if revision not in REVISIONS:
        raise Unusable("The state folder was written by a newer release of this server; update this one.")
    return revision


def _migrate(engine: Engine) -> None:
    """Apply what is missing in one transaction; of several servers that start at once, one does the work."""
    from alembic import command  # 0.1 s, and only needed when the schema is behind
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.execution_options(immediate=True).begin() as connection:
        if _revision(connection) != REVISIONS[-1]:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _make(engine: Engine) -> None:
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(insert(revisions).values(id=1, number=0))
