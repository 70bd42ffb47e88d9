"""What to say to somebody whose pipeline ran into its walls: which flag opens them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from ...models import ANY, Walls

DEEP = 8
"""Causes that are looked at: clients of models wrap an error several times."""


def hinted(told: str, error: BaseException, walls: Walls | None) -> str:
    """What is told of the error, and a sentence more if the walls are the reason."""
    if walls is None:
        return told
    for cause in _causes(error):
        if hint := _hint(cause, walls):
            return f"{told.rstrip('.')}. {hint}"
    return told


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(DEEP):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _hint(error: BaseException, walls: Walls) -> str:
    match error:
        case OSError(errno=errno.EACCES | errno.EPERM, filename=str() | bytes()):
            return _of_files(walls)
        case _ if not walls.sandbox:
            return ""
        case OSError(errno=errno.EFBIG):
            return f"A file may have {walls.file_size:,} bytes here (--file-limit)."
        case MemoryError():
            return f"It may have {walls.memory:,} bytes of memory here (--memory-limit)."
        case socket.gaierror() | OSError(errno=errno.EACCES):
            return _of_networks(walls)
        case OSError(errno=errno.EPERM):
            return "A sandbox starts no programs and reaches no other process (--isolation)."
        case KeyError() | ValueError() if _of_environment(error):
            return "Of the variables that it lists as `env` it sees those that --allow-env names."
        case _:
            return ""


def _of_files(walls: Walls) -> str:
    if walls.sandbox:
        return "Its sandbox does not reach this file: see --allow-read and --allow-write."
    return "An upload may write its own folder and temporary files only: see --allow-write."


def _of_networks(walls: Walls) -> str:
    if ANY in walls.net:
        return ""
    allowed = f"only port {', '.join(walls.net)}" if walls.net else "no network"
    return f"Its sandbox reaches {allowed}: --allow-net PORT (allow_net) allows more."


def _of_environment(error: BaseException) -> bool:
    """True if a variable was missing: `os.environ[…]`, or a secret of Haystack that none is set for."""
    if isinstance(error, ValueError):
        return "environment variable" in str(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == "os"
