"""What clients would refuse or cut of a tool: one set of rules, for authors before and at a deploy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import orjson

from .clients import Effect, Limit, clients
from .models import Json, Noun

Tool = Json
"""An MCP tool in wire form."""


class Finding(Noun):
    """Something a client does not like, and the clients that do not like it."""

    rule: str
    effect: Effect
    message: str
    clients: tuple[str, ...]

    def __str__(self) -> str:
        verb = {"breaks": "breaks in ", "cuts": "may be cut by ", "advice": "advice for "}[self.effect]
        return self.message if not self.clients else f"{self.message} ({verb}{', '.join(self.clients)})"


def check_tool(tool: Tool, server: str | None = None) -> tuple[Finding, ...]:
    """What is wrong with one tool. `server` is the server's name in clients, if that is known.

    Without it, limits on the name that count it are left out.
    """
    limits = (limit for limit in clients().limits if limit.rule in TOOL_RULES)
    known = (limit for limit in limits if server is not None or "{server}" not in limit.prefix)
    return _gathered(known, lambda limit: TOOL_RULES[limit.rule](tool, limit, server or ""))


def check_list(tools: Sequence[Tool]) -> tuple[Finding, ...]:
    """What is wrong with a list of tools as a whole."""
    limits = (limit for limit in clients().limits if limit.rule in LIST_RULES)
    return _gathered(limits, lambda limit: LIST_RULES[limit.rule](tools, limit))


def warnings(tool: Tool) -> tuple[str, ...]:
    """What the author of a deployed pipeline should know: what breaks or is cut, without mere advice."""
    return tuple(str(finding) for finding in check_tool(tool) if finding.effect != "advice")


def _gathered(limits: Iterable[Limit], rule: Callable[[Limit], str | None]) -> tuple[Finding, ...]:
    """A finding for each different thing that is wrong, with all its clients."""
    found: dict[tuple[str, Effect, str], list[str]] = {}
    told: dict[tuple[object, ...], str | None] = {}
    for limit in limits:
        same = (limit.rule, limit.value, limit.prefix)
        if same not in told:
            told[same] = rule(limit)
        if message := told[same]:
            found.setdefault((limit.rule, limit.effect, message), []).append(limit.client)
    return tuple(
        Finding(rule=name, effect=effect, message=message, clients=tuple(having))
        for (name, effect, message), having in found.items()
    )


def _name_length(tool: Tool, limit: Limit, server: str) -> str | None:
    prefix = limit.prefix.format(server=server)
    length = len(prefix + tool["name"])
    with_prefix = f" with `{prefix}` before it" if prefix else ""
    return (
        f"the name has {length} characters{with_prefix}, above {limit.value}"
        if length > _number(limit)
        else None
    )


def _name_characters(tool: Tool, limit: Limit, server: str) -> str | None:
    odd = [character for character in _words(limit) if character in tool["name"]]
    return f"the name has {_listed(odd)} in it" if odd else None


def _root_keywords(tool: Tool, limit: Limit, server: str) -> str | None:
    used = [word for word in _words(limit) if word in tool["inputSchema"]]
    return f"the schema has {_listed(used)} at its top" if used else None


def _keywords(tool: Tool, limit: Limit, server: str) -> str | None:
    used = {word for part, _ in _parts(tool["inputSchema"]) for word in _words(limit) if word in part}
    return f"the schema uses {_listed(sorted(used))}" if used else None


def _depth(tool: Tool, limit: Limit, server: str) -> str | None:
    deepest = max(depth for _, depth in _parts(tool["inputSchema"]))
    return (
        f"the schema has objects in objects {deepest} levels deep, above {limit.value}"
        if deepest > _number(limit)
        else None
    )


def _parameter_descriptions(tool: Tool, limit: Limit, server: str) -> str | None:
    properties: Json = tool["inputSchema"].get("properties", {})
    silent = [name for name, part in properties.items() if not _description(part)]
    return f"without a description: {_listed(silent)}" if silent else None


def _description_bytes(tool: Tool, limit: Limit, server: str) -> str | None:
    size = len(tool.get("description", "").encode())
    return f"the description has {size} bytes, above {limit.value}" if size > _number(limit) else None


def _tools(tools: Sequence[Tool], limit: Limit) -> str | None:
    return f"the list has {len(tools)} tools, above {limit.value}" if len(tools) > _number(limit) else None


def _list_bytes(tools: Sequence[Tool], limit: Limit) -> str | None:
    size = len(orjson.dumps(tools))
    return f"the list has {size} bytes, above {limit.value}" if size > _number(limit) else None


TOOL_RULES: Mapping[str, Callable[[Tool, Limit, str], str | None]] = MappingProxyType(
    {
        "name_length": _name_length,
        "name_characters": _name_characters,
        "root_keywords": _root_keywords,
        "keywords": _keywords,
        "depth": _depth,
        "parameter_descriptions": _parameter_descriptions,
        "description_bytes": _description_bytes,
    }
)
LIST_RULES: Mapping[str, Callable[[Sequence[Tool], Limit], str | None]] = MappingProxyType(
    {"tools": _tools, "list_bytes": _list_bytes}
)
"""What a rule says of a tool, or of a list, that breaks a limit; None if it does not."""

_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_ARMS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")


def _parts(schema: Any, depth: int = 1) -> Iterator[tuple[Json, int]]:
    """The schema and all schemas inside it, each with how many objects deep it is; the root is at 1."""
    if not isinstance(schema, dict):
        return
    known = cast(Json, schema)
    yield known, depth
    for keyword in _NAMED:
        for part in cast(Json, known.get(keyword) or {}).values():
            yield from _parts(part, depth + _is_object(part))
    for keyword in _ARMS:
        for part in cast(list[Any], known.get(keyword) or []):
            yield from _parts(part, depth)
    for keyword in _SINGLE:
        part: Any = known.get(keyword)
        yield from _parts(part, depth + _is_object(part))


def _is_object(schema: Any) -> bool:
    return isinstance(schema, dict) and "properties" in schema


def _description(schema: Any) -> str:
    return cast(Json, schema).get("description") or "" if isinstance(schema, dict) else ""


def _number(limit: Limit) -> int:
    assert isinstance(limit.value, int), "the data says so"
    return limit.value


def _words(limit: Limit) -> tuple[str, ...]:
    assert isinstance(limit.value, tuple), "the data says so"
    return limit.value


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
