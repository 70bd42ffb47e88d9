"""How far a pipeline is walled off: the level, and what the walls of its host let through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from .base import Noun

Provenance = Literal["folder", "local", "network"]
"""How the files of a source came here: from the user's folder, uploaded to a server that only this machine
reaches, or over a network. The most trusted way in which the same files came is what counts."""
Isolation = Literal["local", "process", "sandbox"]
"""`local` in the server's own process, `process` in a worker process, `sandbox` in one that the operating
system keeps from files, networks and other processes."""


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and value < 65536 else value


Port = Annotated[str, BeforeValidator(_text), StringConstraints(pattern=r"^(\*|[1-9][0-9]{0,4})$")]
"""A TCP port of any host, or `*` for every network: no operating system filters by host name."""
ANY = "*"


class Walls(Noun):
    """What a host may reach. Without `sandbox` only writing is walled."""

    sandbox: bool = False
    own: tuple[Path, ...] = ()
    """The folders of its pipelines, which it may write."""
    read: tuple[Path, ...] = ()
    """Beyond the system, Python and its packages, and what it may write."""
    write: tuple[Path, ...] = ()
    """Beyond these and temporary files."""
    given: tuple[Path, ...] = ()
    """Folders whose files it may read, by names that cannot be guessed, without seeing which there are."""
    hidden: tuple[Path, ...] = ()
    """Never read, even if it lies in what is."""
    net: tuple[Port, ...] = ()
    """Where its connections may go; none means no network at all."""
    memory: int = Field(default=0, description="Bytes of private memory.")
    cpu: float = Field(default=0.0, description="Seconds that one call may compute.")
    file_size: int = Field(default=0, description="Bytes of a file it writes.")
