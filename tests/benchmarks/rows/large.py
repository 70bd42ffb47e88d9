"""An argument and a result of 1 MB, beside bare Starlette, which copies and parses the same once."""

from __future__ import annotations

from contextlib import AsyncExitStack

from ..harness import Bench, Finding, Target
from ..processes import Process
from ..requests import MODERN, Client, answered
from .calls import ASYNC, bare

SIZE = 1_000_000
FLOOR = 3.0
ROOM = ("--text-limit", "16777216", "--inline-limit", "16777216")
"""So that the result stays a result, and becomes no artifact."""


async def measure(bench: Bench) -> list[Finding]:
    """Processor per call through a host, as a ratio to bare Starlette's."""
    text = "0123456789" * (SIZE // 10)
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(bench.ours("large", {"echo": ASYNC}, *ROOM))
        theirs = (await bare(bench, stack)).process
        loads = await bench.compare(
            [await sending("ours", ours, text), await sending("bare", theirs, text)],
            number=max(4, bench.requests // 80),
            connections=1,
        )
    about = f"{loads['ours'].cost:.0f} µs of processor a call beside {loads['bare'].cost:.0f} µs"
    what = "cost of 1 MB in and out through a host: of bare Starlette's"
    return [Finding(what, loads["ours"].times(loads["bare"]), FLOOR, at_least=False, about=about)]


async def sending(name: str, process: Process, text: str) -> Target:
    """A server that is sent the text, and must give the whole of it back."""
    client = await Client(process.port, MODERN).open()
    request = client.call(1, "echo", {"text": text})
    return Target(name, process, lambda _: request, lambda answer: answered(answer, text))
