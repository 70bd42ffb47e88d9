"""Bare sockets: bytes are sent as they are, and it is told how the server took them."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 30.0
"""Seconds to wait for any one thing."""
MODERN = "2026-07-28"
OPENED: list[Wire] = []
"""Every connection of the test that runs."""
ACCEPT = "application/json, text/event-stream"


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.since = time.monotonic()

    async def send(self, data: bytes) -> None:
        """Send; that the server has closed is no fault of the test."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await asyncio.wait_for(self.writer.drain(), PATIENCE)

    async def rest(self, patience: float = PATIENCE) -> bytes:
        """All that comes until the server closes. Raises `TimeoutError` if it does not."""
        received = bytearray()
        with suppress(ConnectionError):
            async with asyncio.timeout(patience):
                while piece := await self.reader.read(65536):
                    received += piece
        return bytes(received)

    async def answer(self, patience: float = PATIENCE) -> tuple[int, bytes]:
        """The status and the body of the next response."""
        async with asyncio.timeout(patience):
            head = await self.reader.readuntil(b"\r\n\r\n")
            return int(head.split(b" ", 2)[1]), await self.body(head)

    async def body(self, head: bytes, until: bytes | None = None) -> bytes:
        """The body that belongs to this head, or as much of it as holds `until`."""
        if length := re.search(rb"(?im)^content-length: *(\d+)", head):
            return await self.reader.readexactly(int(length[1]))
        body = bytearray()
        while b"chunked" in head.lower() and not (until and until in body):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            body += (await self.reader.readexactly(size + 2))[:-2]
            if not size:
                break
        return bytes(body)

    async def close(self) -> None:
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    """A connection that is closed when the block ends."""
    opened = await connect(url)
    try:
        yield opened
    finally:
        await opened.close()


async def connect(url: str, limit: int = 2**16) -> Wire:
    """A connection; `limit` are the bytes it reads ahead of whoever reads it."""
    place = urlsplit(url)
    opened = Wire(*await asyncio.open_connection(place.hostname, place.port, limit=limit))
    OPENED.append(opened)
    return opened


async def close_all() -> None:
    """Close what tests have left open."""
    while OPENED:
        await OPENED.pop().close()


def host(url: str) -> str:
    """The Host header, as a line."""
    return f"Host: {urlsplit(url).netloc}\r\n"


def post(url: str, path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A request as bytes."""
    lines = {"Accept": ACCEPT, "Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **(headers or {})}.items())
    return f"POST {path} HTTP/1.1\r\n{host(url)}{head}\r\n".encode() + body


def modern(method: str, params: dict[str, Any], identity: object = 1) -> dict[str, Any]:
    """A request of the modern era."""
    meta = {
        "protocolVersion": MODERN,
        "clientCapabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    }
    meta = {f"io.modelcontextprotocol/{name}": value for name, value in meta.items()}
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": {**params, "_meta": meta}}


def modern_post(url: str, method: str, params: dict[str, Any], identity: object = 1) -> bytes:
    """It as bytes, with the headers that go with it."""
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    if "name" in params:
        headers["Mcp-Name"] = params["name"]
    return post(url, "/mcp", json.dumps(modern(method, params, identity)).encode(), headers)


def call(url: str, name: str, arguments: dict[str, Any], identity: object = 1) -> bytes:
    """A call of a tool, as bytes."""
    return modern_post(url, "tools/call", {"name": name, "arguments": arguments}, identity)


def structured(body: bytes) -> Any:
    """The structured content of the result in a response, be it JSON or a stream of events."""
    if not body.startswith(b"{"):
        body = next(line[6:] for line in body.split(b"\n") if line.startswith(b"data: {"))
    return json.loads(body)["result"]["structuredContent"]
