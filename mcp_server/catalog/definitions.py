"""What clients are told of tools, as digests: a tool that changes after somebody approved it is noticed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress

import orjson

from ..models import Json
from . import Catalog


class Definitions:
    """Follows the listed tools while it is open."""

    def __init__(self, catalog: Catalog, tell: Callable[[Mapping[str, str]], None]) -> None:
        """`tell` hears of tools that came or changed: their digests, by name."""
        self._catalog = catalog
        self._tell = tell
        self._known: Mapping[str, Json] = {}

    async def __aenter__(self) -> Definitions:
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._following.cancel()
        with suppress(asyncio.CancelledError):
            await self._following
        self._look()

    async def _follow(self) -> None:
        async with self._catalog.subscribe() as revisions:
            self._look()
            async for _ in revisions:
                self._look()

    def _look(self) -> None:
        tools = {tool["name"]: tool for tool in self._catalog.snapshot.tools}
        changed = {name: digest(tool) for name, tool in tools.items() if self._known.get(name) != tool}
        self._known = tools
        if changed:
            self._tell(changed)


def digest(tool: Json) -> str:
    """SHA-256, in hex, of a tool in wire form; the order of its members does not count."""
    return hashlib.sha256(orjson.dumps(tool, option=orjson.OPT_SORT_KEYS)).hexdigest()
