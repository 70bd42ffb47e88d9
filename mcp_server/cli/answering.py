"""The answers to what a waiting run asks, as `answer_run` takes them."""

from __future__ import annotations

from typing import Any

import click
import mcp_types as types
from pydantic import TypeAdapter

from ..models import Json
from . import asking

FORM: TypeAdapter[types.ElicitRequestParams] = TypeAdapter(types.ElicitRequestParams)


def given(question: Json, fields: Json) -> Json:
    """The answers from `--param`: fields for the only form, or by the key of each part of the question."""
    if len(question) != 1 or fields.keys() == question.keys():
        return fields
    return {next(iter(question)): fields}


def asked(question: Json) -> Json:
    """The answers of whoever sits at the terminal."""
    return {key: _answer(wanted) for key, wanted in question.items()}


def _answer(wanted: Json) -> Any:
    if wanted["method"] != "elicitation/create":
        raise click.UsageError(f"this is not for a person: {wanted['method']}; answer it with --param")
    answered = asking.ask(FORM.validate_python(wanted["params"]))
    return answered.content or {} if answered.action == "accept" else answered.action
