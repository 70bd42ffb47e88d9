"""Counters: how many calls of a pipeline took about how long on which day."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from . import Figures, Statistics
from .changes import CACHED, DAY, EDGES, GROWTH, SMALLEST, Count, bucket
from .insertion import Insertion
from .run_tables import counters


class Slot(NamedTuple):
    """A row of the table `counters`, its columns in order."""

    pipeline: str
    version: int
    day: int
    bucket: int
    total: int
    failed: int
    seconds: float


ADDITION = Insertion(
    "counters",
    Slot._fields,
    "(pipeline, version, day, bucket) DO UPDATE SET "
    + ", ".join(f"{name} = counters.{name} + excluded.{name}" for name in ("total", "failed", "seconds")),
)


def add(connection: Connection, counts: Sequence[Count]) -> None:
    """Count these calls."""
    found: dict[tuple[str, int, int, int], list[Count]] = {}
    for each in counts:
        found.setdefault(each[:4], []).append(each)
    slots = (
        Slot(*key, len(same), sum([each.failed for each in same]), sum([each.seconds for each in same]))
        for key, same in found.items()
    )
    _add(connection, slots)


def add_plain(connection: Connection, durations: Mapping[tuple[str, int, int], Sequence[float]]) -> None:
    """Count calls that ended well: the seconds they took, by pipeline, version and day."""
    _add(connection, (Slot(*key, *one) for key, took in durations.items() for one in buckets(took)))


def buckets(durations: Sequence[float]) -> Iterator[tuple[int, int, int, float]]:
    """The buckets of these, each with how many there are, how many failed, and the seconds of all."""
    found, start = sorted(durations), 0
    while start < len(found):
        at = bucket(found[start])
        end = bisect_right(found, EDGES[at]) if at < len(EDGES) else len(found)
        yield at, end - start, 0, max(0.0, sum(found[start:end]))
        start = end


def _add(connection: Connection, slots: Iterable[Slot]) -> None:
    """In one order, so that two servers never wait for each other in a ring."""
    ADDITION.write(connection, sorted(slots))


def statistics(
    connection: Connection, pipeline: str | None, days: int, version: int | None = None
) -> Statistics:
    """The figures of a pipeline, of one of its versions, or of all: ever, and of its last `days` days."""
    query = select(counters)
    query = query if pipeline is None else query.where(counters.c.pipeline == pipeline)
    query = query if version is None else query.where(counters.c.version == version)
    slots = [Slot(*row) for row in connection.execute(query)]
    newest = sorted({slot.day for slot in slots}, reverse=True)[:days]
    by_day = {
        datetime.fromtimestamp(day * DAY, UTC).date(): figures(slot for slot in slots if slot.day == day)
        for day in newest
    }
    return Statistics(figures(slots), by_day)


def figures(slots: Iterable[Slot]) -> Figures:
    """What a histogram says."""
    every = sorted(slots, key=lambda slot: slot.bucket)
    ordered = [slot for slot in every if slot.bucket != CACHED]
    total = sum(slot.total for slot in ordered)
    return Figures(
        total=total,
        failed=sum(slot.failed for slot in ordered),
        cached=sum(slot.total for slot in every if slot.bucket == CACHED),
        mean=sum(slot.seconds for slot in ordered) / total if total else None,
        p50=percentile(ordered, total * 0.5),
        p95=percentile(ordered, total * 0.95),
    )


def percentile(slots: Sequence[Slot], rank: float) -> float | None:
    """About how long the call of that rank took: the middle of its bucket."""
    seen = 0
    for slot in slots:
        seen += slot.total
        if seen >= rank:
            return SMALLEST * math.exp(GROWTH * (slot.bucket - 0.5)) if slot.bucket else SMALLEST
    return None
