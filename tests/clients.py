"""Real servers for tests: processes on free ports, reached over sockets and pipes, stopped in the end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx
from canaries import CANARIES
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters

from mcp_server.access import token

Transport = Literal["http", "sse", "stdio"]
Mode = Literal["legacy", "auto"]

START_LIMIT = 60.0
"""Seconds a server may take until it answers; a busy machine needs most of them."""
STOP_LIMIT = 15.0
"""Seconds a server may take to end after SIGTERM before it is killed."""
ADDRESS = re.compile(r"http://[^\s/]+:\d+(?=/mcp)")


@dataclass(frozen=True)
class Served:
    """A server process that answers."""

    url: str
    """Scheme, host and port."""
    folder: Path
    state: Path
    process: asyncio.subprocess.Process
    log: Path
    """What it wrote to stderr."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def memory(self) -> int:
        """Bytes of memory the process has in use, without its hosts."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))

    def client(self, transport: Transport = "http", mode: Mode = "auto", **more: Any) -> Client:
        """A client, not yet connected. On stdio it starts a second server on the same folder and state."""
        if transport == "stdio":
            return Client(parameters(self.folder, self.state), mode=mode, **more)
        target = f"{self.url}/mcp" if transport == "http" else sse_client(f"{self.url}/sse")
        return Client(target, mode=mode, **more)


def command(folder: Path, state: Path, *flags: str) -> list[str]:
    """What starts a server with this Python, keeping its own files in `state`."""
    return [sys.executable, "-m", "mcp_server", "run", str(folder), "--state", str(state), *flags]


def parameters(folder: Path, state: Path, *flags: str) -> StdioServerParameters:
    """How the SDK's client starts a server on stdin and stdout."""
    program, *arguments = command(folder, state, "--stdio", *flags)
    return StdioServerParameters(command=program, args=arguments, env=dict(os.environ))


@asynccontextmanager
async def serve(folder: Path, *flags: str, state: Path | None = None) -> AsyncIterator[Served]:
    """Run a server over `folder` until the block ends; it listens on a free port and keeps no state."""
    with place(state) as kept, tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = await asyncio.create_subprocess_exec(
            *command(folder, kept, "--port", "0", *flags), stdout=asyncio.subprocess.PIPE, stderr=log
        )
        try:
            with anyio.fail_after(START_LIMIT):
                url = await address(process, Path(log.name))
                await answers(url)
            yield Served(url, folder, kept, process, Path(log.name))
            await show(url, kept)
        finally:
            with anyio.CancelScope(shield=True):
                await stop(process)
            CANARIES.look_in(Path(log.name))
            CANARIES.look_in(kept)


async def show(url: str, state: Path) -> None:
    """Have what the server tells of itself looked at, if it is still there; /metrics costs it an import."""
    credentials = {"Authorization": f"Bearer {token.known(state)}"}
    with suppress(httpx.HTTPError):
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=1, headers=credentials) as client:
            CANARIES.look((await client.get(f"{url}/status")).content, f"{url}/status")


@contextmanager
def place(state: Path | None) -> Iterator[Path]:
    """The given folder, or one that goes when the block ends."""
    if state is not None:
        yield state
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        yield Path(made)


async def address(process: asyncio.subprocess.Process, log: Path) -> str:
    """The address the server prints when it listens."""
    assert process.stdout is not None
    async for line in process.stdout:
        CANARIES.look(line, "what it printed")
        if found := ADDRESS.search(line.decode()):
            return found[0]
    raise RuntimeError(f"the server ended with {await process.wait()}: {written(log)}")


def written(log: Path) -> str:
    """The end of what the server wrote to stderr."""
    return log.read_text()[-2000:]


async def answers(url: str) -> None:
    """Wait until the server answers over HTTP."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:

        async def up() -> bool:
            try:
                return (await client.get(f"{url}/status")).status_code in (200, 401)  # it answers, if not us
            except httpx.TransportError:
                return False

        await until(up, START_LIMIT)


async def loaded(url: str) -> None:
    """Wait until every pipeline has come up, or failed."""
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=START_LIMIT) as client:

        async def settled() -> bool:
            details = (await client.get(f"{url}/status")).json()["details"]
            return bool(details) and all(each["status"] != "loading" for each in details)

        await until(settled, START_LIMIT)


async def stop(process: asyncio.subprocess.Process) -> None:
    """End the process: ask first, then kill."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_LIMIT):
            CANARIES.look((await process.communicate())[0], "what it printed")
    except TimeoutError:
        process.kill()
        await process.communicate()


async def until(condition: Callable[[], Awaitable[bool]], limit: float = 10.0) -> None:
    """Look again and again until the condition holds. Raises `TimeoutError` after `limit` seconds."""
    with anyio.fail_after(limit):
        while not await condition():
            await anyio.sleep(0.02)
