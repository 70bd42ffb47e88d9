"""Where the servers of this person listen: each running one leaves a small file, which commands find."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
from pydantic import ValidationError

from ..access.token import known
from ..errors import Unusable
from ..models import Noun

ANSWER = 1.0
"""Seconds a server may take to accept a connection; all of them are on this machine."""


class Whereabouts(Noun):
    """One running server."""

    url: str
    """Scheme, host and port."""
    pid: int
    folder: Path
    state: Path | None = None
    """Where its local token is."""
    started: float
    """Seconds since the epoch."""


@contextmanager
def told(url: str, folder: Path, state: Path) -> Generator[None]:
    """Let this process be found until the block ends. Where no file can be written, it is not found."""
    here = Whereabouts(url=url, pid=os.getpid(), folder=folder.resolve(), state=state, started=time.time())
    path = _place() / f"{here.pid}.json"
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        half = path.with_suffix(".new")
        half.touch(mode=0o600)
        half.write_text(here.model_dump_json(), encoding="utf-8")
        half.replace(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def chosen() -> Whereabouts:
    """The server a command means that names none: the one of the current folder, else the only one.

    Raises `Unusable` that lists them if there are several, and that says what to do if there is none.
    """
    servers = running()
    here = [each for each in servers if each.folder == Path.cwd().resolve()]
    if len(here or servers) == 1:
        return (here or servers)[0]
    if not servers:
        raise Unusable("no server runs here; start one with mcp-server run FOLDER, or name one with --url")
    listed = ", ".join(f"{each.url} ({each.folder})" for each in servers)
    raise Unusable(f"several servers run here, choose one with --url: {listed}")


def token(url: str) -> str | None:
    """The local token of the server of ours that listens there; None for any other server."""
    port = urlsplit(url).port
    here = (each for each in running() if each.state and urlsplit(each.url).port == port)
    return next((found for each in here if each.state and (found := known(each.state))), None)


def running() -> list[Whereabouts]:
    """The servers that answer, the oldest first; forgets those that were killed."""
    found = [each for path in _place().glob("*.json") if (each := _read(path))]
    return sorted(found, key=lambda each: each.started)


def _read(path: Path) -> Whereabouts | None:
    try:
        server = Whereabouts.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    lives, answers = _lives(server.pid), _answers(server.url)
    if not lives and not answers:
        path.unlink(missing_ok=True)
    return server if lives and answers else None


def _lives(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # there, asking about a process could end it; whether it answers must do
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _answers(url: str) -> bool:
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=ANSWER).close()
    except OSError:
        return False
    return True


def _place() -> Path:
    return Path(platformdirs.user_data_dir("mcp-server")) / "running"
