"""A YAML text as plain values that still know their lines, read within bounds.

Haystack's own `loads` copies what aliases expand to: 200 bytes of nested aliases cost it seconds. Refusing
aliases is no way out, `Pipeline.dumps()` writes them for every shared store. So the text is first walked
as events, which bounds its depth, then composed and counted as if expanded, and only then constructed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from ..errors import Broken
from ..models import Json, Problem

MAX_BYTES = 256 * 1024
MAX_NODES = 50_000
"""Nodes after every alias is expanded."""
MAX_DEPTH = 100
MAX_DIGITS = 400
"""Longest number or date; integers cost the square of their length."""

_PLAIN = ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "binary", "merge", "value", "set")
_TUPLE = "tag:yaml.org,2002:python/tuple"
_TAGS = frozenset({f"tag:yaml.org,2002:{name}" for name in _PLAIN} | {_TUPLE})
_UNBOUNDED = frozenset({f"tag:yaml.org,2002:{name}" for name in ("str", "binary")})
_yaml: Any = yaml  # its stubs leave most of it unknown
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """The safe loader, and the one tag beyond it that Haystack writes."""


def _tuple(loader: Any, node: Any) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node, deep=True))


_Loader.add_constructor(_TUPLE, _tuple)


@dataclass(frozen=True)
class Composed:
    """A YAML mapping: its plain values, and where each of them is written."""

    value: Json
    file: str
    root: Any

    def line(self, *path: str | int) -> int:
        """The line, from 1, of the key or item at `path`, or of the nearest one above it that exists."""
        node, line = self.root, self.root.start_mark.line + 1
        for step in path:
            found = _step(node, step)
            if found is None:
                break
            line, node = found
        return line

    def broken(self, message: str, *path: str | int) -> Broken:
        """The error to raise about what is written at `path`."""
        return Broken(Problem(message=message, file=self.file, line=self.line(*path)))


def texts_in(root: Path) -> dict[str, bytes]:
    """The YAML files at the top of a folder by name, each as far as it is worth reading."""
    paths = [path for path in root.iterdir() if path.suffix in (".yml", ".yaml") and path.is_file()]
    return {path.name: path.read_bytes()[: MAX_BYTES + 1] for path in paths}


def compose(content: bytes, file: str, limit: int = MAX_BYTES) -> Composed:
    """Read a YAML mapping within `limit` bytes, `MAX_NODES` and `MAX_DEPTH`.

    `file` is its name for errors. Raises `Broken` with the line for anything else than plain values.
    """
    if len(content) > limit:
        raise Broken(Problem(message=f"is larger than {limit // 1024} KiB", file=file))
    try:
        text = content.decode("utf-8-sig")
        _check_depth(text)
        root = _yaml.compose(text, _Loader)
        if root is not None:
            _Measure().check(root)
        value: Any = _Loader("").construct_document(root) if root is not None else None
    except UnicodeDecodeError as error:
        raise Broken(Problem(message="is not UTF-8 text", file=file)) from error
    except yaml.MarkedYAMLError as error:
        raise Broken(_problem(error, file)) from error
    except yaml.YAMLError as error:
        raise Broken(Problem(message="is not valid YAML", file=file)) from error
    except ValueError as error:
        raise Broken(Problem(message="holds a date or number that does not exist", file=file)) from error
    if not isinstance(value, dict):
        raise Broken(Problem(message="must be a mapping with `components`", file=file, line=1))
    return Composed(value=cast(Json, value), file=file, root=root)


def _problem(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = " ".join(f"{error.context or ''} {error.problem or ''}".split())
    line = mark.line + 1 if mark else None
    return Problem(message=message[:200] or "is not valid YAML", file=file, line=line)


def _check_depth(text: str) -> None:
    """Walk the events, which needs no recursion; the composer recurses in C and would overflow the stack."""
    depth = 0
    for event in _yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _refusal(f"is nested deeper than {MAX_DEPTH} levels", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Measure:
    """Counts a node as if its aliases were expanded, looking at each written node once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int] | None] = {}
        """Nodes and depth by identity; None while a node is being measured."""

    def check(self, node: Any) -> tuple[int, int]:
        """Nodes and depth. Raises `MarkedYAMLError` for what is too large, too deep, endless or not plain.

        The recursion is bounded: a node inside an alias was measured where it is written.
        """
        if id(node) not in self._known:
            self._known[id(node)] = None
            self._known[id(node)] = self._measured(node)
        known = self._known[id(node)]
        if known is None:
            raise _refusal("an alias contains itself", node)
        return known

    def _measured(self, node: Any) -> tuple[int, int]:
        _check_node(node)
        sizes = [self.check(child) for child in _children(node)]
        count = 1 + sum(size for size, _ in sizes)
        depth = 1 + max((below for _, below in sizes), default=0)
        if count > MAX_NODES:
            raise _refusal(f"has more than {MAX_NODES} values once aliases are expanded", node)
        if depth > MAX_DEPTH:
            raise _refusal(f"is nested deeper than {MAX_DEPTH} levels", node)
        return count, depth


def _check_node(node: Any) -> None:
    if node.tag not in _TAGS:
        raise _refusal(f"the tag {_short(node.tag)} is not allowed", node)
    if isinstance(node, yaml.ScalarNode) and node.tag not in _UNBOUNDED and len(node.value) > MAX_DIGITS:
        raise _refusal("a number is too long", node)
    seen: set[tuple[str, str]] = set()
    for key, _ in _pairs(node):
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if (key.tag, key.value) in seen:
                raise _refusal(f"the key `{key.value[:50]}` is there twice", key)
            seen.add((key.tag, key.value))


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in _pairs(node) for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _step(node: Any, step: str | int) -> tuple[int, Any] | None:
    """The line where an entry begins, and its value."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        item: Any = node.value[step]
        return item.start_mark.line + 1, item
    found = next((pair for pair in _pairs(node) if pair[0].value == step), None)
    return (found[0].start_mark.line + 1, found[1]) if found else None


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")[:80]


def _refusal(message: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=place.start_mark)
