"""The portable profile: the JSON Schema every client digests, made from whatever pydantic writes.

The limits of clients that rule here are dated in the project's notes on clients (November 2026): a `$ref`
or a top-level `anyOf` makes several of them refuse the whole list of tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from ..models import Json
from .headers import KEYWORD
from .unions import flat, joined, merged_root, nullable, one_or_many, ordered, types

COMPILER = 3
"""Raised whenever the same input would compile to another schema; part of every cache key."""

DEPTH = 12
"""References inlined inside each other before the rest is described as a plain object."""
NODES = 2000
"""Subschemas in one compiled schema before further references are described as plain objects."""

_KEPT = frozenset(
    {"type", "enum", "required", "format", "pattern", "contentEncoding", "minimum", "maximum", "multipleOf"}
    | {KEYWORD, "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems"}
)
_LOST = frozenset(
    {"not", "if", "then", "else", "contains", "patternProperties", "propertyNames", "dependentRequired"}
    | {"dependentSchemas", "unevaluatedProperties", "unevaluatedItems", "minProperties", "maxProperties"}
)
_FORMS: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
)
_ONLY_PYTHON = re.compile(r"\(\?P|\(\?[aiLmsux-]+[:)]|\\[AZ]")
"""Regular expressions that Python reads and ECMA-262, the dialect of JSON Schema, does not."""


class Quiet(GenerateJsonSchema):
    """For `json_schema(schema_generator=Quiet)`: pydantic's own, but a default without JSON is no warning."""

    # RUF012: pydantic declares it as a plain class attribute
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def portable(schema: Json, *, closed: bool = True) -> tuple[Json, tuple[str, ...]]:
    """Compile `schema` (JSON Schema 2020-12) to the portable profile; give it with what was lost, in words.

    The root is an object without combinators, references are inlined, `null` is one of the types, titles
    are dropped, keys come in a fixed order. With `closed`, objects with known properties refuse others.
    What is lost is checked when arguments are decoded, never silently accepted. Raises `ValueError` if
    the root can only be something else than an object.
    """
    compiler = _Compiler(schema.get("$defs") or schema.get("definitions") or {}, closed)
    root = compiler.compiled(schema, ())
    root = merged_root(root) if "anyOf" in root else root
    if types(root) not in ([], ["object"]):
        raise ValueError("the root of a schema must be an object")
    root = {**root, "type": "object", "properties": root.get("properties", {})}
    if closed:
        root.setdefault("additionalProperties", False)
    return ordered(root), tuple(dict.fromkeys(compiler.warnings))


class _Compiler:
    """One compilation: the definitions, the budget, and the warnings so far."""

    def __init__(self, definitions: Mapping[str, Json], closed: bool) -> None:
        self._definitions = definitions
        self._closed = closed
        self._nodes = 0
        self.warnings: list[str] = []

    def compiled(self, schema: Json | bool, inside: tuple[str, ...]) -> Json:
        """The schema in the profile; `inside` names the references it is part of."""
        self._nodes += 1
        if isinstance(schema, bool):
            return {}
        if reference := schema.get("$ref"):
            return self._reference(reference, schema, inside)
        if parts := schema.get("allOf"):
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            return self.compiled(self._together([*parts, rest]), inside)
        if arms := schema.get("anyOf") or schema.get("oneOf"):
            return self._union(schema, arms, inside)
        return self._single(schema, inside)

    def _reference(self, reference: str, schema: Json, inside: tuple[str, ...]) -> Json:
        name = reference.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        target = self._definitions.get(name, {})
        if name in inside or len(inside) >= DEPTH or self._nodes > NODES:
            return self._plain({**target, **beside}, name)
        return self.compiled({**target, **beside}, (*inside, name))

    def _plain(self, target: Json, name: str) -> Json:
        self.warnings.append(f"{name} is nested too deep to be described to the end")
        plain: Json = {key: target[key] for key in ("type",) if key in target}
        plain |= {"items": {}} if plain.get("type") == "array" else {}
        return {
            **plain,
            "description": f"{target.get('description', '')}\nA further {name}, of the same form.".strip(),
        }

    def _together(self, parts: Iterable[Json]) -> Json:
        """The parts of an `allOf` as one schema; where two say different things, the later one wins."""
        whole: Json = {}
        for part in parts:
            if reference := part.get("$ref"):
                name = reference.rpartition("/")[2]
                part = {**self._definitions.get(name, {}), **{k: v for k, v in part.items() if k != "$ref"}}
            properties = {**whole.get("properties", {}), **part.get("properties", {})}
            required = [*whole.get("required", ()), *part.get("required", ())]
            whole = {**whole, **part}
            whole |= {"properties": properties} if properties else {}
            whole |= {"required": list(dict.fromkeys(required))} if required else {}
        return whole

    def _union(self, schema: Json, arms: Iterable[Json], inside: tuple[str, ...]) -> Json:
        beside = {k: v for k, v in schema.items() if k in ("description", "default", "examples")}
        made = flat([self.compiled(arm, inside) for arm in arms])
        has_null = any(types(arm) == ["null"] for arm in made)
        made = [arm for arm in made if types(arm) != ["null"]]
        union = joined(made)
        if has_null:
            union = nullable(union)
        beside.setdefault("description", union.get("description", ""))
        mark = {KEYWORD: schema[KEYWORD]} if KEYWORD in schema else {}
        return ordered({**union, **mark, **self._annotations(beside)})

    def _single(self, schema: Json, inside: tuple[str, ...]) -> Json:
        for keyword in sorted(_LOST & schema.keys()):
            self.warnings.append(f"`{keyword}` is not described")
        made = {key: value for key, value in schema.items() if key in _KEPT}
        if "const" in schema:
            made["enum"] = [schema["const"]]
        if "enum" in made and "type" not in made:
            made["type"] = one_or_many(map(_form, made["enum"]))
        if "pattern" in made and _ONLY_PYTHON.search(made["pattern"]):
            self.warnings.append(f"the pattern {made.pop('pattern')} is not described: only Python reads it")
        made |= self._object(schema, inside) | self._array(schema, inside)
        return ordered({**made, **self._annotations(schema)})

    def _object(self, schema: Json, inside: tuple[str, ...]) -> Json:
        made: Json = {}
        if properties := schema.get("properties"):
            made["properties"] = {name: self.compiled(part, inside) for name, part in properties.items()}
        extra = schema.get("additionalProperties", False if properties and self._closed else None)
        if "patternProperties" in schema:
            extra = True
        if isinstance(extra, dict):
            made["additionalProperties"] = self.compiled(extra, inside)  # pyright: ignore[reportUnknownArgumentType]
        elif extra is not None:
            made["additionalProperties"] = extra
        return made

    def _array(self, schema: Json, inside: tuple[str, ...]) -> Json:
        if "prefixItems" in schema:
            places = [self.compiled(part, inside) for part in schema["prefixItems"]]
            if any(place != places[0] for place in places):
                self.warnings.append("the order of types in a tuple is not described")
            return {"items": joined(flat(places))}
        if "array" not in types(schema):
            return {}
        return {"items": self.compiled(schema.get("items", {}), inside)}

    def _annotations(self, schema: Json) -> Json:
        made: Json = {}
        description = schema.get("description") or ""
        if examples := schema.get("examples"):
            shown = ", ".join(json.dumps(example, ensure_ascii=False, default=str) for example in examples)
            description = f"{description}\nExamples: {shown}"
        if description:
            made["description"] = description.strip()
        if "default" in schema and _is_json(schema["default"]):
            made["default"] = schema["default"]
        return made


def _form(value: object) -> str:
    return next(
        (form for kind, form in _FORMS if isinstance(value, kind)), "null" if value is None else "object"
    )


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
