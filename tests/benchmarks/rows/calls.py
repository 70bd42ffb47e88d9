"""A call of a pipeline that does nothing, beside bare Starlette, the SDK, FastMCP and Hayhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from statistics import median

from ..harness import FAST, NO_HEADERS, Bench, Finding, Load, Target
from ..load import load
from ..processes import Process, apart, serve
from ..requests import ERAS, MODERN, SESSION, TEXT, Client, Era, answered

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
KEYED = "keyed"
"""Engine `local` again, for a caller with a key and rates: each call is judged and counted."""
FLOORS: Mapping[tuple[str, Era], float] = {
    ("local", MODERN): 0.7,
    ("local", SESSION): 0.7,
    (KEYED, MODERN): 0.7,
    (KEYED, SESSION): 0.7,
    ("host async", MODERN): 0.5,
    ("host async", SESSION): 0.5,
    ("host sync", MODERN): 0.35,
    ("host sync", SESSION): 0.35,
}
CALLED = {
    "local": "engine `local`",
    KEYED: "engine `local`, with a key",
    "host async": "async in a host",
    "host sync": "sync in a host",
}
FRONT_PART = "processor of the front for a call, async in a host"
ADDED = {"host async": 0.15, "host sync": 0.3}
"""Milliseconds that a call through a host may take longer than one of bare Starlette, one at a time."""
PLACED = " wherever the system puts the processes"
TIMES = {"FastMCP": 10.0, "Hayhooks": 25.0}
"""How many times the calls of others the engine `local` has to answer."""
OTHERS: Mapping[str, tuple[Era, ...]] = {
    "SDK low-level": ERAS,
    "SDK high-level": ERAS,
    "FastMCP": ERAS,
    "Hayhooks": (SESSION,),
}


async def measure(bench: Bench) -> list[Finding]:
    """Processor per call, as a ratio to bare Starlette's; the added wait through a host."""
    async with AsyncExitStack() as stack:
        targets = [await bare(bench, stack), *await own(bench, stack), *await others(bench, stack)]
        few = max(16, bench.requests // 8)
        with apart(each.process for each in targets):
            loads = await bench.compare(targets)
            single = await bench.compare(targets[:7], few, connections=1)
        placed = await bench.compare(targets[:7], few, connections=1)
    bench.costs.update({name: each.cost for name, each in loads.items()})
    waited = [*waits(single), *waits(placed, PLACED)]
    return [*ratios(loads), *waited, *parts(loads), *times(loads), *unmeasured(bench)]


async def bare(bench: Bench, stack: AsyncExitStack) -> Target:
    """Starlette alone, sent what a modern client sends."""
    (found,) = await peer(bench, stack, "Starlette", (MODERN,))
    return replace(found, name="Starlette", times=FAST)


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
        for era in ERAS:
            found.append(Target(f"{name} {era}", process, await calling(process, era, tool), times=FAST))
    key = await bench.key(KEYED)
    keyed = await stack.enter_async_context(
        bench.ours(KEYED, {"echo": ASYNC}, "--engine", "local", extra=key)
    )
    for era in ERAS:
        request = await calling(keyed, era, "echo", extra=key)
        found.append(Target(f"{KEYED} {era}", keyed, request, times=FAST))
    return found


async def others(bench: Bench, stack: AsyncExitStack) -> list[Target]:
    """The peers that are there."""
    there = [(name, eras) for name, eras in OTHERS.items() if name in bench.peers]
    return [target for name, eras in there for target in await peer(bench, stack, name, eras)]


async def peer(bench: Bench, stack: AsyncExitStack, name: str, eras: Sequence[Era]) -> list[Target]:
    """A peer, started once and asked in these eras."""
    it = bench.peers[name]

    async def ready(port: int) -> bool:
        client = await Client(port, eras[0], it.path).open()
        echo = lambda n: client.call(n, "echo", {"text": TEXT})  # noqa: E731
        return not (await load(port, echo, answered, 1, 1)).errors

    process = await stack.enter_async_context(serve(it.start, ready, it.environment))
    return [Target(f"{name} {era}", process, await calling(process, era, "echo", it.path)) for era in eras]


async def calling(
    process: Process, era: Era, tool: str, path: str = "/mcp", extra: Mapping[str, str] = NO_HEADERS
) -> Callable[[int], bytes]:
    """Makes the requests of one client."""
    client = await Client(process.port, era, path, extra).open()
    return lambda number: client.call(number, tool, {"text": TEXT})


def ratios(loads: Mapping[str, Load]) -> list[Finding]:
    """Ours to bare Starlette, by processor."""
    base = loads["Starlette"]
    found = [Finding("bare Starlette", 1.0, about=f"{base.cost:.0f} µs of processor a call")]
    for (name, era), bound in FLOORS.items():
        own = loads[f"{name} {era}"]
        about = f"{own.cost:.0f} µs of processor a call"
        what = f"calls a second, {CALLED[name]}: of bare Starlette's"
        found.append(Finding(what, base.times(own), bound, about=about, era=era))
    return found


def waits(loads: Mapping[str, Load], where: str = "") -> list[Finding]:
    """What a host adds to the wait of one caller; there is no floor for processes that run `where`."""
    base = loads["Starlette"].wait
    return [
        Finding(
            f"added wait (p50){where}, {CALLED[name]}",
            (wait := loads[f"{name} {era}"].wait) - base,
            None if where else bound,
            at_least=False,
            unit="ms",
            about=f"{wait:.2f} ms beside {base:.2f} ms",
            era=era,
        )
        for name, bound in ADDED.items()
        for era in ERAS
    ]


def parts(loads: Mapping[str, Load]) -> list[Finding]:
    """What of a call's processor is the front's, its store included; the rest is the host's."""
    return [
        Finding(FRONT_PART, 1e6 * median(loads[f"host async {era}"].fronts), unit="µs", era=era)
        for era in ERAS
    ]


def times(loads: Mapping[str, Load]) -> list[Finding]:
    """Ours to what others need for the same."""
    found: list[Finding] = []
    for label, each in loads.items():
        name, _, era = label.rpartition(" ")
        if name in OTHERS:
            mine = loads[f"local {era}"]
            about = f"{each.cost:.0f} µs beside {mine.cost:.0f} µs"
            what = f"calls a second, {CALLED['local']}: of {name}'s"
            found.append(Finding(what, each.times(mine), TIMES.get(name), about=about, era=era))
    return found


def unmeasured(bench: Bench) -> list[Finding]:
    """The same for those that are not there."""
    return [
        Finding(f"calls a second, {CALLED['local']}: of {name}'s", None, TIMES[name], about=why, era=era)
        for name, why in bench.missing.items()
        for era in OTHERS[name]
    ]
