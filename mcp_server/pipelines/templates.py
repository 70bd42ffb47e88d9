"""What a prompt template does with its variables, and so of which type they are.

Haystack declares every variable of a prompt as `Any`, which tells a client nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from haystack.components.builders import ChatPromptBuilder, PromptBuilder
from haystack.dataclasses import ChatMessage
from jinja2 import TemplateError, nodes

_TEXT_FILTERS = frozenset(
    {"capitalize", "default", "d", "e", "escape", "indent", "lower", "replace", "safe", "string"}
    | {"striptags", "title", "trim", "truncate", "upper", "urlize", "wordcount", "wordwrap"}
)
_LIST_FILTERS = frozenset(
    {"join", "first", "last", "batch", "slice", "sort", "unique", "map", "select", "reject"}
)
_NEUTRAL_FILTERS = frozenset({"length", "count"})


def variable_types(component: Any) -> Mapping[str, Any]:
    """The type of each variable of a prompt builder: `str` if only printed, `list[Any]` if only looped over.

    A variable used otherwise is left out, and so is everything of a component that is no prompt builder.
    """
    environment = getattr(component, "_env", None)
    if environment is None or not isinstance(component, PromptBuilder | ChatPromptBuilder):
        return {}
    uses: dict[str, set[Any]] = {}
    try:
        for text in _texts(component):
            for name, use in _uses(environment.parse(text), None):
                uses.setdefault(name, set()).add(use)
    except TemplateError:
        return {}
    kinds = {name: found - {None} for name, found in uses.items()}
    return {name: found.pop() for name, found in kinds.items() if len(found) == 1 and Any not in found}


def _texts(component: Any) -> list[str]:
    """The sources of the templates: a string, or the texts of chat messages."""
    template = getattr(component, "_template_string", None) or getattr(component, "template", None)
    if isinstance(template, str):
        return [template]
    messages = cast(list[Any], template) if isinstance(template, list) else []
    return [message.text for message in messages if isinstance(message, ChatMessage) and message.text]


def _uses(node: nodes.Node, use: Any) -> Iterator[tuple[str, Any]]:
    """Each variable with a type it is used as: `str`, `list[Any]`, `Any`, or None for a use that fits all."""
    if isinstance(node, nodes.Name):
        yield node.name, use
        return
    for field, child in _children(node):
        yield from _uses(child, _use(node, field, use))


def _children(node: nodes.Node) -> Iterator[tuple[str, nodes.Node]]:
    for field, value in node.iter_fields():
        children: list[Any] = cast(list[Any], value) if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, nodes.Node):
                yield field, child


def _use(node: nodes.Node, field: str, use: Any) -> Any:
    """As what a child in `field` of `node` is used, if the node itself is used as `use`."""
    match node:
        case nodes.Output() | nodes.Concat():
            return str
        case nodes.For() if field == "iter":
            return list[Any]
        case nodes.If() | nodes.Not() | nodes.And() | nodes.Or() | nodes.Test():
            return None
        case nodes.CondExpr():
            return None if field == "test" else use
        case nodes.Filter() if field == "node":
            return _filtered(node.name, use)
        case nodes.Expr():
            return Any
        case _:
            return None


def _filtered(name: str, use: Any) -> Any:
    if name in _TEXT_FILTERS:
        return str if use is str else Any
    if name in _LIST_FILTERS:
        return list[Any]
    return None if name in _NEUTRAL_FILTERS else Any
