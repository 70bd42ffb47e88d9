"""BM25 over documents in memory, through a server and by `Pipeline.run` in a loop; and in two replicas."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import median
from textwrap import indent

from ..harness import Bench, Finding, Load, Target
from ..processes import Process
from ..requests import MODERN, Client, answered

BUILD = """
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
words = "tea pot leaf green black cup water steam kettle garden hill rain".split()
text = lambda n: " ".join(words[(n * k + k) % 12] for k in range(1, 40)) + f" number {{n}}"
store = InMemoryDocumentStore(bm25_algorithm="{algorithm}", shared=False)
store.write_documents([Document(content=text(n)) for n in range({documents})])
pipeline = Pipeline()
pipeline.add_component("search", InMemoryBM25Retriever(store, top_k=3))
"""
DIRECT = """
import os, sys, time
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "false"
{build}
run = lambda n: pipeline.run({{"search": {{"query": f"green tea number {{n}}"}}}})["search"]["documents"]
for line in sys.stdin:
    since = time.process_time()
    for n in range({number}):
        run(n)
    print((time.process_time() - since) / {number}, flush=True)
"""
WRAPPER = '''
{options}

def setup(self):
{build}
    self.pipeline = pipeline

def run_api(self, text: str) -> list[str]:
    """The question, and the texts that fit best."""
    found = self.pipeline.run({{"search": {{"query": text}}}})["search"]["documents"]
    return [text, *(document.content for document in found)]
'''
SHARE, TIMES = 0.9, 1.8
CALLERS = 2
FEW, MANY = 1000, 10_000
"""Documents: for the cost of a call, and for work that fills a processor."""
USUAL, HEAVY = "BM25L", "BM25Okapi"
"""Haystack's default, and the one that is as heavy as Haystack makes it."""


async def measure(bench: Bench) -> list[Finding]:
    """Haystack's own loop to a call through a host, by processor; answers a second of two replicas to one."""
    few, many = (FEW, MANY) if not bench.quick else (50, 50)
    return [await beside_a_loop(bench, few), await replicated(bench, many)]


async def beside_a_loop(bench: Bench, documents: int) -> Finding:
    """Two callers, so that the host is as busy as a loop, and a loop around `Pipeline.run`, in turn."""
    number = max(8, bench.requests // 20)
    pipelines = {"search": WRAPPER.format(options="", build=built(documents))}
    direct: list[float] = []
    served = Load()
    async with bench.ours("search", pipelines) as process, loop(documents, number) as turn:
        await turn()  # warm
        await bench.load(asking("search", process), number, CALLERS)
        for _ in range(bench.rounds):
            direct.append(await turn())
            await bench.turn(served, asking("search", process), number, CALLERS)
    ratio = median(one / two for one, two in zip(direct, served.costs, strict=True))
    about = f"{1e6 * median(direct):.0f} µs of processor in a loop beside {served.cost:.0f} µs through a host"
    return Finding(
        f"BM25 over {documents:,} documents: of `Pipeline.run` in a loop", ratio, SHARE, about=about
    )


async def replicated(bench: Bench, documents: int) -> Finding:
    """A pipeline in one host and in two, asked by four callers."""
    pipelines = {
        "double": WRAPPER.format(options="replicas = 2", build=built(documents, HEAVY)),
        "single": WRAPPER.format(options="", build=built(documents, HEAVY)),
    }
    async with bench.ours("replicas", pipelines) as process:
        targets = [asking(name, process) for name in ("single", "double")]
        loads = await bench.compare(targets, max(8, bench.requests // 40), 4)
    rates = loads["double"].rate, loads["single"].rate
    about = f"{rates[0]:.0f} a second beside {rates[1]:.0f}; needs two processors that do nothing else"
    what = f"{HEAVY} over {documents:,} documents in two hosts: answers a second of one's"
    return Finding(what, rates[0] / rates[1], TIMES, about=about)


def built(documents: int, algorithm: str = USUAL) -> str:
    """The lines that build the pipeline, inside a method."""
    return indent(BUILD.format(documents=documents, algorithm=algorithm), "    ")


def asking(name: str, process: Process) -> Target:
    """A pipeline of the server, asked for another number each time."""
    client = Client(process.port, MODERN)
    return Target(
        name,
        process,
        lambda n: client.call(n, name, {"text": f"green tea number {n}"}),
        lambda answer: answered(answer, "green"),
    )


@asynccontextmanager
async def loop(documents: int, number: int) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """A process without any server; each turn runs the pipeline so often, and gives the seconds of one."""
    code = DIRECT.format(build=BUILD.format(documents=documents, algorithm=USUAL), number=number)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None and process.stdout is not None
    asking, told = process.stdin, process.stdout

    async def turn() -> float:
        asking.write(b"\n")
        return float(await told.readline())

    yield turn
    asking.close()
    await process.wait()
