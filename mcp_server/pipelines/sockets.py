"""Haystack's types at the door: which may come from a client, how they are described and decoded.

A rewritten type is an ordinary annotation for pydantic. It decodes JSON into the Haystack object and
describes itself twice: closed for what a client sends (mode `validation`), as any object for what a
pipeline answers (mode `serialization`).
"""

from __future__ import annotations

import collections.abc as abstract
import dataclasses
import inspect
import re
import types
import typing
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from haystack.dataclasses import ByteStream, ChatMessage, Document
from haystack.tools.tool import Tool
from haystack.tools.toolset import Toolset
from haystack.utils import Secret
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    TypeAdapter,
    WithJsonSchema,
    create_model,
)
from pydantic.errors import PydanticUserError

from ..models import Json
from .portable import Quiet
from .values import DocumentInput, FileInput, MessageInput

_FORBIDDEN = (Tool, Toolset, Secret)
_SERVER_SIDE = "haystack.dataclasses.breakpoints"  # snapshots name classes, and may read the environment
_SCALARS = (str, int, float, bool, bytes, dict, list)
_FUNCTION: Any = abstract.Callable
_LISTS = (list, abstract.Sequence, abstract.Iterable, abstract.MutableSequence, abstract.Collection)
_SETS = (set, frozenset, abstract.Set, abstract.MutableSet)
_MAPPINGS = (dict, abstract.Mapping, abstract.MutableMapping)
_ANY_OBJECT = WithJsonSchema({"type": "object"}, mode="serialization")


class Unexpressible(ValueError):
    """A type that must not, or cannot, come from a client as JSON. The text names it."""


def expressible(annotation: Any) -> Any:
    """The annotation with every Haystack type replaced by one that pydantic describes and decodes.

    Types without Haystack in them come back as they are; arms of a union that cannot come from a client
    are dropped. Raises `Unexpressible` for functions, tools, secrets, server paths, and for whatever
    pydantic cannot describe.
    """
    if annotation is None or annotation is types.NoneType:
        return None
    if isinstance(annotation, str | TypeVar) or annotation in (Any, object):
        return Any
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(expressible(arguments[0]), *annotation.__metadata__)]
    if origin in (Union, types.UnionType):
        return _union(annotation, arguments)
    if annotation is _FUNCTION or origin is _FUNCTION:
        raise Unexpressible("a function cannot be an argument")
    if arguments and origin is not Literal:
        return _generic(annotation, origin, arguments)
    return _single(annotation)


def _union(annotation: Any, arms: tuple[Any, ...]) -> Any:
    """Without the arms a client must not use: beside a path, a plain string is a path too."""
    paths = any(_is_path(arm) for arm in arms)
    kept: list[Any] = []
    for arm in arms:
        if paths and arm is str:
            continue
        try:
            kept.append(expressible(arm))
        except Unexpressible:
            continue
    if all(arm is None for arm in kept):
        raise Unexpressible(f"nothing in {type_name(annotation)} can be an argument")
    return Union[tuple(kept)]  # noqa: UP007 - the arms are only known here


def _is_path(annotation: Any) -> bool:
    return inspect.isclass(annotation) and hasattr(annotation, "__fspath__")


def _generic(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    if origin in _LISTS:
        return list[expressible(arguments[0])]
    if origin in _SETS:
        return set[expressible(arguments[0])]
    if origin is tuple:
        return tuple[tuple(part if part is ... else expressible(part) for part in arguments)]
    if origin in _MAPPINGS:
        key, value = arguments
        return dict[str if key is Any else expressible(key), expressible(value)]
    return _known_to_pydantic(annotation)


def _single(annotation: Any) -> Any:
    if annotation in _SCALARS or not inspect.isclass(annotation):
        return _known_to_pydantic(annotation)
    if _is_path(annotation) or issubclass(annotation, _FORBIDDEN) or annotation.__module__ == _SERVER_SIDE:
        raise Unexpressible(f"{annotation.__name__} cannot be an argument")
    if issubclass(annotation, Document):
        return Annotated[DocumentInput, AfterValidator(DocumentInput.made), _ANY_OBJECT]
    if issubclass(annotation, ChatMessage):
        return Annotated[MessageInput, AfterValidator(MessageInput.made), _ANY_OBJECT]
    if issubclass(annotation, ByteStream):
        return Annotated[FileInput, AfterValidator(FileInput.made), _ANY_OBJECT]
    if issubclass(annotation, Enum):
        return annotation
    if annotation.__module__.startswith("haystack"):
        return _haystack_dataclass(annotation)
    if _converts(annotation):
        return _convertible(annotation)
    return _known_to_pydantic(annotation)


def _haystack_dataclass(annotation: Any) -> Any:
    """One of Haystack's values, field by field. Its components and stores are no values."""
    value = annotation.__module__.startswith("haystack.dataclasses.")
    if not value or not hasattr(annotation, "__dataclass_fields__"):
        raise Unexpressible(f"{annotation.__name__} cannot be an argument")
    hints = typing.get_type_hints(annotation)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(annotation):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        # a factory, so that the schema shows no default; the class itself fills in what is not given
        default = ... if required else Field(default_factory=_unset)
        fields[field.name] = (expressible(hints[field.name]), default)
    model = create_model(annotation.__name__, __config__=ConfigDict(extra="forbid"), **fields)

    def made(given: BaseModel) -> Any:
        return annotation(**{name: getattr(given, name) for name in given.model_fields_set})

    return Annotated[model, AfterValidator(made), _ANY_OBJECT]


def _unset() -> None:
    return None


def _converts(annotation: Any) -> bool:
    """True for a class that turns itself into a dict and back, and that pydantic would not know."""
    if dataclasses.is_dataclass(annotation) or issubclass(annotation, BaseModel):
        return False
    return callable(getattr(annotation, "from_dict", None)) and callable(getattr(annotation, "to_dict", None))


def _convertible(annotation: Any) -> Any:
    def made(given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        try:
            return annotation.from_dict(given)
        except (
            Exception
        ) as error:  # the author's own code: anything may come, and all of it means "does not fit"
            raise ValueError(f"is not a valid {annotation.__name__}") from error

    schema: Json = {"type": "object", "description": f"A {annotation.__name__}."}
    return Annotated[InstanceOf[annotation], BeforeValidator(made), WithJsonSchema(schema)]


def _known_to_pydantic(annotation: Any) -> Any:
    if annotation in _SCALARS:
        return annotation
    try:
        TypeAdapter(annotation).json_schema(schema_generator=Quiet)
    except PydanticUserError as error:
        reason = str(error.message).partition("\n")[0]
        raise Unexpressible(f"{type_name(annotation)} cannot be described as JSON: {reason}") from error
    return annotation


def type_name(annotation: Any) -> str:
    """How a person would write the type: without module paths."""
    if inspect.isclass(annotation) and not get_args(annotation):
        return annotation.__name__
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(annotation))
