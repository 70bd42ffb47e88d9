"""Which outputs of a YAML pipeline are its answer, and the schema of that.

The author's `outputs:` rules, as Hayhooks reads it too (name → `component.socket`). Without it the answer
is what the last components give, by component and socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typing_extensions
from haystack import Pipeline

from ..models import Json
from .composed import Composed
from .exposure import mapped, unknown
from .outputs import output_schema
from .sockets import Unexpressible, expressible

_TEMPLATED = frozenset({"ConditionalRouter", "OutputAdapter"})
"""Components of Haystack whose output types are the author's word, checked by nobody."""


@dataclass(frozen=True)
class Answer:
    """An output of the pipeline. `name` is the author's, or None if it is told by component and socket."""

    name: str | None
    component: str
    socket: str
    annotation: Any


def answers_in(pipeline: Pipeline, composed: Composed) -> tuple[Answer, ...]:
    """What callers get. Raises `Broken` with the line for a mapping that does not fit the pipeline."""
    if not composed.value.get("outputs"):
        return tuple(
            Answer(None, component, name, _promised(pipeline, component, socket["type"]))
            for component, outputs in pipeline.outputs().items()
            for name, socket in outputs.items()
        )
    everything = pipeline.outputs(include_components_with_connected_outputs=True)
    answers: list[Answer] = []
    for name, paths in mapped(composed, "outputs"):
        if len(paths) != 1:
            raise composed.broken(f"`{name}` must name one `component.socket`", "outputs", name)
        component, _, socket = paths[0].partition(".")
        found = everything.get(component, {})
        if socket not in found:
            raise composed.broken(unknown(paths[0], "output", pipeline, found), "outputs", name)
        annotation = _promised(pipeline, component, found[socket]["type"])
        answers.append(Answer(name, component, socket, annotation))
    return tuple(answers)


def _promised(pipeline: Pipeline, component: str, annotation: Any) -> Any:
    """The type an output will have. What a template makes is text unless it is told not to be."""
    return Any if type(pipeline.get_component(component)).__name__ in _TEMPLATED else annotation


def answer_schema(answers: Sequence[Answer]) -> Json | None:
    """The schema of a result. Nothing in it is required: a branch of the pipeline may not have run."""
    named = {answer.name: _described(answer.annotation) for answer in answers if answer.name}
    if named:
        return output_schema(_mapping_type(named))
    components: dict[str, dict[str, Any]] = {}
    for answer in answers:
        components.setdefault(answer.component, {})[answer.socket] = _described(answer.annotation)
    return output_schema(
        _mapping_type({name: _mapping_type(sockets) for name, sockets in components.items()})
    )


def _mapping_type(fields: Mapping[str, Any]) -> Any:
    return typing_extensions.TypedDict("Answer", dict(fields), total=False)  # pyright: ignore


def _described(annotation: Any) -> Any:
    try:
        return expressible(annotation)
    except Unexpressible:
        return Any
