"""What MCP's door is told by broken and hostile clients: it answers all of it, soon, and never with a 5xx.

The short form sends a few thousand messages; `--long` sends 200,000 in this process and 20,000 over sockets.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from clients import Served

from mcp_server.app import App, create_app
from mcp_server.settings import Settings

from .mutations import PARAMS, Case, case, scratched
from .sockets import ACCEPT, Wire, call, connect, host, structured, wire

pytestmark = pytest.mark.anyio

IN_PROCESS, OVER_SOCKETS = (3_000, 200_000), (600, 20_000)
HANG = 2.0
"""Seconds that no answer may take."""
HOST = "127.0.0.1:1416"
OPENING = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": PARAMS["initialize"]}


class Exchange:
    """One request to the application in this process, whose client leaves once a stream is open."""

    def __init__(self, app: App, given: Case, session: str | None) -> None:
        lines = {"host": HOST, "content-length": str(len(given.body)), **given.headers}
        if session and not given.is_modern:
            lines.setdefault("mcp-session-id", session)
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": given.path,
            "raw_path": given.path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in lines.items()],
            "server": ("127.0.0.1", 1416),
            "client": ("127.0.0.1", 5),
            "state": {},
        }
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self._app = app
        self._sent: list[bytes] = [given.body]
        self._left = anyio.Event()

    async def run(self) -> None:
        await self._app(self.scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._sent:
            return {"type": "http.request", "body": self._sent.pop(), "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = int(message["status"]), dict(message["headers"])
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body") or b"subscriptions/acknowledged" in self.body:
                self._left.set()


class Verdict:
    """What came of all of them."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0
        self.broken = 0
        """Requests that were broken as HTTP: the server may close instead of answering, but not fail."""

    def judge(self, given: Case, status: int, kind: str, body: bytes, seconds: float) -> None:
        self.statuses[status] += 1
        self.slowest = max(self.slowest, seconds)
        if fault := fault_of(status, kind, body):
            self.blame(given, f"{fault}: {status} {bytes(body[:300])!r}")
        if seconds > HANG:
            self.blame(given, f"{seconds:.1f} s")

    def blame(self, given: Case, fault: str) -> None:
        self.wrong.append(f"{fault}\n  {given.path} {given.headers}\n  {given.body[:600]!r}")

    def told(self) -> str:
        told = f"{self.statuses.total() + self.broken} cases, {dict(self.statuses)}"
        return f"{told}, {self.broken} of broken HTTP, slowest {self.slowest:.2f} s"


def fault_of(status: int, kind: str, body: bytes) -> str | None:
    """Why this is no answer of JSON-RPC over HTTP; None if it is."""
    if not 200 <= status < 500:
        return "status"
    if status in (202, 204):
        return "a body" if body else None
    try:
        if kind.startswith("text/event-stream"):
            parts = [line[5:] for line in re.split(rb"\r\n|\n|\r", body) if line.startswith(b"data:")]
            messages = [json.loads(part) for part in parts if part.strip()]
        else:
            messages = [json.loads(body)]
    except ValueError:
        return "no JSON"
    well = all(
        each.get("jsonrpc") == "2.0" and {"result", "error", "method"} & set(each) for each in messages
    )
    return None if well else "no JSON-RPC"


@pytest.fixture
async def app(folder: Path, tmp_path: Path) -> AsyncIterator[App]:
    settings = Settings(folder=folder, state=tmp_path, engine="local", record="none")
    made = create_app(settings)
    async with made.router.lifespan_context(made):
        await made.server.catalog.ready(60)
        yield made


async def opened(app: App) -> str:
    headers = {"content-type": "application/json", "accept": ACCEPT}
    exchange = Exchange(app, Case(json.dumps(OPENING).encode(), headers), None)
    await exchange.run()
    return exchange.headers[b"mcp-session-id"].decode()


async def test_in_process_everything_is_answered(app: App, long: bool) -> None:
    random, verdict = Random(7), Verdict()
    session = await opened(app)
    for number in range(IN_PROCESS[long]):
        given = case(random, number)
        exchange = Exchange(app, given, session)
        since = time.perf_counter()
        try:
            async with asyncio.timeout(20):
                await exchange.run()
        except BaseException as error:
            verdict.blame(given, f"raised {error!r}")
        kind = exchange.headers.get(b"content-type", b"").decode()
        verdict.judge(given, exchange.status, kind, bytes(exchange.body), time.perf_counter() - since)
        if exchange.status == 404:
            session = await opened(app)
    print(verdict.told())
    assert not verdict.wrong, f"{len(verdict.wrong)}:\n" + "\n".join(verdict.wrong[:8])
    assert verdict.statuses[200] > IN_PROCESS[long] / 20


def request(url: str, given: Case, session: str) -> bytes:
    lines = {"content-length": str(len(given.body)), **given.headers}
    if not given.is_modern:
        lines.setdefault("mcp-session-id", session)
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {given.path} HTTP/1.1\r\n{host(url)}{head}\r\n".encode("latin-1") + given.body


async def open_over(url: str) -> str:
    async with wire(url) as raw:
        body = json.dumps(OPENING).encode()
        given = Case(body, {"content-type": "application/json", "accept": ACCEPT}, is_modern=True)
        await raw.send(request(url, given, ""))
        head = await raw.reader.readuntil(b"\r\n\r\n")
    return re.findall(rb"(?i)mcp-session-id: (\w+)", head)[0].decode()


async def in_pieces(raw: Wire, data: bytes, random: Random) -> None:
    """Send in up to six writes, each of which arrives alone."""
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(6)))
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        await raw.send(data[start:end])
        await asyncio.sleep(0)


async def some(url: str, seed: int, count: int, verdict: Verdict) -> None:
    """A client that sends so many, one after the other."""
    random, session = Random(seed), await open_over(url)
    raw = await connect(url)
    for number in range(count):
        given = case(random, number)
        data = request(url, given, session)
        if is_broken := random.random() < 0.1:
            data = scratched(random, data)
        since = time.perf_counter()
        status = await exchanged(raw, given, data, is_broken, random, verdict, since)
        verdict.broken += is_broken
        if is_broken or status is None or b"subscriptions/listen" in data:
            await raw.close()
            raw = await connect(url)
        if status == 404:
            session = await open_over(url)
    await raw.close()


async def exchanged(
    raw: Wire, given: Case, data: bytes, is_broken: bool, random: Random, verdict: Verdict, since: float
) -> int | None:
    """The status of the answer; None if the server closed instead, as it may if HTTP was broken."""
    await in_pieces(raw, data, random)
    if is_broken:
        with suppress(OSError):
            raw.writer.write_eof()
    try:
        async with asyncio.timeout(20):
            head = await raw.reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            kind = re.search(rb"(?im)^content-type: *([^\r]*)", head)
            body = await raw.body(head, until=b"subscriptions/acknowledged")
    except (asyncio.IncompleteReadError, ConnectionError):
        if not is_broken:
            verdict.blame(given, "closed without an answer")
        return None
    except TimeoutError:
        verdict.blame(given, "no answer")
        return None
    if not is_broken:
        verdict.judge(given, status, kind[1].decode() if kind else "", body, time.perf_counter() - since)
    elif status >= 500:
        verdict.blame(given, f"status {status}")
    return status


async def test_over_sockets_everything_is_answered(served: Served, long: bool) -> None:
    verdict, clients = Verdict(), 4
    async with anyio.create_task_group() as tasks:
        for seed in range(clients):
            tasks.start_soon(some, served.url, seed, OVER_SOCKETS[long] // clients, verdict)
    print(verdict.told())
    assert not verdict.wrong, f"{len(verdict.wrong)}:\n" + "\n".join(verdict.wrong[:8])
    assert verdict.statuses.total() + verdict.broken == OVER_SOCKETS[long]
    assert served.process.returncode is None
    async with wire(served.url) as raw:
        await raw.send(call(served.url, "echo", {"text": "still here"}))
        assert structured((await raw.answer())[1]) == {"result": "still here"}
