"""Many clients, hurried ones, and such that vanish: each gets its own answer, memory stays bounded."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import anyio
import pytest
from clients import Served, loaded, serve

from .sockets import Wire, call, connect, host, modern_post, structured, wire
from .test_sessions import session

pytestmark = pytest.mark.anyio

MEGABYTE = 2**20
SHORT, LONG = 20, 200
SECONDS = (4, 300)
VANISHING = (300, 5_000)
HELD = 20
"""Bodies of a megabyte of which the server holds fewer at once."""


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    return ("--waiting-calls", str(LONG))  # all clients may ask for one pipeline at the same time


async def test_every_answer_reaches_the_one_who_asked(served: Served, long: bool) -> None:
    end = time.monotonic() + SECONDS[long]
    answered, wrong = 0, list[str]()

    async def modern(number: int) -> None:
        nonlocal answered
        random = Random(number)
        async with wire(served.url) as raw:
            while time.monotonic() < end:
                nonce = f"{number}-{random.random()}"
                name, more = random.choice((("echo", {}), ("nap", {"seconds": random.random() / 10})))
                await raw.send(
                    call(served.url, name, {"text": nonce, **more}, random.choice((1, "1", nonce)))
                )
                status, body = await raw.answer()
                if status != 200 or structured(body) != {"result": nonce}:
                    wrong.append(f"{status} {body[:200]!r}")
                answered += 1

    async def legacy(number: int) -> None:
        nonlocal answered
        random = Random(number)
        mine = await session(served.url)
        while time.monotonic() < end:
            nonce = f"{number}-{random.random()}"
            name, more = random.choice((("echo", {}), ("nap", {"seconds": random.random() / 10})))
            told = await mine.call(name, {"text": nonce, **more}, random.randrange(5))
            if told != (200, {"result": nonce}):
                wrong.append(f"{told}")
            answered += 1
        await mine.end()
        await mine.raw.close()

    async with anyio.create_task_group() as tasks:
        for number in range(LONG if long else SHORT):
            tasks.start_soon((modern, legacy)[number % 2], number)
    print("answered", answered, "wrong", len(wrong))
    assert not wrong, wrong[:5]
    assert answered > (LONG if long else SHORT)


async def test_clients_that_vanish_at_any_byte_leave_nothing(served: Served, long: bool) -> None:
    async def vanish(seed: int, count: int) -> None:
        random = Random(seed)
        for _ in range(count):
            raw = await connect(served.url)
            data = call(served.url, "nap", {"text": "x" * random.randrange(3000), "seconds": 0.02})
            await raw.send(data[: random.randrange(len(data) + 200)])
            await asyncio.sleep(random.choice((0, 0, 0.01, 0.03)))
            await raw.close()

    async def all_of_them(count: int) -> None:
        async with anyio.create_task_group() as tasks:
            for seed in range(8):
                tasks.start_soon(vanish, seed, count // 8)

    await all_of_them(max(300, VANISHING[long] // 5))
    before = served.memory()
    await all_of_them(VANISHING[long])
    async with wire(served.url) as raw:
        await raw.send(call(served.url, "echo", {"text": "hi"}))
        assert structured((await raw.answer())[1]) == {"result": "hi"}
    print("grown", (served.memory() - before) / MEGABYTE)
    assert served.memory() - before < 5 * MEGABYTE


async def test_many_large_bodies_take_bounded_memory(folder: Path) -> None:
    async with serve(folder) as served:
        await loaded(served.url)
        data = call(served.url, "echo", {"text": "x" * 1_040_000})
        highest, statuses, refused = 0, list[int](), 0
        enough = asyncio.Event()

        async def large(raw: Wire) -> None:
            """The last byte comes when most are refused; none is served before, on a slow machine too."""
            nonlocal refused
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await raw.send(data[:-1])
                answer = asyncio.ensure_future(raw.answer(100))
                waiting = asyncio.ensure_future(enough.wait())
                await asyncio.wait((answer, waiting), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if answer.done():
                    refused += 1
                    if refused >= len(connections) - HELD:
                        enough.set()
                else:
                    await raw.send(data[-1:])
                statuses.append((await answer)[0])
            await raw.close()

        async def watch() -> None:
            nonlocal highest
            while True:
                highest = max(highest, served.memory())
                await asyncio.sleep(0.02)

        connections = [await connect(served.url) for _ in range(200)]
        watching = asyncio.ensure_future(watch())
        async with anyio.create_task_group() as tasks:
            for each in connections:
                tasks.start_soon(large, each)
        watching.cancel()
        print("highest", highest / MEGABYTE, {each: statuses.count(each) for each in set(statuses)})
        assert highest < 300 * MEGABYTE
        assert set(statuses) <= {200, 503} and 503 in statuses
        async with wire(served.url) as raw:
            await raw.send(data)
            assert (await raw.answer())[0] == 200


async def test_a_call_too_many_is_refused_at_once_and_listeners_are_no_calls(folder: Path) -> None:
    async with serve(folder, "--max-calls", "2") as served:
        await loaded(served.url)
        listeners = [await connect(served.url) for _ in range(4)]
        for each in listeners:
            await each.send(modern_post(served.url, "subscriptions/listen", {"notifications": {}}))
            await each.reader.readuntil(b"acknowledged")
        going = [await connect(served.url) for _ in range(2)]
        for each in going:
            await each.send(call(served.url, "nap", {"text": "slept", "seconds": 2}))
        await asyncio.sleep(0.5)
        async with wire(served.url) as raw:
            for _ in range(3):
                await raw.send(call(served.url, "echo", {"text": "hi"}))
                head = await raw.reader.readuntil(b"\r\n\r\n")
                refused = json.loads(await raw.body(head))
                assert head.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in head
                assert refused["jsonrpc"] == "2.0" and refused["id"] is None
            await raw.send(f"GET /metrics HTTP/1.1\r\n{host(served.url)}\r\n".encode())
            assert b'mcp_server_http_responses_total{status="503"} 3.0' in (await raw.answer())[1]
            for each in going:
                assert structured((await each.answer())[1]) == {"result": "slept"}
            await raw.send(call(served.url, "echo", {"text": "hi"}))
            assert structured((await raw.answer())[1]) == {"result": "hi"}
        for each in (*listeners, *going):
            await each.close()


async def test_however_a_call_too_many_comes_it_is_refused_once_and_what_follows_is_served(
    folder: Path,
) -> None:
    async with serve(folder, "--max-calls", "1") as served, wire(served.url) as going:
        await loaded(served.url)
        await going.send(call(served.url, "nap", {"text": "slept", "seconds": 4}))
        await asyncio.sleep(0.5)
        echo = call(served.url, "echo", {"text": "hi"})
        status = f"GET /live HTTP/1.1\r\n{host(served.url)}\r\n".encode()
        large = call(served.url, "echo", {"text": "x" * 900_000})
        last = echo.replace(b"POST /mcp HTTP/1.1", b"POST /mcp HTTP/1.0")
        async with wire(served.url) as raw:
            for pieces, expected in (
                ((echo,), [503]),
                ((echo[:40], echo[40:-9], echo[-9:]), [503]),
                ((echo + echo + status,), [503, 503, 200]),
                ((echo + status[:9], status[9:] + echo), [503, 200, 503]),
                ((large[:5000], large[5000:]), [503]),
                ((large, status), [503, 200]),
                ((last,), [503]),
            ):
                for piece in pieces:
                    await raw.send(piece)
                    await asyncio.sleep(0)
                assert [(await raw.answer())[0] for _ in expected] == expected
            assert await raw.rest() == b""
        assert structured((await going.answer())[1]) == {"result": "slept"}
        await going.send(echo + echo)
        assert [structured((await going.answer())[1])["result"] for _ in range(2)] == ["hi", "hi"]


async def test_a_connection_too_many_is_told_so_and_closed(folder: Path) -> None:
    async with serve(folder, "--max-connections", "2") as served:
        await loaded(served.url)
        going = [await connect(served.url) for _ in range(2)]
        for each in going:
            await each.send(call(served.url, "nap", {"text": "slept", "seconds": 2}))
        await asyncio.sleep(0.5)
        async with wire(served.url) as raw:
            await raw.send(call(served.url, "echo", {"text": "hi"}))
            received = await raw.rest()
            assert received.startswith(b"HTTP/1.1 503 ") and b"as many connections as it takes" in received
        for each in going:
            assert structured((await each.answer())[1]) == {"result": "slept"}
            await each.close()
