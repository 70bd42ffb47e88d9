"""The chat prompt of a Haystack pipeline as an MCP prompt: its template, with its variables as arguments."""

from __future__ import annotations

import inspect
import keyword
from typing import Any, cast

from haystack import Pipeline
from haystack.components.builders import ChatPromptBuilder

from .arguments import arguments_of
from .collected import prompt_entry
from .publications import Publication
from .templates import variable_types


def templated(name: str, title: str | None, pipeline: Pipeline) -> dict[str, Publication]:
    """The prompt of the first chat prompt builder, under the pipeline's name; nothing without one."""
    nodes: Any = cast(Any, pipeline).graph.nodes(data="instance")
    builders = [component for _, component in nodes if isinstance(component, ChatPromptBuilder)]
    variables = sorted(set(builders[0].variables)) if builders else []
    if not builders or not builders[0].template or any(map(keyword.iskeyword, variables)):
        return {}
    builder, kinds = builders[0], variable_types(builders[0])

    def fill(**values: Any) -> Any:
        return builder.run(template_variables=values)["prompt"]

    signature = inspect.Signature([_parameter(builder, variable) for variable in variables])
    fill.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    fill.__annotations__ = {variable: kinds.get(variable, str) for variable in variables}
    arguments = arguments_of(fill, {})
    entry = prompt_entry(name, title, f"What {name} asks its model, filled in.", arguments.schema)
    return {name: Publication(entry, fill, arguments)}


def _parameter(builder: ChatPromptBuilder, variable: str) -> inspect.Parameter:
    """Required as the builder says: all variables, or those listed; an optional one is empty by default."""
    required = builder.required_variables
    default = inspect.Parameter.empty if required == "*" or variable in required else ""
    return inspect.Parameter(variable, inspect.Parameter.KEYWORD_ONLY, default=default)
