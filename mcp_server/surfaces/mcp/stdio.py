"""The protocol on stdin and stdout."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, BinaryIO, Self, cast

import orjson
from anyio import AsyncFile, to_thread
from mcp.server.stdio import stdio_server

from ...server import Server
from ..parsing import TooDeep, loads, may_be_deep
from .duplex import Unread, checked
from .protocol import ProtocolServer

PIECE = 64 * 1024
"""Bytes read at once of a line that is too long."""


async def serve_stdio(server: Server) -> None:
    """Serve one client until it closes stdin; opens `server` and closes it again.

    Both streams are taken before anything of `server` starts, so what pipelines, libraries and worker
    processes print goes to stderr, and what they read is at its end.
    """
    protocol = ProtocolServer(server)
    with stdin() as file:
        lines = cast(AsyncFile[str], Lines(file, server.settings.line_limit))
        async with stdio_server(lines) as streams, server, protocol.announcing():
            await protocol.run(*checked(streams), protocol.create_initialization_options())


@contextmanager
def stdin() -> Generator[BinaryIO]:
    """Stdin for us alone: until the block ends, the process and its children have an empty one."""
    mine = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        yield os.fdopen(mine, "rb", closefd=False)  # a thread may still wait for it when the block ends
    finally:
        os.dup2(mine, 0)


class Lines:
    """The lines of a file. In place of one that is too long or too deep comes the reason."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        line = await to_thread.run_sync(self._next, abandon_on_cancel=True)
        if line is None:
            raise StopAsyncIteration
        return line

    def _next(self) -> Any:
        line = self._file.readline(self._limit + 1)
        if not line:
            return None
        if len(line) > self._limit:
            self._pass_over(line)
            return Unread(f"The line has more than {self._limit} bytes.")
        if may_be_deep(line):
            try:
                loads(line)
            except TooDeep as fault:
                return Unread(str(fault))
            except orjson.JSONDecodeError:
                pass  # whoever parses it says so
        return line.decode("utf-8", "replace")

    def _pass_over(self, line: bytes) -> None:
        """Read to the end of the line."""
        while line and not line.endswith(b"\n"):
            line = self._file.readline(PIECE)
