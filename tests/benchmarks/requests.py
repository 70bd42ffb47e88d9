"""The requests every server is asked, in both eras of the protocol, and what a right answer looks like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from .load import Line, connect

Era = Literal["2026-07-28", "2025-11-25"]
MODERN: Era = "2026-07-28"
SESSION: Era = "2025-11-25"
ERAS: tuple[Era, ...] = (MODERN, SESSION)

CLIENT = {"name": "benchmark", "version": "1"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
TEXT = "x" * 32


def http(port: int, path: str, message: dict[str, Any], headers: dict[str, str]) -> bytes:
    """A POST of a message."""
    body = json.dumps(message, separators=(",", ":")).encode()
    fields = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Content-Length": str(len(body)),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Client:
    """What a client of one era sends. `extra` are headers, such as a key."""

    def __init__(
        self, port: int, era: Era, path: str = "/mcp", extra: Mapping[str, str] | None = None
    ) -> None:
        self._port, self.era, self._path = port, era, path
        self._headers = {"MCP-Protocol-Version": era, **(extra or {})}

    async def open(self) -> Client:
        """Open a session where the era has such. Raises `OSError` if the server is not there yet."""
        if self.era == MODERN:
            return self
        line = await connect(self._port)
        try:
            await self._initialize(line)
        finally:
            line.close()
        return self

    @property
    def is_open(self) -> bool:
        """True if it has a session, or needs none."""
        return self.era == MODERN or "Mcp-Session-Id" in self._headers

    async def _initialize(self, line: Line) -> None:
        params = {"protocolVersion": self.era, "capabilities": {}, "clientInfo": CLIENT}
        answer = await line.ask(self.message(0, "initialize", params))
        for field in answer.partition(b"\r\n\r\n")[0].split(b"\r\n"):
            name, _, value = field.partition(b":")
            if name.lower() == b"mcp-session-id":
                self._headers["Mcp-Session-Id"] = value.strip().decode()
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await line.ask(http(self._port, self._path, note, self._headers))

    def call(self, number: int, name: str, arguments: dict[str, Any]) -> bytes:
        """A `tools/call`."""
        return self.message(number, "tools/call", {"name": name, "arguments": arguments}, name)

    def list(self, number: int) -> bytes:
        """A `tools/list`."""
        return self.message(number, "tools/list", {})

    def message(self, number: int, method: str, params: dict[str, Any], name: str | None = None) -> bytes:
        """A request, as this era has it."""
        headers = dict(self._headers)
        if self.era == MODERN:
            params = {**params, "_meta": {**META, **params.get("_meta", {})}}
            headers |= {"Mcp-Method": method} | ({"Mcp-Name": name} if name else {})
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        return http(self._port, self._path, body, headers)


def answered(answer: bytes, text: str = TEXT) -> bool:
    """True for a result without error that holds the text."""
    failed = b'"isError":true' in answer or b'"isError": true' in answer or b'"result"' not in answer
    return answer.startswith(b"HTTP/1.1 200") and text.encode() in answer and not failed
