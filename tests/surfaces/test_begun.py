"""Runs that are handed over to the SDK: they go on as long as their request does, and nothing keeps them.

The server runs in this process, behind its own listener and a real socket.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import uvicorn
from clients import until
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from mcp_server.app import create_app
from mcp_server.cli.connections import Connections
from mcp_server.cli.http import configuration
from mcp_server.runs import Live
from mcp_server.settings import Settings
from mcp_server.surfaces.mcp.begun import has_begun

from .conftest import wrapper
from .raw import Connection
from .test_direct import NAP, noted, send, warm

pytestmark = pytest.mark.anyio


class Behind:
    """An application of which the last request may be held up, or refused, as soon as it brings a run."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self.refuses = False
        self.held = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and has_begun(scope):
            self.held.set()
            await self.goes_on.wait()
            if self.refuses:
                await PlainTextResponse("no", 401)(scope, receive, send)
                return
        await self.app(scope, receive, send)


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[tuple[Behind, str]]:
    folder = tmp_path / "pipelines" / "nap"
    folder.mkdir(parents=True)
    (folder / "pipeline_wrapper.py").write_text(wrapper(NAP))
    settings = Settings(folder=folder.parent, state=tmp_path / "state", engine="local")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = settings.model_copy(update={"port": listening.getsockname()[1]})
        made = Behind(settings)
        server = uvicorn.Server(configuration(made, Connections(settings, lambda _: False), ""))
        serving = asyncio.create_task(server.serve([listening]))
        with anyio.fail_after(60):
            while not server.started or "nap" not in made.app.server.catalog.snapshot.entries:
                await anyio.sleep(0.01)
        yield made, f"http://127.0.0.1:{settings.port}"
        server.should_exit = True
        await serving


def lives() -> int:
    return sum(isinstance(each, Live) for each in gc.get_objects())


async def test_a_run_waits_for_its_request_however_long_that_takes(
    behind: tuple[Behind, str], tmp_path: Path
) -> None:
    app, url = behind
    async with Connection(url) as connection:
        await warm(connection, tmp_path / "warm")
        app.goes_on.clear()
        await send(connection, 90 + 7, tmp_path / "trace", 20)
        await app.held.wait()
        await anyio.sleep(6)  # a clock of five seconds stopped it
        app.goes_on.set()
        said = bytes(await connection.read_until(b'"id":20'))
    assert b"slept 97" in said
    assert (tmp_path / "trace").read_text() == "began "


async def test_a_run_whose_request_is_refused_is_stopped(behind: tuple[Behind, str], tmp_path: Path) -> None:
    app, url = behind
    app.refuses = True
    async with Connection(url) as connection:
        await warm(connection, tmp_path / "warm")
        await send(connection, 99, tmp_path / "trace", 20)
        await connection.read_until(b"HTTP/1.1 401")
        await noted(tmp_path / "trace", "stopped")


@pytest.mark.parametrize("known", [True, False])
async def test_a_run_that_was_handed_over_is_no_garbage(
    behind: tuple[Behind, str], tmp_path: Path, known: bool
) -> None:
    """What is freed at once costs nobody a pause: a minute of such runs took five seconds to clear away."""
    app, url = behind

    async def call() -> None:
        async with Connection(url) as connection:
            if known:
                await warm(connection, tmp_path / "warm")
            await send(connection, 90 + 1, tmp_path / "trace", 20)
            await connection.read_until(b"slept 91")

    await call()
    assert app.held.is_set() is known
    gc.collect()
    before = lives()  # of tests before this one

    async def gone() -> bool:
        return lives() <= before

    gc.disable()
    try:
        await call()
        await until(gone, 20)
    finally:
        gc.enable()
