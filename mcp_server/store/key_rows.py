"""API keys as rows. Blocking; in each method one transaction."""

from __future__ import annotations

import time
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, delete, func, insert, or_, select, update

from ..errors import Conflict, NotFound
from . import Place
from .audit import AuditEvent, clean
from .audit_rows import append
from .database import explained
from .file import alone, connect, prepare
from .keys import Key
from .tables import keys


class Keys:
    """The keys of a database, which is made if it is not there. A change is durable when its method returns.

    Raises `Unusable` for a place that cannot be used, `Unavailable` when a query cannot run.
    """

    def __init__(self, place: Place) -> None:
        self._engine = connect(place)
        prepare(self._engine, place)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def all(self) -> tuple[Key, ...]:
        """Every key, also those that were revoked or have expired, by name."""
        with explained(), self._engine.connect() as connection:
            return tuple(map(_key, connection.execute(select(keys).order_by(keys.c.name)).mappings()))

    def stamp(self) -> tuple[int, float | None]:
        """Another value after each change."""
        with explained(), self._engine.connect() as connection:
            count, changed = connection.execute(select(func.count(keys.c.id), func.max(keys.c.changed))).one()
            return count, changed

    def add(self, key: Key) -> None:
        """Keep a new key. Raises `Conflict` if there is one of its name."""
        row = key.model_dump() | {"scopes": orjson.dumps(key.scopes).decode()}
        with explained(), alone(self._engine).begin() as connection:
            if connection.scalar(select(keys.c.id).where(keys.c.name == key.name)):
                raise Conflict(f"There already is a key named {key.name}; a revoked one keeps its name, too.")
            connection.execute(insert(keys).values(row))
            _noted(connection, "create_key", key)

    def change(self, which: str, **values: Any) -> Key:
        """Change the key of that name or id, and give it as it is then. Raises `NotFound`."""
        wanted = or_(keys.c.name == which, keys.c.id == which)
        with explained(), alone(self._engine).begin() as connection:
            changed = update(keys).where(wanted).values(values | {"changed": time.time()}).returning(keys)
            row = connection.execute(changed).mappings().first()
            if row is None:
                raise NotFound(f"There is no key {which[:80]}; `mcp-server keys list` shows those there are.")
            key = _key(row)
            _noted(connection, "revoke_key" if key.revoked else "rotate_key", key)
            return key

    def delete(self, which: str) -> Key:
        """Forget the key of that name or id. Raises `NotFound`, and `Conflict` for one that is still good."""
        wanted = or_(keys.c.name == which, keys.c.id == which)
        with explained(), alone(self._engine).begin() as connection:
            row = connection.execute(select(keys).where(wanted)).mappings().first()
            if row is None:
                raise NotFound(f"There is no key {which[:80]}; `mcp-server keys list` shows those there are.")
            if (key := _key(row)).serves:
                raise Conflict(f"The key {key.name} is still good; revoke it first.")
            connection.execute(delete(keys).where(keys.c.id == key.id))
            _noted(connection, "delete_key", key)
            return key


def _noted(connection: Connection, action: str, key: Key) -> None:
    """In the audit log, and in the same transaction: whoever may use the command line did it."""
    append(
        connection, time.time(), clean(AuditEvent(action, "owner", "cli", subject=f"{key.name} ({key.id})"))
    )


def _key(row: RowMapping) -> Key:
    return Key.model_validate({**row, "scopes": orjson.loads(row["scopes"])})
