"""Rows of plain calls: recorded whole, ended well, and nothing more to say of them. Nearly all runs are such.

They are made with every call, so at once, as the driver takes them: of bytes that may change, for it asks of
others each time whether they adapt themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, final

from ..models import CALLS, Recording, Run
from .changes import DAY, packed

Plain = tuple[Any, ...]
"""A row of the table `runs`, its columns as in `COLUMNS`; the others are empty. A class of its own would cost
more; the writer gets no other tuples."""


@final
class Plains(list[Plain]):
    """Some of them, which go together."""


OWN = ("id", "pipeline", "version", "digest", "verb", "timeout", "started", "finished", "attempt")
"""Columns that are what the run has."""
COLUMNS = (
    *OWN,
    "caller",
    "origin",
    "instance",
    "size",
    "inputs",
    "content",
    "structured",
)
SAME = (("status", "'done'"), ("partial", "FALSE"), ("continues", "FALSE"))
"""What SQL calls what all of them have."""
COPIED = 16 * 1024
"""Bytes of a row up to which it is cheaper to copy them."""
ID, SIZE = COLUMNS.index("id"), COLUMNS.index("size")
own_of = itemgetter(*OWN)
rare_of = itemgetter("error", "usage", "parent", "step", "key", "question", "events", "recorded", "continues")
NOTHING_RARE = (None, None, None, None, None, None, (), 0, False)
times_of = itemgetter(*map(COLUMNS.index, ("pipeline", "version", "started", "finished")))


def plain(run: Run, record: Recording, instance: str) -> Plain | None:
    """What to write of this run; None if it is not plain."""
    fields, result = vars(run), run.result
    if record not in ("full", "steps") or run.status != "done" or result is None or run.verb not in CALLS:
        return None
    if rare_of(fields) != NOTHING_RARE or result.artifacts or result.fault or result.partial:
        return None
    inputs, content, structured, caller = packed(run.inputs), result.content, result.structured, run.caller
    size = len(inputs) + len(content) + (len(structured) if structured else 0)
    texts = inputs, content, structured
    if size < COPIED:
        texts = bytearray(inputs), bytearray(content), structured and bytearray(structured)
    more = (caller.name, caller.origin, instance, size, *texts)
    return own_of(fields) + more


def durations(rows: Sequence[Plain]) -> Mapping[tuple[str, int, int], list[float]]:
    """The seconds that they took, by pipeline, version and day."""
    found: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for pipeline, version, started, finished in map(times_of, rows):
        found[pipeline, version, int(finished // DAY)].append(finished - started)
    return found
