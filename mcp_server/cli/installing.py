"""`mcp-server install`: this server put into the configuration of a client that starts servers itself."""

from __future__ import annotations

import os
import sys
import time
import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import Unusable
from ..models import Json, Noun
from ..settings import Settings
from . import banner
from .merging import Format, merged


class Client(Noun):
    """How one client is configured; `installs.toml` says what each field means."""

    title: str
    path: Mapping[str, str]
    format: Format
    section: str
    entry: Json
    next: str
    source: str


class Clients(Noun):
    """All clients by what they are called on the command line, and when somebody last checked them."""

    checked: date
    clients: Mapping[str, Client]


class Change(Noun):
    """What is to be written where."""

    path: Path
    before: str
    after: str
    entry: str
    """The part that is new, in the file's own format."""


@cache
def clients() -> Mapping[str, Client]:
    """The clients this version knows of; read once."""
    text = files(str(__package__)).joinpath("installs.toml").read_text(encoding="utf-8")
    return Clients.model_validate(tomllib.loads(text)).clients


def change(client: Client, settings: Settings, name: str | None) -> Change:
    """The configuration of the client with this server in it. Raises `Unusable`."""
    path = _path(client)
    name = name or banner.server_name(settings)
    command, *arguments = banner.command(settings)
    entry = {key: _filled(value, name, command, arguments) for key, value in client.entry.items()}
    try:
        before = path.read_bytes().decode()
    except FileNotFoundError:
        before = ""
    except (OSError, UnicodeDecodeError):
        raise Unusable(f"{path} cannot be read") from None
    alone = merged("", client.format, client.section, name, entry)
    try:
        after = merged(before, client.format, client.section, name, entry)
    except Unusable as error:
        raise Unusable(f"{path}: {error}") from None
    return Change(path=path, before=before, after=after, entry=alone)


def write(change: Change) -> Path | None:
    """Write it, whole or not at all; gives where the former content was kept, if there was some."""
    path, kept = change.path.resolve(), None
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if change.before:
            kept = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.backup")
            kept.touch(mode=0o600)
            kept.write_bytes(change.before.encode())
        half.touch(mode=path.stat().st_mode & 0o777 if path.exists() else 0o600)
        half.write_bytes(change.after.encode())
        half.replace(path)
    except OSError as error:
        raise Unusable(f"cannot write {path}: {error.strerror}") from None
    return kept


def _path(client: Client) -> Path:
    text = client.path.get(sys.platform) or client.path.get("any") or client.path["linux"]
    if text.startswith("%APPDATA%"):
        text = text.replace("%APPDATA%", os.environ.get("APPDATA") or "~/AppData/Roaming")
    return Path(text).expanduser().absolute()


def _filled(value: Any, name: str, command: str, arguments: list[str]) -> Any:
    """A value of the entry with this server in it."""
    known: Mapping[str, Any] = {"{name}": name, "{command}": command, "{args}": arguments}
    return known.get(value, value) if isinstance(value, str) else value
