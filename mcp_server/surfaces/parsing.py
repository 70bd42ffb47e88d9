"""JSON that clients send, read no deeper than anything we do with it can go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import orjson

DEPTH = 64
"""Levels of arrays and objects. Schemas are checked, and values decoded, by recursion."""


class TooDeep(ValueError):
    """More levels than that."""

    def __init__(self) -> None:
        super().__init__(f"The JSON has more than {DEPTH} levels.")


def loads(data: bytes) -> Any:
    """The value. Raises `orjson.JSONDecodeError` for what is no JSON, and `TooDeep`."""
    value = orjson.loads(data)
    if may_be_deep(data) and is_deep(value):
        raise TooDeep
    return value


def may_be_deep(data: bytes) -> bool:
    """False if there are too few brackets for it; costs next to nothing."""
    return data.count(b"[") + data.count(b"{") > DEPTH


def is_deep(value: Any) -> bool:
    """True if a value has more levels than we go."""
    level = [value]
    for _ in range(DEPTH):
        level = [child for each in level for child in inner(each) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def inner(value: Any) -> Iterable[Any]:
    """What an array or an object holds."""
    if isinstance(value, dict):
        return cast(dict[str, Any], value).values()
    return cast(list[Any], value) if isinstance(value, list) else ()
