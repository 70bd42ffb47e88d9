"""Which pipelines and tools an address serves: by tag, and in short lists when pipelines are many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import orjson

from ...access.table import TOOLS as NEEDS
from ...catalog import Entry, Snapshot
from ...models import Caller, Json, Options
from ...server import Server
from ..management import (
    breaker_tools,
    delivery_tools,
    history_tools,
    pipeline_tools,
    registry_tools,
    run_tools,
    search_tools,
    step_tools,
    version_tools,
)
from ..management.views import VERSION, View

DIRECT = 20
"""Pipelines up to which mode `auto` lists each as a tool: models choose well among so many."""
DIRECT_BYTES = 64 * 1024
"""Bytes of their tools up to which it does: about 16,000 tokens, below what makes clients hide tools."""
MANAGE = "manage"
"""The toolset of the management tools. It lists no pipeline, and can run every one."""
RESERVED = frozenset({"health", "tools", MANAGE})
"""Tags that make no toolset: names of routes below `/mcp`, and the toolset that is always there."""
WAIT = 8.0
"""Seconds a toolset that nobody has heard of may take to appear while the folder is still being read."""
VIEWS = 256
"""Views that are kept at once; there are few sets of scopes, but anybody may make up tokens for more."""

Mode = Literal["auto", "direct", "search"]


@dataclass(frozen=True)
class Toolset:
    """The pipelines with one of these tags; without tags, all of them."""

    tags: frozenset[str] = frozenset()

    def lists(self, options: Options) -> bool:
        """True if the tool of a pipeline with these options is listed here."""
        return not options.hidden and self.holds(options)

    def holds(self, options: Options) -> bool:
        """True if a pipeline with these options is one of its own, be its tool hidden or not."""
        return not self.tags or bool(self.tags & (set(options.tags) - RESERVED))

    def reaches(self, options: Options) -> bool:
        """True if it can be run here, listed or not."""
        return self.lists(options) or (MANAGE in self.tags and not options.hidden)

    def manages(self, name: str) -> bool:
        """True if a management tool may be called here: a toolset of pipelines has those to run them."""
        return not self.tags or MANAGE in self.tags or name not in _DEPLOYING


class Toolsets:
    """The toolsets by the last part of their address, and what each serves now."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog
        self._mode: Mode = server.settings.tool_mode
        self._default = Toolset(frozenset(server.settings.toolsets))
        self._revision = -1
        self._views: dict[tuple[Toolset, frozenset[str]], View] = {}

    def named(self, name: str | None) -> Toolset:
        """The toolset at `/mcp/NAME`; that of all other addresses for None."""
        return self._default if name is None else Toolset(frozenset({name}))

    async def known(self, name: str, caller: Caller) -> bool:
        """True if there is such a toolset: a pipeline of that tag, whether it serves now or not, that the
        caller may see."""
        if name == MANAGE:
            return True
        if name in RESERVED:
            return False
        here = _tagged(self._catalog.snapshot, name, caller)
        return here or _tagged(await self._catalog.ready(WAIT), name, caller)

    def view(self, toolset: Toolset, caller: Caller) -> View:
        """What the toolset serves this caller now; made once per revision and set of scopes."""
        snapshot = self._catalog.snapshot
        if snapshot.revision != self._revision:
            self._revision, self._views = snapshot.revision, {}
        key = toolset, caller.scopes
        if key not in self._views:
            if len(self._views) >= VIEWS:
                self._views.clear()
            self._views[key] = made(snapshot, toolset, self._mode, caller)
        return self._views[key]


def made(snapshot: Snapshot, toolset: Toolset, mode: Mode, caller: Caller) -> View:
    """What a toolset serves of a snapshot, with the tools in the order of the list: pipelines come first.

    A caller may find what it may read; listed is what it may use.
    """
    reached: dict[str, Json] = {}
    own: dict[str, Json] = {}
    for tool in snapshot.tools:
        entry = snapshot.entries[tool["name"]]
        if toolset.reaches(entry.options) and caller.may("read", entry.name):
            reached[entry.name] = described(entry, tool)
        if toolset.lists(entry.options) and caller.may("run", entry.name):
            own[entry.name] = reached[entry.name]
    searching = searches(mode, own)
    listed = {} if searching else own
    walking = any(_is_stepwise(snapshot.entries[name]) for name in reached)
    management = _listed(toolset, searching, walking)
    tags = {name: snapshot.entries[name].options.tags for name in reached}
    usable = {tool["name"]: tool for tool in management if caller.may(NEEDS[tool["name"]])}
    return View(reached, tags, listed | usable)


def searches(mode: Mode, tools: Mapping[str, Json]) -> bool:
    """True if these pipelines are to be searched and not listed."""
    if mode != "auto":
        return mode == "search"
    return len(tools) > DIRECT or sum(len(orjson.dumps(tool)) for tool in tools.values()) > DIRECT_BYTES


def described(entry: Entry, tool: Json) -> Json:
    """The tool with its version, and whether a call may be a task (2025-11-25, `ToolExecution`)."""
    assert entry.version is not None, "a tool comes from a version"
    version = {"number": str(entry.version.number), "digest": entry.version.digest}
    support = "required" if entry.options.task == "required" else "optional"
    meta = {**tool.get("_meta", {}), VERSION: version}
    return {**tool, "execution": {"taskSupport": support}, "_meta": meta}


def _listed(toolset: Toolset, searching: bool, walking: bool) -> tuple[Json, ...]:
    """The management tools that a list of this toolset has; `walking` if it has step-wise pipelines."""
    everything = MANAGE in toolset.tags
    finding = search_tools.TOOLS if searching or everything else ()
    deploying = pipeline_tools.TOOLS if not toolset.tags or everything else ()
    stepping = step_tools.TOOLS if walking or everything else ()
    looking_back = history_tools.TOOLS if everything else ()
    versioning = (*version_tools.TOOLS, *registry_tools.TOOLS) if everything else ()
    operating = (*versioning, *delivery_tools.TOOLS, *breaker_tools.TOOLS) if everything else ()
    return (*finding, *deploying, *run_tools.TOOLS, *looking_back, *stepping, *operating)


def _is_stepwise(entry: Entry) -> bool:
    return entry.manifest is not None and entry.manifest.kind == "steps"


def _tagged(snapshot: Snapshot, tag: str, caller: Caller) -> bool:
    tagged = (each for each in snapshot.entries.values() if tag in each.options.tags)
    return any(not each.options.hidden and caller.may("read", each.name) for each in tagged)


_DEPLOYING = frozenset(
    tool["name"]
    for tool in (*pipeline_tools.TOOLS, *version_tools.TOOLS, *registry_tools.TOOLS, *breaker_tools.TOOLS)
)
