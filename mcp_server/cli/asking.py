"""Questions of a run, asked on the terminal. They are written to stderr: stdout is for the result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import click
import mcp_types as types
import orjson

from ..models import Json
from .printing import safe

YES = {"y", "yes", "true", "1"}
NO = {"n", "no", "false", "0"}


def ask(params: types.ElicitRequestParams) -> types.ElicitResult:
    """Ask on the terminal, field by field, until each answer fits; the end of input declines."""
    _tell(f"\n{params.message}")
    if isinstance(params, types.ElicitRequestURLParams):
        _tell(f"Open {params.url}\nPress Enter once you have; Ctrl-D declines.")
        return types.ElicitResult(action="decline" if _read() is None else "accept")
    form: Json = params.requested_schema
    _tell("(Ctrl-D declines)")
    content: dict[str, Any] = {}
    for name, field in form.get("properties", {}).items():
        answer = _field(name, field, name in form.get("required", ()))
        if answer is None:
            return types.ElicitResult(action="decline")
        content |= answer
    return types.ElicitResult(action="accept", content=content)


def _field(name: str, field: Json, required: bool) -> Json | None:
    """The answer to one field, empty if it was left out; None at the end of input."""
    while True:
        _tell(_prompt(name, field, required), nl=False)
        text = _read()
        if text is None:
            return None
        if not text and "default" in field:
            return {name: field["default"]}
        if not text and not required:
            return {}
        try:
            return {name: parsed(text, field)}
        except ValueError:
            _tell(f"  this must be {_expected(field)}")


def parsed(text: str, field: Json) -> Any:
    """What was typed, as the field's schema has it. Raises `ValueError`."""
    allowed = choices(field)
    if field.get("type") == "array":
        picked = [part.strip() for part in text.split(",") if part.strip()]
        return [parsed(part, field.get("items", {})) for part in picked]
    if allowed:
        if text not in allowed:
            raise ValueError(text)
        return text
    value = _READERS.get(field.get("type", "string"), str)(text)
    if isinstance(value, int | float) and not (
        field.get("minimum", value) <= value <= field.get("maximum", value)
    ):
        raise ValueError(text)
    return value


def choices(field: Json) -> list[str]:
    """What may be answered, if only certain values may."""
    listed = field.get("oneOf") or field.get("anyOf") or ()
    return [str(value) for value in field.get("enum") or [each.get("const") for each in listed]]


def _boolean(text: str) -> bool:
    if text.lower() not in YES | NO:
        raise ValueError(text)
    return text.lower() in YES


_READERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {"integer": int, "number": float, "boolean": _boolean}
)


def _prompt(name: str, field: Json, required: bool) -> str:
    about = field.get("description") or field.get("title") or ""
    about = "" if about.casefold() == name.casefold() else about
    default = orjson.dumps(field["default"]).decode() if "default" in field else ""
    notes = [_expected(field), *([f"default {default}"] if default else [] if required else ["optional"])]
    return f"  {name}{f', {about}' if about else ''} [{'; '.join(notes)}]: "


def _expected(field: Json) -> str:
    if field.get("type") == "array":
        return f"separated by commas: {_expected(field.get('items', {}))}"
    if allowed := choices(field):
        return " | ".join(allowed)
    words = {"integer": "a whole number", "number": "a number", "boolean": "yes or no"}
    expected = words.get(field.get("type", ""), "text")
    bounds = [
        f"{word} {field[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in field
    ]
    return " ".join([expected, *bounds])


def _tell(text: str, nl: bool = True) -> None:
    click.echo(safe(text), nl=nl, err=True)


def _read() -> str | None:
    """A line that was typed; None at the end of input."""
    line = sys.stdin.readline()
    if not line:
        _tell("")
        return None
    return line.strip()
