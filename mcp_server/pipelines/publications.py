"""What a loaded pipeline publishes beside its tool, and the work behind each: read, prompt, complete."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..errors import Invalid
from ..models import Json, Manifest, Result, Run
from . import Work
from .arguments import Arguments
from .contents import contents, fitting, messages, suggestions
from .context import Context, ProtocolError
from .unions import types
from .uris import Template

INVALID_PARAMS = -32602
"""JSON-RPC's code for arguments that do not fit."""


@dataclass(frozen=True)
class Publication:
    """A resource, a template of resources, or a prompt: a function and how MCP lists it."""

    entry: Json
    """In wire form."""
    function: Callable[..., Any]
    arguments: Arguments

    def work(self, texts: Mapping[str, str], render: Callable[[Any], Result]) -> Work:
        """Call it with these texts, each decoded to its parameter's type.

        The work raises `ProtocolError` for texts that do not fit.
        """

        def blocking(context: Context) -> Result:
            return render(self.function(**self._decoded(texts, context)))

        async def awaited(context: Context) -> Result:
            return render(await self.function(**self._decoded(texts, context)))

        return Work(False, awaited) if _is_async(self.function) else Work(True, blocking)

    def choices(self, argument: str) -> list[str]:
        """The only values a parameter can have; none if it is open."""
        schema: Json = self.arguments.schema["properties"][argument]
        values = schema.get("enum", [True, False] if types(schema) == ["boolean"] else [])
        return [
            value if isinstance(value, str) else json.dumps(value) for value in values if value is not None
        ]

    def _decoded(self, texts: Mapping[str, str], context: Context) -> Json:
        try:
            typed = {name: self._typed(name, text) for name, text in texts.items()}
            return self.arguments.decode(typed, context)
        except Invalid as error:
            raise ProtocolError(INVALID_PARAMS, str(error)) from None

    def _typed(self, name: str, text: str) -> object:
        """JSON where the parameter is a list or an object; pydantic reads texts of every other type."""
        kinds = types(self.arguments.schema["properties"].get(name, {}))
        if not {"array", "object"} & set(kinds):
            return text
        try:
            return json.loads(text)
        except ValueError:
            raise Invalid(f"`{name}`: Input should be JSON") from None


@dataclass(frozen=True)
class Publications:
    """Everything a pipeline publishes beside its tool."""

    resources: Mapping[Template, Publication] = field(default_factory=dict[Template, Publication])
    prompts: Mapping[str, Publication] = field(default_factory=dict[str, Publication])
    hooks: Mapping[tuple[str, str], Callable[..., Any]] = field(
        default_factory=dict[tuple[str, str], Callable[..., Any]]
    )
    """By prompt or template, and argument: functions of what was typed and of the arguments given before."""

    def told(self, manifest: Manifest) -> Manifest:
        """The manifest with what is published."""
        return manifest.model_copy(
            update={
                "resources": tuple(each.entry for key, each in self.resources.items() if not key.names),
                "templates": tuple(each.entry for key, each in self.resources.items() if key.names),
                "prompts": tuple(each.entry for each in self.prompts.values()),
            }
        )

    def takes(self, of: str, argument: str) -> bool:
        """True if a prompt or template `of` is published and has that argument."""
        return any(argument in each.arguments.schema["properties"] for each in self._named(of))

    def prepare(self, run: Run) -> Work:
        """The work of a run that is no call; its value is a `Result` whose content is MCP's own.

        `run.inputs` holds `uri` for read, `name` and `arguments` for prompt; `of` (a prompt's name or a
        template), `argument`, `value` and `arguments` for complete. Raises `ProtocolError` for what is not
        published here.
        """
        match run.verb:
            case "read":
                return self._read(run.inputs["uri"])
            case "prompt":
                return self._prompt(run.inputs["name"]).work(run.inputs["arguments"], messages)
            case "complete":
                return self._complete(**run.inputs)
            case _:
                raise Invalid(f"{run.pipeline} takes no {run.verb}s.")

    def _read(self, uri: str) -> Work:
        for template, publication in self.resources.items():
            if (values := template.values(uri)) is not None:
                mime_type = publication.entry.get("mimeType")
                return publication.work(values, partial(contents, uri=uri, mime_type=mime_type))
        raise ProtocolError(INVALID_PARAMS, "Unknown resource.", {"uri": uri})

    def _prompt(self, name: str) -> Publication:
        if name not in self.prompts:
            raise ProtocolError(INVALID_PARAMS, "Unknown prompt.")
        return self.prompts[name]

    def _complete(self, of: str, argument: str, value: str, arguments: Mapping[str, str]) -> Work:
        if hook := self.hooks.get((of, argument)):
            return _hooked(hook, value, arguments)
        if not self.takes(of, argument):
            raise ProtocolError(INVALID_PARAMS, "There is no such argument to complete.")
        choices = self._named(of)[0].choices(argument)
        return _hooked(partial(fitting, choices), value, {})

    def _named(self, of: str) -> list[Publication]:
        """The prompt or the template of this text, if there is one."""
        templates = [each for template, each in self.resources.items() if template.text == of]
        return [self.prompts[of]] if of in self.prompts else templates


def _hooked(hook: Callable[..., Any], value: str, arguments: Mapping[str, str]) -> Work:
    given = (value, dict(arguments))[: len(inspect.signature(hook).parameters)]

    def blocking(context: Context) -> Result:
        return suggestions(hook(*given))

    async def awaited(context: Context) -> Result:
        return suggestions(await hook(*given))

    return Work(False, awaited) if _is_async(hook) else Work(True, blocking)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(function))
