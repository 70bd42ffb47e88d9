"""BM25 over documents in memory, through a server and by `Pipeline.run` in a loop; and in two replicas."""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from textwrap import indent

from ..harness import Bench, Finding, Target
from ..processes import Process
from ..requests import MODERN, Client, answered

BUILD = """
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
words = "tea pot leaf green black cup water steam kettle garden hill rain".split()
text = lambda n: " ".join(words[(n * k + k) % 12] for k in range(1, 40)) + f" number {{n}}"
store = InMemoryDocumentStore(shared=False)
store.write_documents([Document(content=text(n)) for n in range({documents})])
pipeline = Pipeline()
pipeline.add_component("search", InMemoryBM25Retriever(store, top_k=3))
"""
DIRECT = """
import os, time
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "false"
{build}
run = lambda n: pipeline.run({{"search": {{"query": f"green tea number {{n}}"}}}})["search"]["documents"]
run(0)
for _ in range({rounds}):
    since = time.process_time()
    for n in range({number}):
        run(n)
    print((time.process_time() - since) / {number})
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
FEW, MANY = 1000, 10_000
"""Documents: for the cost of a call, and for work that fills a processor."""


async def measure(bench: Bench) -> list[Finding]:
    """Haystack's own loop to a call through a host, by processor; answers a second of two replicas to one."""
    few, many = (FEW, MANY) if not bench.quick else (50, 50)
    number = max(8, bench.requests // 20)
    async with bench.ours("search", {"search": WRAPPER.format(options="", build=built(few))}) as process:
        served = await bench.compare([asking("search", process)], number, connections=1)
    pipelines = {
        "double": WRAPPER.format(options="replicas = 2", build=built(many)),
        "single": WRAPPER.format(options="", build=built(many)),
    }
    async with bench.ours("replicas", pipelines) as process:
        loads = await bench.compare([asking("single", process), asking("double", process)], number // 2, 4)
    own, cost = direct(bench, few), served["search"].cost
    about = f"{own:.0f} µs of processor in a loop beside {cost:.0f} µs through a host"
    rates = loads["double"].rate, loads["single"].rate
    return [
        Finding(f"BM25 over {few:,} documents: of Pipeline.run in a loop", own / cost, SHARE, about=about),
        Finding(
            f"BM25 over {many:,} documents in two replicas: answers for one of a single host",
            rates[0] / rates[1],
            TIMES,
            about=f"{rates[0]:.0f} a second beside {rates[1]:.0f}; needs two processors that do nothing else",
        ),
    ]


def built(documents: int) -> str:
    """The lines that build the pipeline, inside a method."""
    return indent(BUILD.format(documents=documents), "    ")


def asking(name: str, process: Process) -> Target:
    """A pipeline of the server, asked for another number each time."""
    client = Client(process.port, MODERN)
    return Target(
        name,
        process,
        lambda n: client.call(n, name, {"text": f"green tea number {n}"}),
        lambda answer: answered(answer, "green"),
    )


def direct(bench: Bench, documents: int) -> float:
    """Microseconds of processor of a run without any server."""
    build = BUILD.format(documents=documents)
    code = DIRECT.format(build=build, rounds=bench.rounds, number=max(8, bench.requests // 20))
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return 1e6 * median(map(float, ended.stdout.split()))
