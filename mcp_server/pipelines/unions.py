"""Alternatives in a schema, said without the combinators that clients refuse."""

from __future__ import annotations

from collections.abc import Iterable

from ..models import Json

ORDER = ("type", "description", "enum", "properties", "required", "items", "anyOf", "additionalProperties")
"""Keywords in the order they are written; others follow by name."""


def flat(arms: Iterable[Json]) -> list[Json]:
    """Arms that are unions themselves are opened; equal arms come once."""
    flat: list[Json] = []
    for arm in arms:
        for inner in arm["anyOf"] if set(arm) == {"anyOf"} else [arm]:
            if inner not in flat:
                flat.append(inner)
    return flat


def joined(arms: list[Json]) -> Json:
    """One schema for the arms: their types side by side if they do not disturb each other, else `anyOf`."""
    if len(arms) <= 1:
        return arms[0] if arms else {}
    if any(not arm for arm in arms):
        return {}
    kinds = [kind for arm in arms for kind in types(arm)]
    words = [key for arm in arms for key in arm if key != "type"]
    alone = all(types(arm) and not {"enum", "anyOf", "default"} & arm.keys() for arm in arms)
    if alone and len(kinds) == len(set(kinds)) and len(words) == len(set(words)):
        merged: Json = {key: value for arm in arms for key, value in arm.items()}
        return ordered({**merged, "type": kinds})
    return {"anyOf": arms}


def nullable(schema: Json) -> Json:
    """The schema with null among its types; an `anyOf` gets it in its first arm."""
    if "anyOf" in schema:
        first, *others = schema["anyOf"]
        return {**schema, "anyOf": [nullable(first), *others]}
    if not (kinds := types(schema)):
        return schema
    made: Json = {**schema, "type": one_or_many([*kinds, "null"])}
    if "enum" in made and None not in made["enum"]:
        made["enum"] = [*made["enum"], None]
    return made


def merged_root(schema: Json) -> Json:
    """A union of objects as one object: every property of any, required what all require."""
    arms: list[Json] = [arm for arm in schema["anyOf"] if "object" in types(arm)]
    if len(arms) < len(schema["anyOf"]):
        raise ValueError("the root of a schema must be an object")
    properties: dict[str, list[Json]] = {}
    for arm in arms:
        for name, part in arm.get("properties", {}).items():
            properties.setdefault(name, []).append(part)
    required = [name for name in properties if all(name in arm.get("required", ()) for arm in arms)]
    closed = all(arm.get("additionalProperties") is False for arm in arms)
    return {
        **{key: value for key, value in schema.items() if key != "anyOf"},
        "type": "object",
        "properties": {name: _widened(parts) for name, parts in properties.items()},
        **({"required": required} if required else {}),
        **({} if closed else {"additionalProperties": True}),
    }


def _widened(parts: list[Json]) -> Json:
    """What any of the parts allows; enumerations of one type become one."""
    if all(set(part) == {"type", "enum"} and part["type"] == parts[0]["type"] for part in parts):
        values = dict.fromkeys(value for part in parts for value in part["enum"])
        return {"type": parts[0]["type"], "enum": list(values)}
    return joined(flat(parts))


def types(schema: Json) -> list[str]:
    kind = schema.get("type")
    return list(kind) if isinstance(kind, list) else [kind] if kind else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def one_or_many(kinds: Iterable[str]) -> str | list[str]:
    unique = list(dict.fromkeys(kinds))
    return unique[0] if len(unique) == 1 else unique


def ordered(schema: Json) -> Json:
    """Known keywords first, the others by name, so that equal schemas are equal bytes."""
    rank = {key: place for place, key in enumerate(ORDER)}
    return {key: schema[key] for key in sorted(schema, key=lambda key: (rank.get(key, len(rank)), key))}
