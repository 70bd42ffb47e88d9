"""A thousand pipelines: what listing them costs, and whether a call among them costs more than one alone."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path

from ..harness import FAST, Bench, Finding, Target
from ..load import PATIENCE, connect, load
from ..peers import Peer
from ..processes import Process, apart, serve
from ..requests import ERAS, MODERN, TEXT, Client, Era, answered, http

BODY = '''
async def run_api_async(self, text: str) -> str:
    """Gives the text back, as number {number}."""
    return text
'''
LIST, CALL = 2.0, 1.1
"""Times the bytes written by bare Starlette, and times the call of a pipeline that is alone."""
PAGE = 4
"""Lists at a time: each is large."""
FLAGS = ("--engine", "local", "--tool-mode", "direct")


async def measure(bench: Bench) -> list[Finding]:
    """Lists against the same bytes, calls against calls."""
    many = 50 if bench.quick else 1000
    pipelines = {f"echo{number}": BODY.format(number=number) for number in range(many)}
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(bench.ours("many", pipelines, *FLAGS))
        alone = await stack.enter_async_context(bench.ours("alone", {"echo0": BODY}, *FLAGS))
        found = await listing(bench, stack, own, many)
        found += await calling(bench, own, alone)
    return found


async def listing(bench: Bench, stack: AsyncExitStack, own: Process, many: int) -> list[Finding]:
    """The list in both eras, each beside Starlette writing the very bytes."""
    found: list[Finding] = []
    for era in ERAS:
        client = await Client(own.port, era).open()
        body = await listed(own, client, many)
        bare = await stack.enter_async_context(written(bench, body, era))
        check = partial(lists, many)
        loads = await bench.compare(
            [
                Target("bytes", bare, lambda n, port=bare.port: http(port, "/written", {"id": n}, {}), check),
                Target("list", own, client.list, check),
            ],
            number=max(16, bench.requests // 20),
            connections=PAGE,
        )
        about = f"{loads['list'].cost:.0f} µs beside {loads['bytes'].cost:.0f} µs for {len(body):,} bytes"
        what = f"cost of tools/list with {many:,} pipelines: of writing its bytes"
        times = loads["list"].times(loads["bytes"])
        found.append(Finding(what, times, LIST, at_least=False, about=about, era=era))
    return found


async def calling(bench: Bench, own: Process, alone: Process) -> list[Finding]:
    """A call among many, and one alone."""
    targets: list[Target] = []
    for name, process in (("many", own), ("alone", alone)):
        client = await Client(process.port, MODERN).open()
        targets.append(Target(name, process, partial(call, client), times=FAST))
    with apart(each.process for each in targets):
        loads = await bench.compare(targets)
    many, one = loads["many"], loads["alone"]
    about = f"{many.cost:.0f} µs beside {one.cost:.0f} µs"
    what = "cost of a call among them: of a call of one alone"
    return [Finding(what, many.times(one), CALL, at_least=False, about=about)]


def call(client: Client, number: int) -> bytes:
    """A call of the first."""
    return client.call(number, "echo0", {"text": TEXT})


def lists(many: int, answer: bytes) -> bool:
    """True for a list of all."""
    return answer.startswith(b"HTTP/1.1 200") and f'"echo{many - 1}"'.encode() in answer


async def listed(process: Process, client: Client, many: int) -> bytes:
    """The body of the list, once all are in it."""
    line = await connect(process.port)
    try:
        async with asyncio.timeout(PATIENCE):
            while not lists(many, answer := await line.ask(client.list(1))):
                await asyncio.sleep(0.5)
        return answer.partition(b"\r\n\r\n")[2]
    finally:
        line.close()


def written(bench: Bench, body: bytes, era: Era) -> AbstractAsyncContextManager[Process]:
    """Starlette alone, which writes these bytes."""
    path = Path(bench.folder) / f"list-{era}"
    path.write_bytes(body)
    peer: Peer = bench.peers["Starlette"]

    async def ready(port: int) -> bool:
        echo = Client(port, MODERN)
        call = lambda n: echo.call(n, "echo", {"text": TEXT})  # noqa: E731
        return not (await load(port, call, answered, 1, 1)).errors

    return serve(lambda port: [*peer.start(port), str(path)], ready)
