"""Clients that keep a connection and give nothing for it: they are closed, and others are served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from clients import Served

from mcp_server.cli.connections import Connections
from mcp_server.settings import Settings

from .sockets import Wire, call, host, modern_post, post, structured, wire

pytestmark = pytest.mark.anyio

DEADLINE = 2
SLOW, MANY = 40, 1000
"""How many of a kind, in the short and in the long form."""
CLOSED = 10.0
"""Seconds within which every one of them is closed."""
ROOM = 1200
CALLS = 30
"""Calls in flight, fewer than there are slow clients."""


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    kinds = ("header", "body", "send")
    deadlines = [text for kind in kinds for text in (f"--{kind}-timeout", str(DEADLINE))]
    room = ("--max-connections", str(ROOM), "--max-calls", str(CALLS))
    return (*deadlines, "--keep-alive", str(DEADLINE), *room)


async def silent(raw: Wire, url: str) -> None:
    """Says nothing."""


async def slow_head(raw: Wire, url: str) -> None:
    """Sends a header now and then."""
    await raw.send(f"POST /mcp HTTP/1.1\r\n{host(url)}".encode())
    while not raw.reader.at_eof():
        await raw.send(b"X-More: a\r\n")
        await asyncio.sleep(1)


async def slow_body(raw: Wire, url: str) -> None:
    """Sends a byte of the body now and then."""
    await raw.send(post(url, "/mcp", b"", {"Content-Length": "1000000"}))
    while not raw.reader.at_eof():
        await raw.send(b" ")
        await asyncio.sleep(1)


async def slow_chunks(raw: Wire, url: str) -> None:
    """Sends a small chunk now and then."""
    chunked = b"Transfer-Encoding: chunked\r\nX: "
    await raw.send(post(url, "/echo/run", b"").replace(b"Content-Length: ", chunked))
    while not raw.reader.at_eof():
        await raw.send(b"1\r\n \r\n")
        await asyncio.sleep(1)


async def idle(raw: Wire, url: str) -> None:
    """Asks once, and never again."""
    await raw.send(f"GET /status HTTP/1.1\r\n{host(url)}\r\n".encode())


KINDS: dict[str, Callable[[Wire, str], Awaitable[None]]] = {
    each.__name__: each for each in (silent, slow_head, slow_body, slow_chunks, idle)
}


async def held(url: str, kind: str) -> float:
    """Seconds until the server closes one of that kind."""
    async with wire(url) as raw:
        doing = asyncio.ensure_future(KINDS[kind](raw, url))
        try:
            await raw.rest()
            return time.monotonic() - raw.since
        finally:
            doing.cancel()


async def served_meanwhile(url: str, until: asyncio.Event) -> list[float]:
    """The seconds that calls take, one after the other, each on a connection of its own."""
    taken: list[float] = []
    while not until.is_set():
        since = time.monotonic()
        async with wire(url) as raw:
            await raw.send(call(url, "echo", {"text": "hi"}))
            status, body = await raw.answer()
        assert status == 200 and structured(body) == {"result": "hi"}
        taken.append(time.monotonic() - since)
        await asyncio.sleep(0.05)
    return taken


@pytest.mark.parametrize("kind", KINDS)
async def test_who_is_slow_is_closed_and_others_are_served(served: Served, kind: str, long: bool) -> None:
    over = asyncio.Event()
    honest = asyncio.ensure_future(served_meanwhile(served.url, over))
    seconds = await asyncio.gather(*(held(served.url, kind) for _ in range(MANY if long else SLOW)))
    over.set()
    taken = sorted(await honest)
    print(kind, len(seconds), max(seconds), "calls", len(taken), "p99", taken[int(len(taken) * 0.99)])
    assert max(seconds) < CLOSED
    assert min(seconds) > DEADLINE / 2


async def test_the_body_of_a_head_that_is_known_has_no_more_time_than_any(served: Served) -> None:
    head, body = call(served.url, "echo", {"text": "hi"}).split(b"\r\n\r\n")
    closed: dict[str, float] = {}

    async def sends(kind: str, raw: Wire) -> None:
        await raw.send(head + b"\r\n\r\n")
        if kind == "begins":
            await asyncio.sleep(DEADLINE / 2)
            await raw.send(body[:1])
        assert (await raw.answer())[0] == 408
        closed[kind] = time.monotonic()

    async with wire(served.url) as usual, wire(served.url) as waits, wire(served.url) as begins:
        for raw in (waits, begins):
            for _ in range(3):
                await raw.send(head + b"\r\n\r\n" + body)
                assert (await raw.answer())[0] == 200
        kinds = {"usual": usual, "waits": waits, "begins": begins}
        await asyncio.gather(*(sends(kind, raw) for kind, raw in kinds.items()))
    assert max(closed["waits"], closed["begins"]) - closed["usual"] < DEADLINE / 3


async def test_a_long_call_is_left_alone(served: Served) -> None:
    async with wire(served.url) as raw:
        await raw.send(call(served.url, "nap", {"text": "late", "seconds": DEADLINE * 2}))
        assert structured((await raw.answer())[1]) == {"result": "late"}


async def test_a_body_that_comes_steadily_may_take_its_time(served: Served) -> None:
    text = "x" * 900_000
    sent = call(served.url, "echo", {"text": text})
    async with wire(served.url) as raw:
        for start in range(0, len(sent), 150_000):
            await raw.send(sent[start : start + 150_000])
            await asyncio.sleep(DEADLINE / 5)
        status, body = await raw.answer()
    assert status == 200 and b"xxx" in body


async def test_who_still_sends_when_it_is_refused_is_not_reset(served: Served) -> None:
    async with wire(served.url) as raw:
        raw.writer.write(b"GET / HTTP/1.1\r\nX: " + b"a" * 2**17)
        assert (await raw.answer())[0] == 431
        for _ in range(5):
            raw.writer.write(b"a" * 2**16)
            await raw.writer.drain()
        assert await raw.reader.read() == b""


async def test_what_comes_with_the_end_of_a_large_body_is_not_taken_for_headers(served: Served) -> None:
    sent = call(served.url, "echo", {"text": "second"})
    async with wire(served.url) as raw:
        for size in range(200_000, 800_000, 60_000):
            await raw.send(call(served.url, "echo", {"text": "x" * size}) + sent[:-9])
            assert (await raw.answer())[0] == 200
            await raw.send(sent[-9:])
            status, body = await raw.answer()
            assert status == 200 and structured(body) == {"result": "second"}


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (b"414", "GET /{long} HTTP/1.1\r\n{host}\r\n"),
        (b"431", "GET / HTTP/1.1\r\n{host}X: {long}{long}{long}{long}{long}{long}{long}\r\n\r\n"),
        (b"431", "GET / HTTP/1.1\r\n{host}{many}\r\n"),
    ],
)
async def test_too_much_of_a_head_is_refused(served: Served, status: bytes, head: str) -> None:
    parts = {"host": host(served.url), "long": "a" * 10_000, "many": "A: b\r\n" * 150}
    async with wire(served.url) as raw:
        await raw.send(head.format(**parts).encode())
        assert (await raw.rest()).split()[1] == status


@pytest.mark.parametrize(
    "start", ["GET / HTTP/1.1\r\n{host}X: ", "GET /", "{chunked}0\r\nX: ", "{chunked}1;"]
)
async def test_what_has_no_end_is_cut(served: Served, start: str) -> None:
    chunked = f"POST /echo/run HTTP/1.1\r\n{host(served.url)}Transfer-Encoding: chunked\r\n\r\n"
    before = served.memory()
    sent = 0
    async with wire(served.url) as raw:
        await raw.send(start.format(host=host(served.url), chunked=chunked).encode())
        while not raw.reader.at_eof() and not raw.writer.is_closing() and sent < 50 * 2**20:
            await raw.send(b"a" * 2**16)
            sent += 2**16
            await asyncio.sleep(0)
        await raw.rest()
    assert sent < 7 * 2**20  # what lay in the buffers between us, and what was thrown away
    assert served.memory() - before < 5 * 2**20


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    requests = [call(served.url, "nap", {"text": str(n), "seconds": 0.3 - n / 10}, n) for n in range(4)]
    async with wire(served.url) as raw:
        await raw.send(b"".join(requests))
        answers = [structured((await raw.answer())[1])["result"] for _ in requests]
    assert answers == ["0", "1", "2", "3"]


async def test_what_is_wrong_after_a_request_is_no_answer_to_it(served: Served) -> None:
    async with wire(served.url) as raw:
        first = call(served.url, "nap", {"text": "first", "seconds": 1})
        await raw.send(first + call(served.url, "echo", {"text": "second"}) + b"garbage\r\n\r\n")
        received = await raw.rest()
    assert b" 400 " not in received, "either its own answer, or none"


async def test_a_listening_stream_stays_open_though_nothing_is_said(served: Served) -> None:
    async with wire(served.url) as raw:
        await raw.send(modern_post(served.url, "subscriptions/listen", {"notifications": {}}))
        await raw.reader.readuntil(b"acknowledged")
        await asyncio.sleep(DEADLINE + 1)
        assert not raw.reader.at_eof()


class Waiting:
    """A connection that waits for its client, as far as its peers can tell."""

    def __init__(self, all_of_them: Connections, peer: str | None, served: bool = False) -> None:
        self.peer, self.served, self.deadline = peer, served, 0.0
        self.closed = False
        self._all = all_of_them
        self.admitted = all_of_them.admit(self)  # pyright: ignore[reportArgumentType]
        if self.admitted:
            all_of_them.waiting[self] = None  # pyright: ignore[reportArgumentType]

    def drop(self) -> None:
        self.closed = True
        self._all.leave(self)  # pyright: ignore[reportArgumentType]

    def late(self, now: float) -> None:
        self.closed = True


async def test_what_came_while_the_server_was_busy_is_not_late() -> None:
    every = Connections(Settings(), lambda address: False)
    each = Waiting(every, None)
    each.deadline = 10.0
    every.sweep(9.5)
    every.sweep(60.0)  # after a long time in which nobody read
    assert not each.closed
    every.sweep(60.5)
    assert each.closed


async def test_one_address_may_have_only_so_many_connections_and_gives_its_own_for_more() -> None:
    every = Connections(Settings(max_connections=10, max_connections_per_peer=2), lambda address: False)
    assert every.peer("10.0.0.1") == "10.0.0.1" and every.peer("127.0.0.1") is every.peer("::1") is None
    others = [Waiting(every, "10.0.0.2"), Waiting(every, None)]
    mine = [Waiting(every, "10.0.0.1", served=True), Waiting(every, "10.0.0.1"), Waiting(every, "10.0.0.1")]
    assert [each.closed for each in (*mine, *others)] == [False, True, False, False, False]
    for each in mine:
        every.waiting.pop(each, None)  # pyright: ignore[reportArgumentType]
    assert not Waiting(every, "10.0.0.1").admitted, "those that are being served are not given up"


async def test_when_all_places_are_taken_one_that_waits_gives_way(folder: object, served: Served) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(ROOM + 20):
            await stack.enter_async_context(wire(served.url))
        async with wire(served.url) as raw:
            await raw.send(call(served.url, "echo", {"text": "hi"}))
            assert structured((await raw.answer())[1]) == {"result": "hi"}
