"""From a return annotation to the output schema: a promise that `content.render` can keep for every value.

The schema is open and says only what holds after rendering: numbers may be null (NaN has no JSON), bounds,
patterns and formats are left out (nothing checks a returned value against them), values that become
content blocks or have several forms are left open.
"""

from __future__ import annotations

import collections.abc as abstract
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import core_schema

from ..content.blocks import Reply
from ..content.media import Block
from ..models import Json
from .portable import Quiet, portable

ASYNC_STREAMS = (abstract.AsyncGenerator, abstract.AsyncIterator, abstract.AsyncIterable)
_STREAMS = (abstract.Generator, abstract.Iterator, *ASYNC_STREAMS)
_BOUNDS = frozenset(
    {"format", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"minLength", "maxLength", "minItems", "maxItems", "default", "contentEncoding"}
)


def output_schema(annotation: Any) -> Json | None:
    """The schema of the structured result for a return annotation; None if it says nothing.

    Always an object: a value that is not one is wrapped as `result`, as `content.render` does. A stream of
    text is a string, a stream of other values a list of them. Never raises for an annotation that cannot
    be described: there is then no schema.
    """
    annotation = _replied(_streamed(annotation))
    if annotation in (None, NoneType, Any, object) or _has_blocks(annotation):
        return None
    try:
        described = TypeAdapter(_expressible(annotation)).json_schema(
            mode="serialization", schema_generator=_Rendered
        )
    except (PydanticUserError, ValueError, TypeError, NameError):
        return None
    compiled, _ = portable(_rooted(described), closed=False)
    schema = _loosened(compiled)
    return schema if schema != {"type": "object", "properties": {}} else None


def _replied(annotation: Any) -> Any:
    """What a `Reply` has as its structured value; any other annotation as it is."""
    if annotation is Reply:
        return Any
    return get_args(annotation)[0] if get_origin(annotation) is Reply else annotation


def is_text_stream(annotation: Any) -> bool:
    """False if the annotation names a stream whose items are something else than text."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    return origin not in (*_STREAMS, abstract.Iterable) or not arguments or _is_text(arguments[0])


def is_stream(annotation: Any) -> bool:
    """True if the annotation names a stream, whatever its items are."""
    return (get_origin(annotation) or annotation) in _STREAMS


def _is_text(item: Any) -> bool:
    """Chunks of Haystack and of OpenAI (which may be dicts) are text, and so may be anything unnamed."""
    return item in (str, Any, dict) or get_origin(item) is dict or "Chunk" in getattr(item, "__name__", "")


def _streamed(annotation: Any) -> Any:
    """The type of the whole for a stream, what is awaited for an awaitable; others as they are."""
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin in (abstract.Awaitable, abstract.Coroutine):
        return _streamed(arguments[-1]) if arguments else Any
    if origin in (Union, UnionType):
        return Any if any(_streamed(arm) is not arm for arm in arguments) else annotation
    if origin is abstract.Iterable:
        return Any  # written for lists and for streams alike
    if origin not in _STREAMS:
        return annotation
    if not arguments or arguments[0] in (Any, dict) or get_origin(arguments[0]) is dict:
        return Any
    return str if _is_text(arguments[0]) else list[arguments[0]]


def _has_blocks(annotation: Any) -> bool:
    """True if it names content blocks, ours or the SDK's: they are the content, nothing else is left."""
    if get_origin(annotation) is Reply or Block in getattr(annotation, "__mro__", ()):
        return True
    owner = getattr(annotation, "__module__", None) or ""
    return owner.partition(".")[0] in ("mcp", "mcp_types") or any(map(_has_blocks, get_args(annotation)))


def _expressible(annotation: Any) -> Any:
    """With Haystack's values as plain objects; what must not come in may well go out."""
    from .sockets import Unexpressible, expressible  # imports haystack, which the front process must not

    try:
        return expressible(annotation)
    except Unexpressible:
        return annotation


class _Rendered(Quiet):
    """Describes values as they are after rendering."""

    def bytes_schema(self, schema: core_schema.BytesSchema) -> Json:
        return {}

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> Json:
        return {}

    def float_schema(self, schema: core_schema.FloatSchema) -> Json:
        return {"type": ["number", "null"]}

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> Json:
        return {}

    def complex_schema(self, schema: core_schema.ComplexSchema) -> Json:
        return {}

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> Json:
        return {}

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> Json:
        """Haystack's values have a rendering of their own."""
        if schema["cls"].__module__.startswith("haystack"):
            return {"type": "object", "description": schema["cls"].__name__}
        return super().dataclass_schema(schema)


def _rooted(schema: Json) -> Json:
    """An object root: objects stay, others come under `result`, a mixture allows both."""
    definitions: Json = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    arms = [_resolved(arm, schema) for arm in schema.get("anyOf", schema.get("oneOf", [schema]))]
    objects = [arm for arm in arms if arm.get("type") == "object"]
    others = [arm for arm in arms if arm.get("type") != "object"]
    if not others:
        return schema
    if any("type" not in arm and "enum" not in arm and "const" not in arm for arm in others):
        return {"type": "object"}
    result = {"anyOf": others} if len(others) > 1 else others[0]
    if not objects:
        return {**definitions, "type": "object", "properties": {"result": result}, "required": ["result"]}
    return {**definitions, "anyOf": [*objects, {"type": "object", "properties": {"result": result}}]}


def _resolved(schema: Json, root: Json) -> Json:
    while reference := schema.get("$ref"):
        schema = {
            **root["$defs"][reference.rpartition("/")[2]],
            **{k: v for k, v in schema.items() if k != "$ref"},
        }
    return schema


def _loosened(schema: Json) -> Json:
    """Without what nothing checks."""
    made: Json = {key: value for key, value in schema.items() if key not in _BOUNDS}
    for key, value in made.items():
        if key == "properties":
            made[key] = {name: _loosened(part) for name, part in value.items()}
        elif key == "anyOf":
            made[key] = [_loosened(arm) for arm in value]
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            made[key] = _loosened(value)  # pyright: ignore[reportUnknownArgumentType]
    return made
