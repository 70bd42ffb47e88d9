"""What `--param` and `--file` say, as the arguments of a call."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import orjson

from ..models import Json

FILES = "files"
"""The parameter that takes files, as Hayhooks has it."""


def param_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flag for arguments."""
    return click.option(
        "--param",
        "-p",
        "params",
        multiple=True,
        metavar="NAME=VALUE",
        help="An argument; a value that is not JSON is text. Repeat it for more.",
    )(command)


def arguments(params: tuple[str, ...], flag: str = "--param") -> Json:
    """The arguments in `name=value` pairs of a flag. Raises `click.UsageError` for what is none."""
    given: Json = {}
    for each in params:
        name, found, value = each.partition("=")
        if not found or not name.strip():
            raise click.UsageError(f"{flag} {each!r}: write NAME=VALUE")
        given[name.strip()] = _value(value)
    return given


def whole(text: str) -> Json:
    """Arguments written as one JSON object. Raises `click.UsageError` for what is none."""
    value = _value(text)
    if not isinstance(value, dict):
        raise click.UsageError("the arguments must be a JSON object, or --param NAME=VALUE")
    return value  # pyright: ignore[reportUnknownVariableType]


def uploads(files: tuple[Path, ...], folders: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """Every file with the name it is uploaded under; those of a folder keep their relative path."""
    for path in files:
        yield path.name, path
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
                yield path.relative_to(folder).as_posix(), path


def inline(named: Iterable[tuple[str, Path]]) -> Json:
    """The files as an argument, their bytes in base64; nothing without files."""
    listed = [
        {
            "name": name,
            "data": base64.b64encode(path.read_bytes()).decode(),
            "mime_type": mimetypes.guess_type(name)[0] or "application/octet-stream",
        }
        for name, path in named
    ]
    return {FILES: listed} if listed else {}


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
