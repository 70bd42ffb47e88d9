"""The folders a server works with, found and checked before anything starts."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from ..errors import Unusable
from ..settings import Settings


def enter(directory: str) -> None:
    """Make `directory` the working directory. Raises `Unusable` if that cannot be."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise Unusable(f"cannot work in {directory}: {error.strerror}") from None


def checked(settings: Settings) -> Settings:
    """The settings with absolute folders that exist and can be used, their state written by no newer release.

    Without a folder it is the working directory, if that holds pipelines. Raises `Unusable`.
    """
    if settings.otlp_endpoint and find_spec("opentelemetry.exporter") is None:
        raise Unusable('otlp_endpoint needs OpenTelemetry: pip install "haystack-mcp-server[otel]"')
    folder = (settings.folder or _here()).absolute()
    _check_readable(folder)
    settings = settings.model_copy(update={"folder": folder})
    state = _writable(settings.state_folder())
    from ..store import revisions  # what it imports would slow down `--help` and every other refusal

    revisions.check(settings.database())
    return settings if settings.state is None else settings.model_copy(update={"state": state})


def _here() -> Path:
    from ..catalog.folder import scan  # a named folder needs no search

    here = Path.cwd()
    if not scan(here):
        raise Unusable("the current folder has no pipelines; name one: mcp-server run FOLDER")
    return here


def _check_readable(folder: Path) -> None:
    try:
        os.listdir(folder)  # noqa: PTH208 - it is only asked whether this works
    except FileNotFoundError:
        raise Unusable(f"there is no folder {folder}") from None
    except NotADirectoryError:
        raise Unusable(f"{folder} is a file; name the folder with the pipelines") from None
    except OSError as error:
        raise Unusable(f"{folder} cannot be read: {error.strerror}") from None


def _writable(state: Path) -> Path:
    """The folder for the server's own files, made if need be; its owner alone may look in."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(state, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if not usable:
        raise Unusable(f"cannot keep files in {state}; choose another place with --state")
    return state
