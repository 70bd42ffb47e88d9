"""The queries about measurements of versions. In a transaction."""

from __future__ import annotations

from dataclasses import asdict

import orjson
from sqlalchemy import Connection, select

from .file import upsert
from .measurements import Measurement
from .run_tables import measurements


def keep(connection: Connection, measurement: Measurement) -> None:
    """Write it down; the same id is written once."""
    row = {**asdict(measurement), "metrics": orjson.dumps(dict(measurement.metrics)).decode()}
    connection.execute(upsert(connection, measurements).values(row).on_conflict_do_nothing())


def of(connection: Connection, pipeline: str, version: int) -> tuple[Measurement, ...]:
    """Everything about a version, the oldest first."""
    known = measurements.c
    query = select(measurements).where(known.pipeline == pipeline, known.version == version)
    rows = connection.execute(query.order_by(known.created, known.id)).mappings()
    return tuple(Measurement(**{**row, "metrics": orjson.loads(row["metrics"])}) for row in rows)
