"""Haystack values as JSON and back: what components got and gave. Only here are its functions for that met.

They are private in Haystack 3.4. The JSON names classes, so it may come from our own store only, never from a
caller. Haystack makes objects of its own classes only, and of modules that the operator allows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson
from haystack.utils import base_serialization

from .faults import OWN_NAME

_functions: Any = base_serialization


class Unkept(Exception):
    """A value that has no JSON form. The text says why, in short."""


def pack(value: object) -> bytes:
    """The value as JSON with its schema. Raises `Unkept`."""
    try:
        return orjson.dumps(_functions._serialize_value_with_schema(value))
    except Exception as error:  # an author's own `to_dict` may raise anything
        raise Unkept(f"has no JSON form: {error}"[:200]) from error


def unpack(text: bytes | str) -> Any:
    """What was packed. Raises `Unkept`."""
    try:
        return _functions._deserialize_value_with_schema(orjson.loads(text))
    except Exception as error:  # an author's own `from_dict` may raise anything
        raise Unkept(f"cannot be made again: {error}"[:200]) from error


def check_kept(value: object, text: bytes) -> None:
    """Raise `Unkept` unless the packed text gives the same value again."""
    if not _same(value, unpack(text)):
        raise Unkept("would come back changed")


def digest(text: bytes) -> str:
    """The same for the same value, in whatever order its members are.

    Also in another load of the pipeline, whose modules differ in name.
    """
    text = orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS)
    told = OWN_NAME.sub("", text.decode()).encode() if b"pipeline_" in text else text
    return hashlib.sha256(told).hexdigest()


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        first, second = cast(Mapping[Any, Any], one), cast(Mapping[Any, Any], other)
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(one, list | tuple):
        pairs = zip(cast(Sequence[Any], one), cast(Sequence[Any], other), strict=False)
        return len(one) == len(other) and all(_same(*pair) for pair in pairs)  # pyright: ignore[reportUnknownArgumentType]
    try:
        return bool(one == other)
    except Exception:  # an author's own `__eq__`, or an array's
        return False
