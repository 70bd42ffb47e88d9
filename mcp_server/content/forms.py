"""The form a Python value takes in JSON, one level at a time.

Forms agree with what pydantic's serialization schemas promise for the same type, so that structured
content fits the output schema of its tool. Where they may not: bytes are base64, never UTF-8 text.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any, cast

from pydantic import BaseModel, RootModel
from pydantic_core import to_jsonable_python

from .libraries import known
from .media import InnerBlock, Media, sniff, wire_block

_FILE = frozenset({"name", "content", "mime_type"})
_SIMPLE = frozenset({str, int, float, bool, type(None)})
_UNKNOWN_BYTES = "application/octet-stream"


def form(value: Any) -> object:
    """`value` one step closer to JSON; what it contains may still be anything.

    Raises whatever the value's own code raises, and an exception for what has no form.
    """
    kind = cast(type[Any], type(value))
    if make := known(kind):
        return make(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes | bytearray | memoryview):
        return _binary(bytes(cast(bytes, value)))
    if isinstance(value, BaseModel) or is_dataclass(value):
        return _record(value)
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if callable(getattr(kind, "to_dict", None)):
        return value.to_dict()
    return _plain(value)


def _binary(data: bytes) -> object:
    mime_type = sniff(data)
    return Media(data, mime_type) if mime_type else base64.b64encode(data).decode()


def _plain(value: Any) -> object:
    kind = cast(type[Any], type(value))
    if isinstance(value, type | Iterator):
        raise TypeError("a class, or a stream that only its reader may consume")
    if isinstance(value, Collection):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if callable(getattr(kind, "tolist", None)):
        return value.tolist()
    if isinstance(value, SimpleNamespace):
        return _public(vars(value))
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    if declared := getattr(kind, "__attrs_attrs__", None):
        return _public({field.name: getattr(value, field.name) for field in declared})
    return to_jsonable_python(value)


def _record(value: Any) -> object:
    """The fields of a pydantic model or a dataclass, as pydantic serializes them where it can."""
    kind = cast(type[Any], type(value))
    serializer = getattr(kind, "__pydantic_serializer__", None)
    if serializer is not None and _suits_pydantic(value):
        try:
            return serializer.to_python(value, mode="json", by_alias=True, warnings=False)
        except ValueError:  # a type pydantic does not know: field by field then
            pass
    if block := wire_block(value):
        return InnerBlock(block)
    if isinstance(value, RootModel):
        return value.root  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(value, BaseModel):
        return _model(value)
    return _file(_public({field.name: getattr(value, field.name) for field in fields(value)}))


def _model(value: BaseModel) -> Mapping[str, object]:
    shown = {
        field.serialization_alias or name: getattr(value, name)
        for name, field in type(value).model_fields.items()
        if not field.exclude
    }
    computed = {
        field.alias or name: getattr(value, name) for name, field in type(value).model_computed_fields.items()
    }
    return _file({**shown, **computed, **(value.model_extra or {})})


def _file(shown: Mapping[str, object]) -> Mapping[str, object]:
    """The same, with the bytes of a file (`name`, `content`, `mime_type`) made media."""
    content = shown.get("content")
    if not (shown.keys() >= _FILE and isinstance(content, bytes)):
        return shown
    name, mime_type = str(shown["name"]), str(shown["mime_type"] or _UNKNOWN_BYTES)
    if mime_type == _UNKNOWN_BYTES:
        mime_type = sniff(content) or mimetypes.guess_type(name)[0] or _UNKNOWN_BYTES
    return {**shown, "mime_type": mime_type, "content": Media(content, mime_type, name)}


def _public(values: Mapping[str, object]) -> Mapping[str, object]:
    """Only what is meant to be seen: what a leading underscore hides may be a secret."""
    return {name: value for name, value in values.items() if not name.startswith("_")}


def _suits_pydantic(value: Any) -> bool:
    try:
        return not _is_mixed(value)
    except RecursionError:  # a cycle, or too deep: field by field, where that is noticed
        return False


def _is_mixed(value: Any) -> bool:
    """True if the value holds bytes or a type of another library, which pydantic alone would get wrong."""
    kind = cast(type[Any], type(value))
    if kind in _SIMPLE:
        return False
    if isinstance(value, bytes | bytearray) or known(kind) or wire_block(value):
        return True
    if isinstance(value, Mapping):
        return any(map(_is_mixed, value.values()))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_is_mixed, value))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, BaseModel) or is_dataclass(value):
        return any(map(_is_mixed, vars(value).values()))
    return False
