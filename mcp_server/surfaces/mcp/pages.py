"""Lists in pages: one size, one kind of cursor for tools, resources, templates and prompts."""

from __future__ import annotations

from collections.abc import Sequence

import mcp_types as types
from mcp.shared.exceptions import MCPError

from ...models import Json

PAGE = 1000
"""Items per page of a list."""


def page(key: str, items: Sequence[Json], cursor: str | None) -> Json:
    """One page of the list `key`, from `cursor` on; complete, and not to be cached.

    A client that listens hears of changes, one that does not would miss them. Raises `MCPError` for a
    cursor that this list does not give (MCP, utilities/pagination).
    """
    start = page_start(key, cursor, len(items))
    made: Json = {key: list(items[start : start + PAGE]), "ttlMs": 0, "cacheScope": "public"}
    if start + PAGE < len(items):
        made["nextCursor"] = cursor_to(key, start + PAGE)
    return made | {"resultType": "complete"}


def page_start(key: str, cursor: str | None, total: int) -> int:
    """Where the page begins. Raises `MCPError` for a cursor that a list of so many does not give."""
    if cursor is None:
        return 0
    starts = {cursor_to(key, start): start for start in range(PAGE, total, PAGE)}
    if cursor not in starts:
        raise MCPError(types.INVALID_PARAMS, "Unknown cursor; list again from the start.")
    return starts[cursor]


def cursor_to(key: str, start: int) -> str:
    """The cursor of the page that begins there; no other list knows it."""
    return f"{key}-{start}"
