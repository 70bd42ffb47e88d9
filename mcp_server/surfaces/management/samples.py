"""An example of arguments for a schema: what is required, with values that say what they stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from ...models import Json

DEPTH = 6
"""Levels of a schema that are filled in."""
FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "date-time": "2026-01-31T12:00:00Z",
        "date": "2026-01-31",
        "time": "12:00:00Z",
        "duration": "PT1H",
        "uuid": "00000000-0000-4000-8000-000000000000",
        "email": "ada@example.com",
        "uri": "https://example.com",
    }
)


def sample(schema: Json) -> Any:
    """A value that fits the schema as far as types, limits and formats go; patterns are not met."""
    return _sample(schema, schema, DEPTH)


def _sample(schema: Json, root: Json, depth: int) -> Any:
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _sample(_target(reference, root), root, depth - 1) if depth else {}
    for keyword in ("examples", "enum"):
        if values := schema.get(keyword):
            return values[0]
    for keyword in ("default", "const"):
        if schema.get(keyword) is not None:
            return schema[keyword]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if arms := schema.get(keyword):
            return _sample(arms[0], root, depth)
    return _typed(schema, root, depth)


def _typed(schema: Json, root: Json, depth: int) -> Any:
    form: Any = schema.get("type", "object" if "properties" in schema else "string")
    match cast(list[str], form)[0] if isinstance(form, list) else form:
        case "object":
            properties: Json = schema.get("properties", {})
            required: list[str] = schema.get("required", []) if depth else []
            return {name: _sample(properties.get(name, {}), root, depth - 1) for name in required}
        case "array":
            return [_sample(schema.get("items", {}), root, depth - 1)] if depth else []
        case "integer" | "number" as kind:
            return _number(schema, kind)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _text(schema)


def _number(schema: Json, kind: str) -> float:
    """The step itself, usually 1, moved between the limits."""
    step: float = schema.get("multipleOf", 1)
    least: float = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf) + step)
    most: float = schema.get("maximum", schema.get("exclusiveMaximum", math.inf) - step)
    value = max(least, min(step, most))
    return int(value) if kind == "integer" else value


def _text(schema: Json) -> str:
    text = FORMATS.get(schema.get("format", ""), "text").ljust(schema.get("minLength", 0), ".")
    return text[: schema.get("maxLength")]


def _target(reference: str, root: Json) -> Json:
    """What a reference inside the schema leads to; anything at all if it leads nowhere."""
    place: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        place = cast(Json, place).get(part.replace("~1", "/").replace("~0", "~")) if place else None
    return cast(Json, place) if isinstance(place, dict) else {}
