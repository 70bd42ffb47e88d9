"""Clients that read nothing, whatever kind of stream they are sent: dropped, and others are served."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from clients import Served, until

from .sockets import OPENED, Wire, host, modern, post
from .test_connections import CLOSED, served_meanwhile
from .test_sessions import session

pytestmark = pytest.mark.anyio

FLOOD = '''import asyncio
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    async def run_api_async(self, pieces: int):
        """Says far more than fits between a server and a client that does not read."""
        for _ in range(pieces):
            yield "x" * 2**16
            await asyncio.sleep(0)

    async def run_chat_completion_async(self, model, messages, body):
        for _ in range(60):  # more than the system takes for a connection, 4 MB
            yield "x" * 2**16
            await asyncio.sleep(0)
'''
TOGETHER = (3, 8)
"""How many of a kind at once. Each makes the server move 4 MB, and a pipeline runs 64 calls."""
TIMES = (1, 125)
WINDOW = 4096
"""Bytes that a client takes unread."""


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    deadlines = ("--send-timeout", "2", "--keep-alive", "2")  # what the system has taken counts as sent
    return (*deadlines, "--max-calls", "200", "--caller-calls", "200")


@pytest.fixture(scope="session")
def folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("unread")
    shutil.copytree(folder / "echo", made / "echo")
    (made / "flood").mkdir()
    (made / "flood" / "pipeline_wrapper.py").write_text(FLOOD)
    return made


def answers(url: str, own: dict[str, str]) -> bytes:
    """Many answers, one after the other."""
    return f"GET /openapi.json HTTP/1.1\r\n{host(url)}\r\n".encode() * 200


def progress(url: str, own: dict[str, str]) -> bytes:
    """The stream of a call, with its pieces as progress."""
    body = modern("tools/call", {"name": "flood", "arguments": {"pieces": 60}})
    body["params"]["_meta"]["progressToken"] = 1
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "flood"}
    return post(url, "/mcp", json.dumps(body).encode(), headers)


def legacy(url: str, own: dict[str, str]) -> bytes:
    """The same in a session."""
    params = {"name": "flood", "arguments": {"pieces": 60}, "_meta": {"progressToken": 1}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return post(url, "/mcp", json.dumps(body).encode(), own)


def events(url: str, own: dict[str, str]) -> bytes:
    """The events of a run over REST."""
    return post(url, "/flood/run", b'{"pieces": 60}', {"Accept": "text/event-stream"})


def text(url: str, own: dict[str, str]) -> bytes:
    """Its text as it comes."""
    return post(url, "/flood/run", b'{"pieces": 60}', {"Accept": "text/plain"})


def chat(url: str, own: dict[str, str]) -> bytes:
    """A chat as OpenAI's."""
    body = {"model": "flood", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    return post(url, "/v1/chat/completions", json.dumps(body).encode())


KINDS = {each.__name__: each for each in (answers, progress, legacy, events, text, chat)}


async def deaf(url: str) -> Wire:
    """A connection of which nothing is read."""
    place = urlsplit(url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (place.hostname, place.port))
    opened = Wire(*await asyncio.open_connection(sock=raw, limit=1024))
    opened.writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
    OPENED.append(opened)
    return opened


async def held(url: str, data: bytes) -> float:
    """Seconds until the server drops one that asks for this and reads nothing."""
    raw = await deaf(url)
    await raw.send(data)

    async def dropped() -> bool:
        with suppress(ConnectionError):  # who was dropped is told when it sends
            raw.writer.write(b"\r\n")
            await raw.writer.drain()
            return False
        return True

    await until(dropped, 30)
    return time.monotonic() - raw.since


async def test_who_reads_nothing_is_dropped_and_others_are_served(served: Served, long: bool) -> None:
    own = (await session(served.url)).headers
    over, taken = asyncio.Event(), dict[str, list[float]]()
    honest = asyncio.ensure_future(served_meanwhile(served.url, over))
    for _ in range(TIMES[long]):
        kinds = [each for each in KINDS for _ in range(TOGETHER[long])]
        seconds = await asyncio.gather(*(held(served.url, KINDS[each](served.url, own)) for each in kinds))
        for kind, each in zip(kinds, seconds, strict=True):
            taken.setdefault(kind, []).append(each)
    over.set()
    waits = sorted(await honest)
    for kind, each in taken.items():
        print(kind, len(each), f"dropped after {min(each):.1f} to {max(each):.1f} s")
        assert min(each) > 1 and max(each) < CLOSED
    print(len(waits), f"calls, p99 {waits[int(len(waits) * 0.99)]:.2f} s")
