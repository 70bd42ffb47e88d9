"""A connection to a server, as an MCP client; whatever goes wrong on it becomes one line."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import anyio
import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client._transport import Transport
from mcp.client.streamable_http import streamable_http_client

from ..errors import Unusable
from ..models import Json
from ..models.meta import WAIT
from . import whereabouts
from .following import Following
from .remote import Failed

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
KEY = "MCP_SERVER_API_KEY"
"""The variable with the key for a server that needs one."""

T = TypeVar("T")


class Connection:
    """Calls the tools of one server, management tools and pipelines alike."""

    def __init__(self, client: Client, url: str) -> None:
        self._client = client
        self.url = url
        """Scheme, host and port; empty for a server in this process."""

    async def ask(self, tool: str, **arguments: Any) -> Json:
        """The structured answer of a management tool. Raises `Failed` with what it says if it refuses."""
        result = await self.call(tool, arguments)
        if result.is_error:
            raise Failed(text_of(result))
        return result.structured_content or {}

    async def call(self, tool: str, arguments: Json) -> types.CallToolResult:
        """The result of any tool; waits for its run however long that takes."""
        meta = cast(types.RequestParamsMeta, {WAIT: True})
        return await self._client.call_tool(tool, arguments, progress_callback=_ignore, meta=meta)


def text_of(result: types.CallToolResult) -> str:
    """The text of a result."""
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


def use(url: str | None, work: Callable[[Connection], Awaitable[T]], following: Following | None = None) -> T:
    """Connect to the server at `url`, or to the one found on this machine, and do the work.

    Raises `Failed`, and `Unusable` if it cannot be reached.
    """
    base = root_of(url or whereabouts.chosen().url)
    return run(base, lambda: streamable(base), work, following)


def root_of(url: str) -> str:
    """The address of a server from that of any of its protocol's endpoints."""
    return url.rstrip("/").removesuffix("/manage").removesuffix("/mcp")


def http_client(base: str) -> httpx2.AsyncClient:
    """How a server is reached: with the key in the environment, else the local token of one of our own.

    A proxy is not asked for what is on this machine.
    """
    elsewhere = urlsplit(base).hostname not in LOOPBACK
    key = os.environ.get(KEY) or (None if elsewhere else whereabouts.token(base))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.AsyncClient(timeout=httpx2.Timeout(30, read=None), trust_env=elsewhere, headers=headers)


@asynccontextmanager
async def streamable(base: str) -> AsyncGenerator[Any]:
    """The streams of a server elsewhere."""
    async with (
        http_client(base) as http,
        streamable_http_client(f"{base}/mcp/manage", http_client=http) as streams,
    ):
        yield streams


def run(
    base: str,
    transport: Callable[[], Transport],
    work: Callable[[Connection], Awaitable[T]],
    following: Following | None = None,
) -> T:
    """Connect and do the work. `base` names the server in what goes wrong.

    Raises `Failed`, and `Unusable` if it cannot be reached.
    """
    for library in ("mcp", "client"):  # what the SDK would log is told in one line below
        logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        return anyio.run(_connected, base, transport(), work, following)
    except BaseExceptionGroup as group:
        raise _told(_innermost(group), base) from None


async def _connected(
    base: str, transport: Transport, work: Callable[[Connection], Awaitable[T]], following: Following | None
) -> T:
    hear = following.hear if following else None
    ask = following.ask if following and following.asks else None
    async with Client(transport, message_handler=hear, elicitation_callback=ask) as client:
        return await work(Connection(client, base))


def _innermost(error: BaseException) -> BaseException:
    """The error itself: the task groups of the transports wrap it, one around the other."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    return _innermost(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])


def _told(error: BaseException, base: str) -> BaseException:
    """What went wrong, as the command line says it."""
    match error:
        case MCPError(message="Server returned an error response"):
            return Unusable(f"at {base} there is no server of this kind, or it serves no MCP")
        case MCPError():
            return Failed(str(error))
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            return Unusable(f"{base} is no address; --url is like http://127.0.0.1:1416")
        case httpx2.TransportError():
            return Unusable(f"cannot reach {base}: {error or type(error).__name__}")
        case _:
            return error


async def _ignore(progress: float, total: float | None, message: str | None) -> None:
    """Asks for progress; `Following.hear` gets the whole notification."""
