"""Serving over stdin and stdout, for a client that started this process."""

from __future__ import annotations

import os
import signal
import sys

import anyio

from ..server import Server
from ..settings import Settings
from ..surfaces.mcp.stdio import serve_stdio
from .leaving import end_within, refused

CLOSING = 5.0
"""Seconds that stopping may take: clients kill a server that lingers, and its pipelines with it."""


def serve(settings: Settings) -> None:
    """Serve until stdin ends or a signal says stop. Nothing but protocol goes to stdout.

    Ends the process once the database is reached and turns out to be a newer release's.
    """
    nowhere = settings.model_copy(update={"host": "127.0.0.1", "allowed_hosts": ()})  # nobody else reaches it
    anyio.run(_serve, nowhere, backend_options={"use_uvloop": sys.platform != "win32"})


async def _serve(settings: Settings) -> None:
    server = Server(settings)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_if_outdated, server)
        if sys.platform != "win32":
            tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
        try:
            await serve_stdio(server)
        finally:
            end_within(CLOSING)
            tasks.cancel_scope.cancel()


async def _end_if_outdated(server: Server) -> None:
    """At once: a thread reads stdin until the client closes it, and nothing was kept yet."""
    await server.history.outdated.wait()
    os._exit(refused(server.history.fault or ""))


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            end_within(CLOSING)
            scope.cancel()
