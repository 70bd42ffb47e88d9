"""What one address serves at one moment: which pipelines can be run there, and which tools are listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from ...models import Caller, Emit, Json
from ...runs import ignore
from .search import Index

VERSION = "haystack-mcp-server/version"
"""Where a tool says in `_meta` which version of its pipeline serves."""


@dataclass(frozen=True)
class View:
    """Made once per revision of the catalog. Nothing in it is to be changed."""

    pipelines: Mapping[str, Json]
    """The tool of every pipeline that serves and can be run here, by name, sorted."""
    tags: Mapping[str, tuple[str, ...]]
    tools: Mapping[str, Json]
    """The tools that are listed, by name, in their order."""

    @cached_property
    def index(self) -> Index:
        """For finding pipelines by words."""
        return Index(self.pipelines, self.tags)


@dataclass(frozen=True)
class Invocation:
    """One call of a management tool. Its arguments fit the tool's schema."""

    caller: Caller
    arguments: Json
    view: Callable[[], View]
    """What the address serves now."""
    key: str | None = None
    """The idempotency key the client gave."""
    listener: Emit = ignore
    """Hears how far the call is."""


def moment(seconds: float) -> str:
    """A time as answers show it, in UTC to the millisecond (ISO 8601)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
