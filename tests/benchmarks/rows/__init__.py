"""The rows of the table, one file each, in the order of the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ..harness import Bench, Finding
from . import calls, large, many, search, start, store, streaming

Row = Callable[[Bench], Awaitable[list[Finding]]]
ROWS: Mapping[str, Row] = {
    "calls": calls.measure,
    "large": large.measure,
    "streaming": streaming.measure,
    "search": search.measure,
    "start": start.measure,
    "many": many.measure,
    "store": store.measure,
}
