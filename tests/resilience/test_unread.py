"""Clients that read nothing, whatever kind of stream they are sent: dropped, and others are served."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from clients import Served, loaded, serve, until

from .sockets import OPENED, Wire, call, host, modern, modern_post, post, structured, wire
from .test_connections import CLOSED, served_meanwhile
from .test_sessions import OPENING, message, session

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
SHOUT = '''import asyncio
from mcp_server import Context, PipelineWrapper as Base, resource


class PipelineWrapper(Base):
    async def run_api_async(self, context: Context, uri: str, times: int) -> str:
        """Says many times that a resource was updated."""
        for _ in range(times):
            context.resource_updated(uri)
            await asyncio.sleep(0)
        return "said"

    @resource("shelf://{title}")
    def book(self, title: str) -> str:
        return title
'''
RECITAL = """
inputs: {text: Nothing.}
models: {echo: {type: haystack.components.generators.chat.mock.MockChatGenerator}}
steps: [{name: recite, models: echo, template: "{% for _ in range(6) %}{{ text }}{% endfor %}"}]
"""
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
    for name, text in {"flood": FLOOD, "shout": SHOUT}.items():
        (made / name).mkdir()
        (made / name / "pipeline_wrapper.py").write_text(text)
    (made / "recital.yaml").write_text(RECITAL)
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
    return await dropped(raw, b"\r\n")


async def dropped(raw: Wire, data: bytes) -> float:
    """Seconds until the server has dropped it; `data` is what may be sent to it meanwhile."""

    async def is_dropped() -> bool:
        with suppress(ConnectionError):  # who was dropped is told when it sends
            raw.writer.write(data)
            await raw.writer.drain()
            return False
        return True

    await until(is_dropped, 30)
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
    in_time(taken, await honest)


LONG_URI = "shelf://" + "x" * 4000
SUBSCRIBE = message("resources/subscribe", {"uri": LONG_URI}, 1)
TIMES_TOLD = 2500
"""Of something that long: more than the system takes for a connection."""
OF_EACH = 6 * 2**20
"""Bytes that the server may take for one that listens and does not read."""


async def heard(raw: Wire, part: bytes) -> bytes:
    """What a deaf one reads up to `part`, before it stops."""
    transport: Any = raw.writer.transport
    transport.resume_reading()
    found = await asyncio.wait_for(raw.reader.readuntil(part), 30)
    transport.pause_reading()
    return found


async def stream(url: str, raw: Wire) -> None:
    """Holds the stream of a session open."""
    opened = await session(url)
    await opened.raw.send(post(url, "/mcp", SUBSCRIBE, opened.headers))
    assert (await opened.raw.answer())[0] == 200
    lines = "".join(f"{name}: {value}\r\n" for name, value in opened.headers.items())
    await raw.send(f"GET /mcp HTTP/1.1\r\n{host(url)}Accept: text/event-stream\r\n{lines}\r\n".encode())
    await heard(raw, b"\r\n\r\n")


async def sse(url: str, raw: Wire) -> None:
    """The same as it was before 2025."""
    await raw.send(f"GET /sse HTTP/1.1\r\n{host(url)}\r\n".encode())
    await heard(raw, b"session_id=")
    path = "/messages/?session_id=" + (await heard(raw, b"\r\n")).decode().strip()
    async with wire(url) as other:
        opening = message("initialize", OPENING, 0), message("notifications/initialized", {})
        for each in (*opening, SUBSCRIBE):
            await other.send(post(url, path, each))
            assert (await other.answer())[0] == 202


async def listening(url: str, raw: Wire) -> None:
    """Listens to changes as 2026-07-28 has it."""
    wanted = {"notifications": {"resourceSubscriptions": [LONG_URI]}}
    await raw.send(modern_post(url, "subscriptions/listen", wanted))
    await heard(raw, b"acknowledged")


async def websocket(run: str, url: str, raw: Wire) -> None:
    """Follows a step."""
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    await raw.send(f"GET /step/{run}/stream HTTP/1.1\r\n{host(url)}{upgrade}{key}\r\n".encode())
    await heard(raw, b"\r\n\r\n")


async def recited(url: str) -> str:
    """A step-wise run whose step has said as much."""
    inputs = {"text": ("x" * 50_000 + " ") * 15}
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        begun = {"pipeline_path": "pipelines/recital.yaml", "user_inputs": inputs}
        run: str = (await http.post("/pipeline/start", json=begun)).json()["pipeline_run_id"]
        assert (await http.post(f"/step/{run}/execute", json={})).status_code == 202

        async def is_over() -> bool:
            return (await http.get(f"/pipeline/{run}/status")).json()["status"] == "PAUSED"

        await until(is_over, 30)
    return run


async def test_who_listens_and_reads_nothing_is_dropped_and_others_are_served(
    served: Served, long: bool
) -> None:
    listeners = {
        "stream": (stream, b"\r\n"),
        "sse": (sse, b"\r\n"),
        "listening": (listening, b"\r\n"),
        "websocket": (partial(websocket, await recited(served.url)), b"\x8a\x80\0\0\0\0"),  # an empty pong
    }
    over, taken = asyncio.Event(), dict[str, list[float]]()
    honest = asyncio.ensure_future(served_meanwhile(served.url, over))
    for _ in range(TIMES[long]):
        wires = [(kind, await deaf(served.url)) for kind in listeners for _ in range(TOGETHER[long])]
        before = served.memory()
        await asyncio.gather(*(listeners[kind][0](served.url, raw) for kind, raw in wires))
        for _, raw in wires:
            raw.since = time.monotonic()
        async with wire(served.url) as telling:
            await telling.send(call(served.url, "shout", {"uri": LONG_URI, "times": TIMES_TOLD}))
            assert structured((await telling.answer())[1]) == {"result": "said"}
        seconds = await asyncio.gather(*(dropped(raw, listeners[kind][1]) for kind, raw in wires))
        more = served.memory() - before
        print(f"{more / 2**20:.0f} MB for {len(wires)}")
        assert more < OF_EACH * len(wires)
        for (kind, _), each in zip(wires, seconds, strict=True):
            taken.setdefault(kind, []).append(each)
    over.set()
    in_time(taken, await honest)


def in_time(taken: dict[str, list[float]], served: list[float]) -> None:
    """All of each kind were dropped, after so many seconds; and how long the calls waited meanwhile."""
    for kind, each in taken.items():
        print(kind, len(each), f"dropped after {min(each):.1f} to {max(each):.1f} s")
        assert min(each) > 1 and max(each) < CLOSED
    waits = sorted(served)
    print(len(waits), f"calls, p99 {waits[int(len(waits) * 0.99)]:.2f} s")


async def test_websockets_are_counted_and_one_too_many_is_refused(folder: Path) -> None:
    async with serve(folder, "--max-streams", "3") as counting:
        await loaded(counting.url)
        follow = partial(websocket, await recited(counting.url))
        for _ in range(3):
            await follow(counting.url, await deaf(counting.url))
        late = await deaf(counting.url)
        await follow(counting.url, late)
        assert b"All websockets of this server are taken" in await heard(late, b"}")
