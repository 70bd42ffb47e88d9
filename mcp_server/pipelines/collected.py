"""Collects what a pipeline publishes: the marked methods of a wrapper, the diagram of a Haystack pipeline."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..errors import Broken
from ..models import Json
from .arguments import arguments_of
from .diagrams import ADDRESS, MERMAID, diagram, has_diagram
from .docstrings import Documentation, documentation
from .faults import called, written_in
from .publications import Publication, Publications
from .published import CompletionMark, PromptMark, ResourceMark, marked
from .uris import Template

_OURS = ("pipeline:", "run:")
"""Schemes that only the server publishes."""


def published_by(name: str, wrapper: Any) -> Publications:
    """What the wrapper of the pipeline `name` publishes, after its setup.

    Raises `Broken` at the method that cannot be what it is marked as.
    """
    resources = drawn(name, getattr(wrapper, "pipeline", None))
    prompts: dict[str, Publication] = {}
    hooks: dict[tuple[str, str], Callable[..., Any]] = {}
    for mark, function in marked(wrapper):
        match mark:
            case ResourceMark():
                _add(resources, _template(mark, function), _resource(mark, function), function)
            case PromptMark():
                _add(prompts, mark.name or called(function), _prompt(mark, function), function)
            case CompletionMark():
                hooks[mark.of, mark.argument] = function
    collected = Publications(resources, prompts, hooks)
    for (of, argument), function in hooks.items():
        if not collected.takes(of, argument):
            message = f"`{called(function)}` completes `{argument}` of `{of}`, which is not published here"
            raise Broken(written_in(message, function))
    return collected


def drawn(name: str, pipeline: Any) -> dict[Template, Publication]:
    """The diagram of a Haystack pipeline, as a resource; nothing for what has none."""
    if not has_diagram(pipeline):
        return {}

    def draw() -> str:
        return diagram(pipeline)

    entry = {
        "uri": ADDRESS.uri(name=name),
        "name": f"{name} diagram",
        "description": f"The components of {name} and their connections, as a Mermaid diagram.",
        "mimeType": MERMAID,
    }
    return {Template(entry["uri"]): Publication(entry, draw, arguments_of(draw, {}))}


def prompt_entry(name: str, title: str | None, description: str, takes: Json) -> Json:
    """A prompt as MCP lists it; `takes` is the schema of its arguments."""
    required: list[str] = takes.get("required", [])
    arguments = [
        {
            "name": argument,
            **({"description": schema["description"]} if "description" in schema else {}),
            "required": argument in required,
        }
        for argument, schema in takes["properties"].items()
    ]
    return _filled({"name": name, "title": title, "description": description, "arguments": arguments})


def _add(
    found: dict[Any, Publication], key: Any, publication: Publication, function: Callable[..., Any]
) -> None:
    if key in found:
        shown = key.text if isinstance(key, Template) else key
        raise Broken(written_in(f"`{shown}` is published twice", function))
    found[key] = publication


def _template(mark: ResourceMark, function: Callable[..., Any]) -> Template:
    try:
        template = Template(mark.uri)
    except ValueError as error:
        raise Broken(written_in(f"`{mark.uri}` is no URI of a resource: {error}", function)) from None
    if mark.uri.lower().startswith(_OURS):
        raise Broken(written_in(f"`{mark.uri}`: this scheme is the server's own; choose another", function))
    return template


def _resource(mark: ResourceMark, function: Callable[..., Any]) -> Publication:
    template, told = Template(mark.uri), _told(function)
    arguments = arguments_of(function, told.parameters)
    known, needed = arguments.schema["properties"], arguments.schema.get("required", [])
    for name in (*template.names, *needed):
        if name not in known or name not in template.names:
            message = f"`{name}` must be a variable of `{mark.uri}` and a parameter of `{called(function)}`"
            raise Broken(written_in(message, function))
    entry = {
        "uriTemplate" if template.names else "uri": mark.uri,
        "name": mark.name or called(function),
        "title": mark.title,
        "description": mark.description or told.description,
        "mimeType": mark.mime_type,
    }
    return Publication(_filled(entry), function, arguments)


def _prompt(mark: PromptMark, function: Callable[..., Any]) -> Publication:
    told = _told(function)
    arguments = arguments_of(function, told.parameters)
    name, description = mark.name or called(function), mark.description or told.description
    return Publication(prompt_entry(name, mark.title, description, arguments.schema), function, arguments)


def _told(function: Callable[..., Any]) -> Documentation:
    return documentation(function.__doc__, inspect.signature(function).parameters)


def _filled(entry: Json) -> Json:
    """Without what was left open."""
    return {key: value for key, value in entry.items() if value not in (None, "", [])}
