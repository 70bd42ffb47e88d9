"""A client on a bare socket, which reads when it wants to: for what no well-behaved client does."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import orjson
from anyio.abc import SocketStream

from .test_bad_input import PREFIX, headers_of, modern
from .test_http import HEADERS

BUFFER = 4096
"""Bytes the socket takes in while nobody reads, as far as the system lets itself be told."""


class Connection:
    """One connection. What it does not read stays on the way, and in the end with the server."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname or "", place.port or 0
        self.received = bytearray()

    async def __aenter__(self) -> Connection:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        made.connect((self._host, self._port))
        self._stream = await SocketStream.from_socket(made)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stream.aclose()

    async def modern(self, method: str, params: dict[str, Any], meta: dict[str, Any] | None = None) -> None:
        """Send a request of the modern era."""
        body = modern(method, params)
        body["params"]["_meta"] |= {f"{PREFIX}clientInfo": {"name": "raw", "version": "1"}, **(meta or {})}
        await self.post("/mcp", body, headers_of(body))

    async def post(self, path: str, message: dict[str, Any], headers: dict[str, str]) -> None:
        """Send a message. Does not read the answer."""
        body = orjson.dumps(message)
        await self.send(self.head(path, body, headers) + body)

    def head(self, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        """What goes before the body of a message."""
        lines = HEADERS | headers | {"Host": f"{self._host}:{self._port}", "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._stream.send(data)

    async def get(self, path: str, headers: dict[str, str]) -> None:
        """Open a stream."""
        lines = {"Accept": "text/event-stream", **headers, "Host": f"{self._host}:{self._port}"}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self._stream.send(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())

    async def read_until(self, part: bytes) -> bytes:
        """Read on until what was received holds `part`; gives all that was received."""
        seen = 0
        while self.received.find(part, seen) < 0:
            seen = max(0, len(self.received) - len(part))
            self.received += await self._stream.receive()
        return bytes(self.received)
