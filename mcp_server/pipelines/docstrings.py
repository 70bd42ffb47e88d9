"""What a docstring tells: the description of a tool, and those of its parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Documentation:
    """A docstring, taken apart."""

    description: str
    """The whole text, dedented, without the section on parameters if that moved to them."""
    parameters: Mapping[str, str]


def documentation(docstring: str | None, parameters: Collection[str]) -> Documentation:
    """Read a docstring in Google, NumPy or reStructuredText style, or in none.

    `parameters` are the names of the function's parameters. The section that documents them leaves the
    description if it documents nothing else: its contents are in the schema, where models look. Nothing
    is ever cut. A docstring in no known style is a description.
    """
    kept: list[str] = []
    told: dict[str, str] = {}
    for style, block in _blocks(inspect.cleandoc(docstring or "").splitlines()):
        found = _parameters(style, block) if style else {}
        told |= {name: words for name, words in found.items() if name in parameters and words}
        if not found or not found.keys() <= set(parameters):
            kept += block
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return Documentation(description, MappingProxyType(told))


def _parameters(style: str, block: list[str]) -> dict[str, str]:
    """Every parameter a section documents, in one line each; none if it cannot be read."""
    import docstring_parser  # only hosts need it

    parser: Any = docstring_parser  # its exports are untyped
    try:
        parts = parser.parse("\n".join(["", *block]), parser.DocstringStyle[style]).params
    except parser.ParseError:
        return {}
    return {part.arg_name.lstrip("*"): " ".join((part.description or "").split()) for part in parts}


_GOOGLE = re.compile(r"(?:Args|Arguments|Parameters|Params):\s*")
_NUMPY = re.compile(r"(?:Other )?(?:Parameters|Params|Arguments)\s*")
_NUMPY_NAME = re.compile(r"\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*\s*(?::.*)?")
_LINE = re.compile(r"-{3,}\s*")
_REST = re.compile(r":(?:param|parameter|arg|argument|key|keyword|type)\b[^:]*:")


def _blocks(lines: list[str]) -> Iterator[tuple[str | None, list[str]]]:
    """The docstring in pieces: sections on parameters with their style, single other lines without."""
    while lines:
        style, head, belongs = _section(lines)
        length = head
        while head and length < len(lines) and belongs(lines[length:]):
            length += 1
        yield style, lines[: length or 1]
        lines = lines[length or 1 :]


def _section(lines: list[str]) -> tuple[str | None, int, Callable[[list[str]], bool]]:
    """The style of the section that begins here, how many lines head it, and which then belong to it."""
    first, second = lines[0], lines[1] if len(lines) > 1 else ""
    if _GOOGLE.fullmatch(first):
        return "GOOGLE", 1, _is_indented
    if _NUMPY.fullmatch(first) and _LINE.fullmatch(second):
        return "NUMPYDOC", 2, lambda rest: _is_indented(rest) or _names_numpy(rest)
    if _REST.match(first):
        return "REST", 1, lambda rest: _is_indented(rest) or bool(_REST.match(rest[0]))
    return None, 0, lambda rest: False


def _names_numpy(rest: list[str]) -> bool:
    """True for `top_k : int` and the like, not for text that follows or for the next section's head."""
    text = next((line for line in rest if line.strip()), "")
    heads = len(rest) > 1 and _LINE.fullmatch(rest[1])
    return bool(_NUMPY_NAME.fullmatch(text)) and not heads


def _is_indented(lines: list[str]) -> bool:
    """True if the next line with text is indented."""
    return next((line[0].isspace() for line in lines if line.strip()), False)
