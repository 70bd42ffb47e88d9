"""A call of a pipeline that does nothing, beside bare Starlette, the SDK, FastMCP and Hayhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from ..harness import Bench, Finding, Load, Target
from ..load import load
from ..processes import Process, serve
from ..requests import MODERN, SESSION, TEXT, Client, Era, answered

ASYNC = '''
async def run_api_async(self, text: str) -> str:
    """Gives the text back."""
    return text
'''
SYNC = '''
def run_api(self, text: str) -> str:
    """Gives the text back."""
    return text
'''
FLOORS: Mapping[tuple[str, Era], float] = {
    ("local", MODERN): 0.7,
    ("local", SESSION): 0.7,
    ("host async", MODERN): 0.5,
    ("host async", SESSION): 0.5,
    ("host sync", MODERN): 0.35,
    ("host sync", SESSION): 0.35,
}
ADDED = {"host async": 0.15, "host sync": 0.3}
"""Milliseconds that a call through a host may take longer than one of bare Starlette, one at a time."""
TIMES = {"FastMCP": 10.0, "Hayhooks": 25.0}
"""How many times the calls of others the engine `local` has to answer."""
OTHERS: Mapping[str, tuple[Era, ...]] = {
    "SDK low-level": (MODERN, SESSION),
    "SDK high-level": (MODERN, SESSION),
    "FastMCP": (MODERN, SESSION),
    "Hayhooks": (SESSION,),
}


async def measure(bench: Bench) -> list[Finding]:
    """Processor per call, as a ratio to bare Starlette's; the added wait through a host."""
    async with AsyncExitStack() as stack:
        targets = [await bare(bench, stack), *await own(bench, stack), *await others(bench, stack)]
        loads = await bench.compare(targets)
        single = await bench.compare(targets[:7], number=max(16, bench.requests // 8), connections=1)
    bench.costs.update({name: each.cost for name, each in loads.items()})
    return [*ratios(loads), *waits(single), *times(loads)]


async def bare(bench: Bench, stack: AsyncExitStack) -> Target:
    """Starlette alone, sent what a modern client sends."""
    return await peer(bench, stack, "Starlette", MODERN, "Starlette")


async def own(bench: Bench, stack: AsyncExitStack) -> list[Target]:
    """Ours: in this process, and through a host."""
    local = await stack.enter_async_context(bench.ours("local", {"echo": ASYNC}, "--engine", "local"))
    hosts = await stack.enter_async_context(bench.ours("hosts", {"echo": ASYNC, "echo_sync": SYNC}))
    found: list[Target] = []
    for name, process, tool in (
        ("local", local, "echo"),
        ("host async", hosts, "echo"),
        ("host sync", hosts, "echo_sync"),
    ):
        for era in (MODERN, SESSION):
            found.append(Target(f"{name} {era}", process, await calling(process, era, tool)))
    return found


async def others(bench: Bench, stack: AsyncExitStack) -> list[Target]:
    """The peers that are there."""
    return [
        await peer(bench, stack, name, era, f"{name} {era}")
        for name, eras in OTHERS.items()
        if name in bench.peers
        for era in eras
    ]


async def peer(bench: Bench, stack: AsyncExitStack, name: str, era: Era, label: str) -> Target:
    """A peer, started and asked in this era."""

    async def ready(port: int) -> bool:
        client = await Client(port, era).open()
        echo = lambda n: client.call(n, "echo", {"text": TEXT})  # noqa: E731
        return not (await load(port, echo, answered, 1, 1)).errors

    process = await stack.enter_async_context(serve(bench.peers[name].start, ready))
    return Target(label, process, await calling(process, era, "echo"))


async def calling(process: Process, era: Era, tool: str) -> Callable[[int], bytes]:
    """Makes the requests of one client."""
    client = await Client(process.port, era).open()
    return lambda number: client.call(number, tool, {"text": TEXT})


def ratios(loads: Mapping[str, Load]) -> list[Finding]:
    """Ours to bare Starlette, by processor."""
    base = loads["Starlette"].cost
    found = [Finding("bare Starlette", 1.0, about=f"{base:.0f} µs of processor a call")]
    for (name, era), bound in FLOORS.items():
        cost = loads[f"{name} {era}"].cost
        about = f"{cost:.0f} µs of processor a call"
        found.append(Finding(f"a call, {name}, {era}: of bare Starlette", base / cost, bound, about=about))
    return found


def waits(loads: Mapping[str, Load]) -> list[Finding]:
    """What a host adds to the wait of one caller."""
    base = loads["Starlette"].wait
    return [
        Finding(
            f"a call, {name}, {era}: added p50",
            loads[f"{name} {era}"].wait - base,
            bound,
            at_least=False,
            unit="ms",
            about=f"{loads[f'{name} {era}'].wait:.2f} ms beside {base:.2f} ms",
        )
        for name, bound in ADDED.items()
        for era in (MODERN, SESSION)
    ]


def times(loads: Mapping[str, Load]) -> list[Finding]:
    """Ours to what others need for the same."""
    found: list[Finding] = []
    for label, each in loads.items():
        name, _, era = label.rpartition(" ")
        if name in OTHERS:
            mine = loads[f"local {era}"].cost
            about = f"{each.cost:.0f} µs beside {mine:.0f} µs"
            found.append(Finding(f"calls for one of {label}", each.cost / mine, TIMES.get(name), about=about))
    return found
