"""What people and models read of a pipeline, made so that they read the same.

Characters that are not shown, or that move what is, can carry instructions past the person who approves a
tool (tool poisoning); they are taken out of every description and title.
"""

from __future__ import annotations

import unicodedata
from typing import Any, cast

from .base import Json

LONGEST = {"description": 16_384, "title": 256}
"""Characters that these may have; more is cut off."""
VALUES = frozenset({"default", "const", "enum", "examples", "_meta"})
"""Members of a schema that hold data, which must stay as it is."""
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode: control, format (zero-width, bidirectional, tags), surrogates, line ends."""
SELECTORS = range(0xE0100, 0xE01F0)
"""Variation selectors that no font needs, and that can spell any bytes."""


def visible(item: Json) -> Json:
    """A tool, resource, prompt or schema with descriptions and titles that hide nothing."""
    return {key: _member(key, value) for key, value in item.items()}


def shown(text: str, longest: int) -> str:
    """A text without what cannot be seen, cut to `longest` characters."""
    seen = text if text.isascii() and text.isprintable() else "".join(filter(is_seen, text))
    return seen if len(seen) <= longest else seen[: longest - 1] + "…"


def is_seen(character: str) -> bool:
    """True for what is shown, and for the ends of lines and tabs."""
    return character in "\n\t" or (
        unicodedata.category(character) not in UNSEEN and ord(character) not in SELECTORS
    )


def _member(key: str, value: Any) -> Any:
    if isinstance(value, str):
        return shown(value, LONGEST[key]) if key in LONGEST else value
    if key in VALUES:
        return value
    return _inside(value)


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return visible(cast(Json, value))
    return [_inside(each) for each in cast(list[Any], value)] if isinstance(value, list) else value
