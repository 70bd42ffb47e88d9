"""Schemas that a wrapper states itself (`input_schema`, `output_schema`): served as they are, and enforced.

JSON Schema 2020-12 with all of its keywords; references only within the schema. What clients make of them
is the author's concern: the portable profile does not apply.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson

from ..content import render
from ..errors import Broken
from ..models import Json, Problem, Result
from .arguments import Given, given_by, given_to
from .context import Context
from .faults import called, written_in
from .headers import header_problem
from .options import WRAPPER

if TYPE_CHECKING:
    from jsonschema_rs import Validator

MAX_BYTES = 64 * 1024
"""Bytes of a schema as JSON; every client loads it with every list of tools."""


@dataclass(frozen=True)
class PlainArguments:
    """What a function takes by a stated schema: JSON as it came, checked by whoever serves the tool."""

    schema: Json
    given: Mapping[str, Given]
    warnings: tuple[str, ...] = ()

    def decode(self, arguments: Json, context: Context) -> Json:
        """Keyword arguments for the function, among them what the server itself gives."""
        return arguments | given_by(self.given, context)


class Promise:
    """An output schema that was stated; every value is held against it, as clients do."""

    def __init__(self, schema: Json) -> None:
        self.schema = schema
        self._validator = _compiled(schema)

    def kept(self, value: object) -> Result:
        """The value rendered. Raises `ValueError` if its structured content does not fit the schema."""
        result = render(value)
        if result.structured is not None:
            faults = self._validator.iter_errors(orjson.loads(result.structured))
            if fault := next(iter(faults), None):
                where = "/".join(map(str, fault.instance_path)) or "the whole"
                message = f"the result does not fit the output schema at {where}: {fault.message}"
                raise ValueError(message[:400])
        return result


def stated_schema(wrapper: object, name: Literal["input_schema", "output_schema"]) -> Json | None:
    """The schema that the wrapper states under `name`, None if it states none.

    Raises `Broken` for one that is no JSON object of the type `object`, that is too large, that is no valid
    schema, that refers outside itself, or that marks headers wrongly (see `headers`).
    """
    given: object = getattr(wrapper, name, None)
    if given is None:
        return None
    problem = _problem(given) or (header_problem(cast(Json, given)) if name == "input_schema" else None)
    if problem:
        raise Broken(Problem(message=f"`{name}`: {problem}", file=WRAPPER))
    return orjson.loads(orjson.dumps(given))  # ours from now on, whatever the author's code does


def plain_arguments(function: Callable[..., Any], schema: Json) -> PlainArguments:
    """How `function` is called with arguments that fit `schema`.

    Raises `Broken` if it has no place for a property of the schema.
    """
    given = given_to(function)
    parameters = inspect.signature(function).parameters
    if not any(part.kind is part.VAR_KEYWORD for part in parameters.values()):
        missing = [name for name in schema.get("properties", {}) if name not in parameters]
        if missing:
            message = f"`{called(function)}` must take `**arguments`, or also {', '.join(missing)}"
            raise Broken(written_in(f"{message}: `input_schema` names them", function))
    return PlainArguments(schema, given)


def _problem(schema: object) -> str | None:
    try:
        size = len(orjson.dumps(schema))
    except orjson.JSONEncodeError:
        return "must be a dict that is JSON"
    if not isinstance(schema, dict) or cast(Json, schema).get("type") != "object":
        return 'must be a dict with `"type": "object"`'
    if size > MAX_BYTES:
        return f"has {size:,} bytes, more than the {MAX_BYTES:,} allowed"
    try:
        _compiled(cast(Json, schema))
    except ValueError as error:
        return f"is no valid JSON Schema: {str(error).partition(chr(10))[0][:200]}"
    return None


def _compiled(schema: Json) -> Validator:
    """Raises `ValueError` for what is no valid schema."""
    from jsonschema_rs import ReferencingError, validator_for  # most wrappers state no schema

    try:
        return validator_for(schema, mask="the value", retriever=_refuse)
    except ReferencingError as error:
        raise ValueError(str(error)) from error


def _refuse(uri: str) -> Json:
    raise ValueError("references outside the schema are not followed")
