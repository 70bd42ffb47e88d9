"""What a step-wise YAML says: inputs, named models, ordered steps. Read and checked, nothing is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, ValidationError

from ..errors import Broken
from ..models import Json, Noun
from .composed import Composed

RESERVED = frozenset({"feedback"})
"""Names that templates know without anybody declaring them."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,63}$")]


def _described(value: object) -> object:
    """`topic: What to write about` is short for an input that has this description and nothing else."""
    return {"description": value or ""} if isinstance(value, str) or value is None else value


def _several(value: object) -> object:
    """`models: writer` is short for a list of one."""
    return [value] if isinstance(value, str) else value


Models = Annotated[tuple[ModelName, ...], BeforeValidator(_several)]


class Input(Noun):
    """A value that a run starts with. Required if it has no default."""

    description: str = ""
    type: Literal["string", "integer", "number", "boolean", "array", "object"] = "string"
    enum: tuple[Any, ...] = ()
    default: Any = None

    @property
    def required(self) -> bool:
        """True if a run must be given it."""
        return "default" not in self.model_fields_set

    @property
    def as_schema(self) -> Json:
        """As JSON Schema."""
        schema: Json = {"type": self.type}
        if self.enum:
            schema["enum"] = [*self.enum]
        if not self.required:
            schema["default"] = self.default
        return schema | ({"description": self.description} if self.description else {})

    def accepts(self, value: object) -> bool:
        """True for a value of the declared type."""
        fits = isinstance(value, _TYPES[self.type]) and (
            self.type == "boolean" or not isinstance(value, bool)
        )
        return fits and (not self.enum or value in self.enum)


class Price(Noun):
    """US dollars for a million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class Model(Noun):
    """A named chat generator: a Haystack component as `Pipeline.dumps()` writes it, and what it costs."""

    type: str
    init_parameters: Json = Field(default_factory=dict)
    price: Price | None = None


class Step(Noun):
    """One step: its template is asked of each of its models."""

    name: Name
    description: str = ""
    template: str = Field(min_length=1)
    models: Models = Field(min_length=1)
    fallback: Models = ()
    """Models to ask, in order, when one of `models` fails."""


class Definition(Noun):
    """A whole step-wise pipeline."""

    title: str | None = None
    description: str | None = None
    inputs: Mapping[Name, Annotated[Input, BeforeValidator(_described)]] = Field(default_factory=dict)
    models: Mapping[ModelName, Model] = Field(min_length=1)
    steps: tuple[Step, ...] = Field(min_length=1)
    merge: ModelName | None = None
    """The model that merges several selected responses; None for the first model of the step."""
    retries: int = Field(default=2, ge=0, le=10)
    """How often a model is asked again after an error that may pass."""
    metadata: Json = Field(default_factory=dict)

    def known(self, place: int) -> frozenset[str]:
        """What the template of the step at `place` may use: inputs, the outputs before it, feedback."""
        outputs = (f"{step.name}_output" for step in self.steps[:place])
        return frozenset({*self.inputs, *outputs, *RESERVED})

    def template(self, place: int) -> str:
        """The step's template in Jinja: `{topic}` means `{{ topic }}` where the name is known."""
        names = "|".join(sorted(map(re.escape, self.known(place)), key=len, reverse=True))
        return re.sub(rf"(?<![{{%#]){{({names})}}(?!}})", r"{{ \1 }}", self.steps[place].template)


def definition_in(composed: Composed) -> Definition:
    """Read it. Raises `Broken` with the line of what does not fit."""
    try:
        definition = Definition.model_validate(composed.value)
    except ValidationError as error:
        first = error.errors()[0]
        unknown = first["type"] == "extra_forbidden"
        said = " is unknown" if unknown else f": {first['msg']}"
        message = f"`{'.'.join(map(str, first['loc']))}`{said}"
        raise composed.broken(message[:300], *_written(first["loc"])) from None
    _check_inputs(definition, composed)
    _check_steps(definition, composed)
    return definition


def _written(place: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where an error lies in the YAML: pydantic adds `[key]` for the key of a mapping."""
    return tuple(part for part in place if part != "[key]")


def _check_inputs(definition: Definition, composed: Composed) -> None:
    outputs = {f"{step.name}_output" for step in definition.steps}
    for name, given in definition.inputs.items():
        if name in outputs | RESERVED:
            raise composed.broken(f"an input cannot be called `{name}`", "inputs", name)
        if not given.required and not given.accepts(given.default):
            message = (
                f"the default of `{name}` must be of type {given.type}, and one of `enum` if there is one"
            )
            raise composed.broken(message, "inputs", name, "default")


def _check_steps(definition: Definition, composed: Composed) -> None:
    seen: set[str] = set()
    for place, step in enumerate(definition.steps):
        if step.name in seen:
            raise composed.broken(f"there are two steps called `{step.name}`", "steps", place, "name")
        seen.add(step.name)
        for key, names in (("models", step.models), ("fallback", step.fallback)):
            for name in names:
                if name not in definition.models:
                    raise _unknown(name, definition, composed, "steps", place, key)
        if len(set(step.models)) < len(step.models):
            raise composed.broken(f"`{step.name}` names a model twice", "steps", place, "models")
    if definition.merge and definition.merge not in definition.models:
        raise _unknown(definition.merge, definition, composed, "merge")


def _unknown(name: str, definition: Definition, composed: Composed, *path: str | int) -> Broken:
    declared = ", ".join(cast(Mapping[str, object], definition.models))
    return composed.broken(f"`{name}` is not declared under `models`; there are {declared}"[:300], *path)
