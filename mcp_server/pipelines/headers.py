"""Header parameters: arguments that clients of the modern era send as HTTP headers too (SEP-2243).

A property marked `x-mcp-header: Region` travels as `Mcp-Param-Region` beside the body, so that gateways can
route by it. The SDK compares the two; here is how a parameter is marked, and what may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from ..models import Json

KEYWORD = "x-mcp-header"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TYPES = ("string", "integer", "boolean")
_DATA = frozenset({"default", "examples", "const", "enum"})
"""Keywords that hold values, not schemas."""
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords that hold schemas by names of the author's."""


@dataclass(frozen=True)
class Header:
    """Marks a parameter: `region: Annotated[str, Header("Region")]`. Never a secret: headers get logged."""

    name: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        """The parameter's own schema with the mark."""
        return {**handler(schema), KEYWORD: self.name}


def header_problem(schema: Json) -> str | None:
    """What is wrong with a mark in an input schema (2026-07-28, transports, custom headers); None if nothing.

    Clients drop a tool with a wrong mark, so it must not come to that.
    """
    seen: set[str] = set()
    for path, part in _marked(schema, ()):
        where = f"`{'.'.join(path)}`" if path else "the schema"
        name = part[KEYWORD]
        if not path:
            return f"`{KEYWORD}` may only stand on properties that are reached through `properties` alone"
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            return f"the header of {where} must be a name of letters, digits and hyphens"
        if part.get("type") not in _TYPES:
            return f"{where} cannot be a header: only a string, an integer or a boolean can, and never null"
        if name.lower() in seen:
            return f"the header of {where} is already that of another parameter"
        seen.add(name.lower())
    return None


def _marked(schema: Any, path: tuple[str, ...] | None) -> Iterator[tuple[tuple[str, ...] | None, Json]]:
    """Marked schemas with their path of properties; None for one that is reached another way."""
    if isinstance(schema, list):
        for part in cast(list[Any], schema):
            yield from _marked(part, None)
    if not isinstance(schema, dict):
        return
    members = cast(Json, schema)
    if KEYWORD in members:
        yield path, members
    for key, part in members.items():
        if key in _NAMED and isinstance(part, dict):
            for name, inner in cast(Json, part).items():
                within = key == "properties" and path is not None
                yield from _marked(inner, (*(path or ()), name) if within else None)
        elif key not in _DATA:
            yield from _marked(part, None)
