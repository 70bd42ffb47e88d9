"""Copies of what components get: equal to those Haystack makes, at a fraction of their cost.

Haystack copies every input of every component by `copy.deepcopy`, one float of an embedding at a time. Here
plain data (what JSON knows, and objects that are nothing but their attributes, as Haystack's dataclasses are)
is copied by what it is; all else goes Haystack's way, and so does what fails.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from typing import Any, cast

from haystack.core.pipeline import utils
from haystack.tools.tool import Tool
from haystack.tools.toolset import Toolset

_private: Any = utils
_original: Callable[[Any], Any] = _private._deepcopy_with_exceptions

_ATOMS = frozenset({str, int, float, bool, bytes, complex, type(None), type(lambda: None), type(len)})
"""What a copy is the same object of."""
_OWN_WAYS = (
    "__deepcopy__",
    "__getattr__",
    "__getnewargs__",
    "__getnewargs_ex__",
    "__setstate__",
    "run",
)
"""What an object has that is copied in a way of its own, or not at all: a component has `run`."""


def copied(value: Any) -> Any:
    """The value as a component may have it, and change it: as Haystack's `_deepcopy_with_exceptions`.

    Containers are made anew and so is what they hold; components and tools stay themselves, and so does what
    cannot be copied.
    """
    kind = cast(Any, type(value))
    if kind in _ATOMS:
        return value
    if kind is list:
        return value.copy() if _ATOMS.issuperset(map(type, value)) else [copied(each) for each in value]
    if kind is dict:
        return {key: each if type(each) in _ATOMS else copied(each) for key, each in value.items()}
    if kind is tuple:
        return tuple(copied(each) for each in value)
    if kind is set:
        return {copied(each) for each in value}
    if not _is_plain(kind) or "run" in vars(value):
        return _original(value)
    try:
        return _deep(value, {})
    except Exception:  # what an attribute is may refuse to be copied in any way
        return _original(value)


def _deep(value: Any, memory: dict[int, Any]) -> Any:
    """The same as `copy.deepcopy`: what is there twice is copied once."""
    kind = cast(Any, type(value))
    if kind in _ATOMS:
        return value
    if (known := memory.get(id(value))) is not None:
        return known
    if kind is list:
        return _deep_list(value, memory)
    if kind is dict:
        return _deep_dict(value, memory)
    if not _is_plain(kind):
        return deepcopy(value, memory)
    made: object = kind.__new__(kind)
    memory[id(value)] = made
    _fill(vars(made), vars(cast(object, value)), memory)
    return made


def _deep_list(value: list[Any], memory: dict[int, Any]) -> list[Any]:
    made = memory[id(value)] = value.copy()
    if not _ATOMS.issuperset(map(type, made)):
        made[:] = [_deep(each, memory) for each in value]
    return made


def _fill(made: dict[str, Any], attributes: dict[str, Any], memory: dict[int, Any]) -> None:
    made.update(attributes)
    for name, each in attributes.items():
        if type(each) not in _ATOMS:
            made[name] = _deep(each, memory)


def _deep_dict(value: dict[Any, Any], memory: dict[int, Any]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    memory[id(value)] = made
    for key, each in value.items():
        made[key if type(key) in _ATOMS else _deep(key, memory)] = (
            each if type(each) in _ATOMS else _deep(each, memory)
        )
    return made


@lru_cache(maxsize=1024)
def _is_plain(kind: type[Any]) -> bool:
    """True if the objects of a class are their attributes and nothing else, and say nothing of copying."""
    return (
        kind.__new__ is object.__new__
        and kind.__getattribute__ is object.__getattribute__
        and kind.__reduce__ is object.__reduce__
        and kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__getstate__ is object.__getstate__
        and kind.__dictoffset__ != 0
        and kind not in copyreg.dispatch_table
        and not any(hasattr(kind, name) for name in _OWN_WAYS)
        and not any(vars(each).get("__slots__") for each in kind.__mro__)
        and not issubclass(kind, Tool | Toolset)
    )
