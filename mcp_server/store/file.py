"""The database: made, opened, brought to our schema. The only place that knows the two kinds' habits."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from sqlite3 import OperationalError
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert, inspect, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import StaticPool

from ..errors import Unusable
from . import Place
from .revisions import CURRENT, REVISIONS, known
from .run_tables import metadata
from .tables import revisions

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

BUSY = 10.0
"""Seconds to wait while another server writes."""
MIGRATIONS = Path(__file__).parent / "migrations"
CACHE = 256
"""KiB of the file that each of our connections holds; there are about six, and the system holds it too."""
SPILL = 1000
"""Pages of 4 KiB that a transaction may change before it writes any: it would write some of them twice."""
_MIGRATING = threading.Lock()
"""Alembic keeps what it works on in module globals: one migration at a time in a process."""
REASONS = {
    "disk is full": "the disk is full",
    "no space left": "the disk is full",
    "readonly": "it is read-only",
    "read-only": "it is read-only",
    "unable to open": "it cannot be opened",
    "not a database": "its file is not a database of this server",
    "malformed": "its file is damaged",
    "locked": "another server is writing; try again",
    "disk i/o": "the disk reports an error",
    "password": "its server refuses the password",
    "connection": "its server cannot be reached",
}
"""What the database says (a part of it), and what that means to a person."""
ALEMBIC = "alembic_version"
"""The table that says which revision the schema has."""
POSTGRESQL = "postgresql+psycopg"
LOCK = 0x6D637073
"""The advisory lock that stands for the right to change the catalog on PostgreSQL."""


def connect(place: Place) -> Engine:
    """An engine for a file, for a PostgreSQL URL, or for a database in memory. Touches nothing yet.

    Raises `Unusable` for a URL of another kind, and without the driver.
    """
    if place is None:
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    elif isinstance(place, Path):
        engine = create_engine(f"sqlite:///{place}", connect_args={"timeout": BUSY})
    else:
        return _postgresql(place)
    event.listen(engine, "connect", _prepared)
    event.listen(engine, "begin", _begin)
    return engine


def prepare(engine: Engine, place: Place) -> None:
    """Make the file, private to its user, and bring it to our schema. Raises `Unusable`."""
    what = "database" if isinstance(place, str) else "state folder"
    try:
        if place is None:
            with engine.begin() as connection:
                _make(connection)
            return
        if isinstance(place, Path):
            _private(place)
        with engine.connect() as connection:
            behind = _revision(connection) != REVISIONS[-1]
        if behind:
            _migrate(engine)
    except OSError as error:
        why = (error.strerror or "no reason given").lower()
        raise Unusable(f"The {what} cannot be used: {why}.") from error
    except DBAPIError as error:
        raise Unusable(f"The {what} cannot be used: {explain(error)}.") from error


def explain(error: DBAPIError) -> str:
    """Why the database refused, in words that name no path and no server."""
    said = str(error.orig).lower()
    return next((meaning for part, meaning in REASONS.items() if part in said), "the database refuses")


def upsert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can say what to do on conflict."""
    if not is_postgresql(connection):
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # 3 MB and 25 ms, and SQLite is the usual one

    return postgresql.insert(table)


def is_postgresql(connection: Connection) -> bool:
    """True on PostgreSQL, false on SQLite."""
    return connection.dialect.name == "postgresql"


def alone(engine: Engine) -> Engine:
    """The same engine; its transactions may write, and no other server changes the catalog meanwhile."""
    return engine.execution_options(immediate=True, alone=True)


def lock(connection: Connection, key: str) -> None:
    """Let one at a time, of all servers, do what this transaction does with `key` (hex digits).

    SQLite has one writer anyway.
    """
    if is_postgresql(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({int(key[:15], 16)})")


def _postgresql(url: str) -> Engine:
    try:
        if make_url(url).drivername != POSTGRESQL:
            raise Unusable(
                f"The setting `store` must be a URL that begins with sqlite:/// or {POSTGRESQL}://."
            )
        engine = create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": int(BUSY)})
    except ArgumentError:
        raise Unusable("The setting `store` is not a URL of a database.") from None
    except ModuleNotFoundError:
        raise Unusable("PostgreSQL needs a driver: pip install 'haystack-mcp-server[postgres]'.") from None
    event.listen(engine, "begin", _claim)
    return engine


def _private(path: Path) -> None:
    """Make the file unless it is there. One that is there must not be opened and closed here: that drops the
    locks that this process has on it (POSIX), and another server then deletes the log we write to."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def _prepared(connection: Any, record: object) -> None:
    """Pragmas of every connection. The driver's own transactions are off: `_begin` says which kind it is."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(BUSY * 1000)}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"cache_size=-{CACHE}",
        f"cache_spill={SPILL}",
        "temp_store=MEMORY",  # else what a statement of many rows could undo goes to a file in /var/tmp
    ):
        _set(connection, pragma)


def _set(connection: Any, pragma: str) -> None:
    """Set it, again while it is busy: SQLite does not wait when two turn a new file to WAL at once."""
    until = time.monotonic() + BUSY
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}").close()
            return
        except OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _claim(connection: Connection) -> None:
    """Changes of the catalog come one at a time, as SQLite has it."""
    if connection.get_execution_options().get("alone", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")


def _revision(connection: Connection) -> str | None:
    """The revision of the schema; None for an empty database. Raises `Outdated` for a newer one."""
    if not inspect(connection).has_table(ALEMBIC):
        return None
    revision = connection.scalar(text(CURRENT))
    known(revision)
    return revision


def _migrate(engine: Engine) -> None:
    """Make what is missing in one transaction; of several servers that start at once, one does the work."""
    with _MIGRATING, alone(engine).begin() as connection:
        revision = _revision(connection)
        if revision is None:
            _make(connection)
        elif revision != REVISIONS[-1]:
            _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    from alembic import command  # 10 MB, and only needed when the schema is behind
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _make(connection: Connection) -> None:
    """What all migrations make of an empty database. To name PostgreSQL in the tables would import it."""
    if is_postgresql(connection):
        for index in [each for table in metadata.tables.values() for each in table.indexes]:
            index.dialect_kwargs["postgresql_where"] = index.dialect_kwargs.get("sqlite_where")
    metadata.create_all(connection, checkfirst=False)
    connection.execute(insert(revisions).values(id=1, number=0))
    connection.exec_driver_sql(f"CREATE TABLE {ALEMBIC} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.exec_driver_sql(f"INSERT INTO {ALEMBIC} VALUES ('{REVISIONS[-1]}')")
