"""The end of the process, whatever its threads do."""

from __future__ import annotations

import faulthandler
import os
from pathlib import Path

import click


def end_within(seconds: float) -> None:
    """Kill this process, with status 1, if it is still there after `seconds`.

    faulthandler's watchdog is a thread outside Python: it needs no interpreter lock, so that even a
    pipeline stuck inside C cannot hold it up. What it would print goes nowhere.
    """
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115 - the watchdog writes to it later
    faulthandler.dump_traceback_later(max(seconds, 0.1), exit=True, file=nowhere)


def refused(reason: str, status: int = 2) -> int:
    """Say why on stderr, in one line; gives the exit status."""
    click.echo(f"mcp-server: {' '.join(reason.split())}", err=True)
    return status
