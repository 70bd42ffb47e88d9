"""Commands that talk to a running server: what they share, which is how they find it and how they answer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate

import click
import orjson

from ..models import Json

if TYPE_CHECKING:
    from .connection import Connection

Asking = Callable[Concatenate["Connection", ...], Awaitable[Json]]
"""What a command asks of the server; its answer is printed."""


class Failed(click.ClickException):
    """What the command was to do was refused or went wrong: one line on stderr, status 1."""


def url_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flag that says which server is meant."""
    return click.option(
        "--url",
        envvar="MCP_SERVER_URL",
        metavar="URL",
        help="The server, as http://127.0.0.1:1416. Default: the one that runs on this machine.",
    )(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flag for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Tell it as JSON.")(command)


def talks(show: Callable[[Json], None]) -> Callable[[Asking], Callable[..., None]]:
    """Make a command of a function that asks a server: it is found, asked, and its answer shown or dumped."""

    def made(ask: Asking) -> Callable[..., None]:
        @wraps(ask)
        def command(*, url: str | None, as_json: bool, **given: Any) -> None:
            from .connection import use  # the protocol's library would slow down `--help` and every refusal

            answer = use(url, lambda server: ask(server, **given))
            click.echo(dumped(answer)) if as_json else show(answer)

        command.__doc__ = inspect.getdoc(ask)
        return url_option(json_option(command))

    return made


def dumped(value: Any) -> str:
    """A value as JSON that a person can read."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def write(path: Path, text: str) -> None:
    """Write a file that was asked for. Raises `Failed`."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"cannot write {path}: {error.strerror}") from None
