"""A call's arguments against its tool's schema: fast when they fit, clear about the field when not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from ..errors import Invalid, Unavailable
from ..models import Json

SHOWN = 3
"""Faults told at once; a caller mends these first."""
LIMIT = 500
"""Characters of the whole message."""
PART = 140


class Arguments:
    """A compiled schema. Never fetches: every reference that leaves the schema is refused."""

    def __init__(self, schema: Json) -> None:
        """Raises `Unavailable` for a schema that cannot be compiled."""
        self._known = ", ".join(schema.get("properties", {}))
        try:
            self._validator = jsonschema_rs.validator_for(schema, mask="the value", retriever=_refuse)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            raise Unavailable(
                "The pipeline's input schema cannot be used; its author must mend it."
            ) from error

    def check(self, inputs: Json) -> None:
        """Raise `Invalid` that names the fields and what was expected, without the values of any."""
        try:
            if self._validator.is_valid(inputs):
                return
            faults = [self._phrase(error) for error in islice(self._validator.iter_errors(inputs), SHOWN)]
        except (ValueError, RecursionError) as error:
            raise Invalid("The arguments cannot be read: too deep, or not JSON.") from error
        raise Invalid(_cut("Invalid arguments: " + "; ".join(faults), LIMIT))

    def _phrase(self, error: jsonschema_rs.ValidationError) -> str:
        where = _path(error.instance_path)
        match error.kind:
            case Kind.Required(property=name):
                return f"`{_join(where, name)}` is required"
            case Kind.AdditionalProperties(unexpected=names) | Kind.UnevaluatedProperties(unexpected=names):
                unknown = ", ".join(f"`{_join(where, _cut(name, 40))}`" for name in names[:SHOWN])
                known = f"; known are: {self._known}" if not where and self._known else ""
                return _cut(f"unknown: {unknown}{known}", PART)
            case _:
                return _cut(f"`{where or 'arguments'}` {_expected(error)}", PART)


def _expected(error: jsonschema_rs.ValidationError) -> str:
    match error.kind:
        case Kind.Type(types=types):
            return f"must be of type {' or '.join(types)}"
        case Kind.Enum(options=options):
            return f"must be one of {_cut(json.dumps(options, ensure_ascii=False)[1:-1], 80)}"
        case Kind.AnyOf(context=branches) | Kind.OneOfNotValid(context=branches):
            return _either(branches)
        case _:
            return f"does not fit: {error.message}"


def _either(branches: Sequence[Sequence[jsonschema_rs.ValidationError]]) -> str:
    """What each branch wanted of the value itself, without repeating."""
    wishes = dict.fromkeys(_expected(branch[0]) for branch in branches if branch)
    return " or ".join(wishes) or "fits none of the allowed forms"


def _path(parts: Sequence[str | int]) -> str:
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, part)
    return _cut(path, 80)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _refuse(uri: str) -> Json:
    raise ValueError("references outside the schema are not followed")
