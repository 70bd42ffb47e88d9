"""A server in this process, for commands that need none to run: nothing listens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
from mcp.shared.memory import create_client_server_memory_streams

from ..server import Server
from ..settings import Settings
from ..surfaces.mcp.protocol import ProtocolServer
from .connection import Connection, run
from .following import Following

T = TypeVar("T")


def use_local(
    settings: Settings, work: Callable[[Connection], Awaitable[T]], following: Following | None = None
) -> T:
    """Open a server in this process, and do the work. Raises `Failed`."""
    return run("", lambda: in_memory(settings), work, following)


@asynccontextmanager
async def in_memory(settings: Settings) -> AsyncGenerator[Any]:
    """The streams of a server in this process, which is opened and closed again."""
    server = Server(settings)
    protocol = ProtocolServer(server)
    async with (
        create_client_server_memory_streams() as (ours, its),
        server,
        protocol.announcing(),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(protocol.run, *its, protocol.create_initialization_options())
        yield ours
        tasks.cancel_scope.cancel()
