"""Many clients, hurried ones, and such that vanish: each gets its own answer, memory stays bounded."""

from __future__ import annotations

import asyncio
import json
import os
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
AT_ONCE = 32
PHASE = (2, 20)
"""Seconds of each part of the measurement under overload."""


def spent(served: Served) -> float:
    """Seconds of CPU that the server has used."""
    fields = Path(f"/proc/{served.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
        highest, statuses = 0, list[int]()

        async def large(raw: Wire) -> None:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await raw.send(data[:-1])
                await asyncio.sleep(0.5)
                await raw.send(data[-1:])
                statuses.append((await raw.answer())[0])
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


class Load:
    """What clients saw in some seconds: calls that were answered, and how soon others were refused."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.good = 0
        self.refused: list[float] = []
        self._cpu, self._since = spent(served), time.monotonic()

    async def ask(self, raw: Wire) -> None:
        since = time.monotonic()
        await raw.send(call(self._served.url, "echo", {"text": "hi"}))
        status, body = await raw.answer()
        if status == 200:
            self.good += 1
        else:
            assert status == 503 and json.loads(body)["error"]["code"] == -32603
            self.refused.append(time.monotonic() - since)

    def end(self) -> tuple[float, float]:
        """Good answers per second, and per second of the server's CPU."""
        cpu, seconds = spent(self._served) - self._cpu, time.monotonic() - self._since
        return self.good / seconds, self.good / max(cpu, 0.01)


async def test_under_five_times_the_load_a_refusal_costs_little(folder: Path, long: bool) -> None:
    async with serve(
        folder, "--max-calls", str(AT_ONCE), "--keep-alive", "600", "--header-timeout", "600"
    ) as served:
        await loaded(served.url)
        connections = [await connect(served.url) for _ in range(8 * AT_ONCE)]

        async def closed_loop(load: Load, raw: Wire, end: float) -> None:
            while time.monotonic() < end:
                await load.ask(raw)

        async def open_loop(load: Load, raw: Wire, every: float, end: float) -> None:
            due = time.monotonic() + Random(id(raw)).random() * every
            while due < end:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due += every
                await load.ask(raw)

        best = best_of_cpu = 0.0
        for _ in range(2):  # the first time to warm up
            peak = Load(served)
            async with anyio.create_task_group() as tasks:
                for raw in connections[:AT_ONCE]:
                    tasks.start_soon(closed_loop, peak, raw, time.monotonic() + PHASE[long])
            best, best_of_cpu = peak.end()
        over = Load(served)
        async with anyio.create_task_group() as tasks:
            every = len(connections) / (5 * best)
            for raw in connections:
                tasks.start_soon(open_loop, over, raw, every, time.monotonic() + PHASE[long])
        good, good_of_cpu = over.end()
        late = sorted(over.refused or [0.0])
        print(f"peak {best:.0f}/s, {best_of_cpu:.0f} per CPU second; over {good:.0f}/s, {good_of_cpu:.0f}")
        print(f"refused {len(late)}, p50 {late[len(late) // 2]:.3f}, p99 {late[int(len(late) * 0.99)]:.3f}")
        assert over.refused
        refusing = (over.good / good_of_cpu - over.good / best_of_cpu) / len(over.refused)
        print(f"a refusal costs {1e6 * refusing:.0f} µs of CPU, a call {1e6 / best_of_cpu:.0f}")
        assert refusing < 0.5 / best_of_cpu
        since = time.monotonic()
        await Load(served).ask(connections[0])
        assert time.monotonic() - since < 2
        for raw in connections:
            await raw.close()


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
