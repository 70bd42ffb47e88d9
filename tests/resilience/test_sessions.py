"""Sessions that nobody ends: others can open theirs, those in use go on, and what ended leaves nothing."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from clients import Served, serve, until

from .sockets import Wire, connect, host, post, structured, wire

pytestmark = pytest.mark.anyio

ROOM = 60
FLOOD, CYCLES = (400, 20_000), (300, 10_000)
OPENING = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}
MEGABYTE = 2**20
MINUTE = 65
"""Seconds within which a server has done once all that it does every minute."""


def message(method: str, params: dict[str, Any], identity: int | None = None) -> bytes:
    given = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(given | ({} if identity is None else {"id": identity})).encode()


class Session:
    """A session of the handshake era, on one connection."""

    def __init__(self, raw: Wire, url: str) -> None:
        self.raw, self.url = raw, url
        self.headers: dict[str, str] = {}

    async def open(self) -> Session:
        await self.raw.send(post(self.url, "/mcp", message("initialize", OPENING, 0)))
        head = await self.raw.reader.readuntil(b"\r\n\r\n")
        await self.raw.body(head)
        identity = re.findall(rb"(?i)mcp-session-id: (\w+)", head)[0].decode()
        self.headers = {"Mcp-Session-Id": identity, "MCP-Protocol-Version": "2025-11-25"}
        await self.raw.send(post(self.url, "/mcp", message("notifications/initialized", {}), self.headers))
        assert (await self.raw.answer())[0] == 202
        return self

    async def call(self, name: str, arguments: dict[str, Any], identity: int = 1) -> tuple[int, Any]:
        body = message("tools/call", {"name": name, "arguments": arguments}, identity)
        await self.raw.send(post(self.url, "/mcp", body, self.headers))
        status, answer = await self.raw.answer()
        return status, structured(answer) if status == 200 else answer

    async def end(self) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        await self.raw.send(f"DELETE /mcp HTTP/1.1\r\n{host(self.url)}{lines}\r\n".encode())
        assert (await self.raw.answer())[0] == 200


async def session(url: str) -> Session:
    return await Session(await connect(url), url).open()


def descriptors(served: Served) -> int:
    return len([*Path(f"/proc/{served.pid}/fd").iterdir()])


async def test_a_flood_of_sessions_takes_none_from_those_who_use_theirs(folder: Path, long: bool) -> None:
    flags = () if long else ("--max-sessions", str(ROOM))
    async with serve(folder, *flags) as served:
        others = [await session(served.url) for _ in range(5)]
        for each in others:
            assert await each.call("echo", {"text": "first"}) == (200, {"result": "first"})

        async def flood(count: int) -> None:
            async with wire(served.url) as raw:
                for _ in range(count):
                    await Session(raw, served.url).open()

        highest = 0
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(flood, FLOOD[long] // 4)
            for number in range(20):
                for each in others:
                    assert await each.call("echo", {"text": str(number)}) == (200, {"result": str(number)})
                newcomer = await session(served.url)
                assert await newcomer.call("echo", {"text": "new"}) == (200, {"result": "new"})
                await newcomer.end()
                await newcomer.raw.close()
                highest = max(highest, served.memory())
        print("memory", highest / MEGABYTE, served.memory() / MEGABYTE)
        assert max(highest, served.memory()) < 250 * MEGABYTE
        others[0].raw = await connect(served.url)  # an idle connection is closed before a long flood ends
        assert await others[0].call("echo", {"text": "last"}) == (200, {"result": "last"})


async def test_the_session_that_was_idle_longest_gives_way_and_a_busy_one_never(folder: Path) -> None:
    async with serve(folder, "--max-sessions", "3") as served:
        busy, idle, used = [await session(served.url) for _ in range(3)]
        assert (await used.call("echo", {"text": "a"}))[0] == 200
        assert (await idle.call("echo", {"text": "a"}))[0] == 200
        assert (await used.call("echo", {"text": "a"}))[0] == 200
        going = asyncio.ensure_future(busy.call("nap", {"text": "done", "seconds": 3}))
        await asyncio.sleep(0.5)
        fourth = await session(served.url)
        assert (await idle.call("echo", {"text": "a"}))[0] == 404
        assert (await used.call("echo", {"text": "b"}))[0] == 200
        assert (await fourth.call("echo", {"text": "c"}))[0] == 200
        assert await going == (200, {"result": "done"})


async def test_when_all_are_busy_one_more_is_refused_and_told_when_to_come_back(folder: Path) -> None:
    async with serve(folder, "--max-sessions", "2") as served:
        both = [await session(served.url) for _ in range(2)]
        going = [asyncio.ensure_future(each.call("nap", {"text": "x", "seconds": 3})) for each in both]
        await asyncio.sleep(0.5)
        async with wire(served.url) as raw:
            await raw.send(post(served.url, "/mcp", message("initialize", OPENING, 0)))
            head = await raw.reader.readuntil(b"\r\n\r\n")
            refused = json.loads(await raw.body(head))
        assert b" 503 " in head and b"retry-after: 1" in head.lower() and "jsonrpc" in refused
        assert [(await each)[0] for each in going] == [200, 200]

        async def is_let_in() -> bool:
            async with wire(served.url) as raw:
                await raw.send(post(served.url, "/mcp", message("initialize", OPENING, 0)))
                return b" 200 " in await raw.reader.readuntil(b"\r\n\r\n")

        await until(is_let_in)


async def test_a_session_that_is_opened_and_not_used_ends_soon_on_both_transports(folder: Path) -> None:
    async with serve(folder, "--session-unused", "1") as served:
        unused, used = await session(served.url), await session(served.url)
        assert (await used.call("echo", {"text": "a"}))[0] == 200
        async with wire(served.url) as stream:
            await stream.send(
                f"GET /sse HTTP/1.1\r\n{host(served.url)}Accept: text/event-stream\r\n\r\n".encode()
            )
            await stream.reader.readuntil(b"session_id=")

            async def is_gone() -> bool:
                return (await unused.call("echo", {"text": "a"}))[0] == 404

            await asyncio.sleep(1.5)  # any message would be a use
            await until(is_gone)
            await stream.rest(10)
        assert (await used.call("echo", {"text": "a"}))[0] == 200


async def test_streams_are_counted_and_one_too_many_is_refused(folder: Path) -> None:
    async with serve(folder, "--max-streams", "3") as served:
        head = f"GET /sse HTTP/1.1\r\n{host(served.url)}Accept: text/event-stream\r\n\r\n".encode()
        streams = [await connect(served.url) for _ in range(3)]
        for each in streams:
            await each.send(head)
            await each.reader.readuntil(b"session_id=")
        async with wire(served.url) as raw:
            await raw.send(head)
            assert (await raw.answer())[0] == 503
        await streams[0].close()

        async def has_room() -> bool:
            async with wire(served.url) as raw:
                await raw.send(head)
                return b" 200 " in await raw.reader.readuntil(b"\r\n")

        await until(has_room)
        for each in streams:
            await each.close()


async def test_sessions_that_come_and_go_leave_nothing(folder: Path, long: bool) -> None:
    async with serve(folder) as served:

        async def cycles(count: int) -> None:
            async with wire(served.url) as raw:
                for _ in range(count):
                    each = await Session(raw, served.url).open()
                    assert (await each.call("echo", {"text": "hi"}))[0] == 200
                    await each.end()

        async def at_once(count: int) -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(cycles, count // 4)

        begun = anyio.current_time()
        await at_once(max(200, CYCLES[long] // 4))
        while long and anyio.current_time() < begun + MINUTE:
            await at_once(100)
        before, files = served.memory(), descriptors(served)
        await at_once(CYCLES[long])
        grown = served.memory() - before
        print("grown", grown / MEGABYTE, "descriptors", files, descriptors(served))

        async def closed() -> bool:
            return descriptors(served) <= files

        await until(closed)
        assert grown < (1 if long else 2) * MEGABYTE
