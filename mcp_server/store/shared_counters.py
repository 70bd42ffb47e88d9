"""Counters that servers on one PostgreSQL share: a row for each name, changed by one at a time. Blocking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from sqlalchemy import Float, cast, delete, func, literal, update
from sqlalchemy.exc import DBAPIError

from ..errors import Unavailable
from .file import connect, explain, upsert
from .run_tables import shared_counters

AGE = 7200.0
"""Seconds after which a row that nobody changed is removed."""
OFTEN = 1000
"""Changes between two looks for such rows."""

T = TypeVar("T")


class SharedCounters:
    """Safe in several threads. What a crash of the database loses is a second of counting at most."""

    def __init__(self, url: str) -> None:
        self._engine = connect(url)
        self._changes = 0

    def change(self, name: str, work: Callable[[Mapping[str, Any], float], tuple[Mapping[str, Any], T]]) -> T:
        """Replace the values under `name` by what `work` makes of them, and give what it gives.

        `work` gets the time in seconds since the epoch as the database has it, so that all servers agree;
        nobody else changes the values meanwhile. Raises `Unavailable`.
        """
        now = cast(func.extract("epoch", func.clock_timestamp()), Float)
        try:
            with self._engine.begin() as connection:
                connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
                row = upsert(connection, shared_counters).values(name=name, values="{}", changed=now)
                locked = row.on_conflict_do_update(index_elements=["name"], set_={"changed": now})
                known, moment = connection.execute(
                    locked.returning(shared_counters.c["values"], shared_counters.c.changed)
                ).one()
                made, given = work(orjson.loads(known), moment)
                text = literal(orjson.dumps(made).decode())
                connection.execute(
                    update(shared_counters).where(shared_counters.c.name == name).values({"values": text})
                )
                self._changes += 1
                if self._changes % OFTEN == 0:
                    connection.execute(
                        delete(shared_counters).where(shared_counters.c.changed < moment - AGE)
                    )
                return given
        except DBAPIError as error:
            raise Unavailable(f"The counters cannot be reached: {explain(error)}.") from error

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()
