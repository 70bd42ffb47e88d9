"""A stream of 1,000 pieces from a pipeline in a host to an MCP client."""

from __future__ import annotations

import asyncio
import re
import time
from statistics import median

from ..harness import Bench, Finding
from ..processes import Process
from ..requests import MODERN, Client

CHUNKS = 1000
STREAM = f'''
async def run_api_async(self, text: str):
    """Says when it begins, then the text again and again."""
    import time
    yield f"began {{time.time()}} "
    for _ in range({CHUNKS - 1}):
        await asyncio.sleep(0)
        yield text
'''
PER_CHUNK = 100.0
"""Microseconds of processor, of all processes."""
FIRST = 20.0
"""Milliseconds until the client has the first piece."""
_BEGAN = re.compile(rb"began ([0-9.]+) ")


async def measure(bench: Bench) -> list[Finding]:
    """Processor per piece; how long the first one is on its way."""
    costs: list[float] = []
    waits: list[float] = []
    async with bench.ours("streaming", {"stream": STREAM}) as process:
        for _ in range(3 + bench.rounds):
            before = process.cpu()
            waits.append(await first_wait(bench, process))
            costs.append((process.cpu() - before) / CHUNKS)
    cost, wait = 1e6 * median(costs), 1e3 * median(waits)
    return [
        Finding("a stream of 1,000 pieces: processor for each", cost, PER_CHUNK, at_least=False, unit="µs"),
        Finding("until its first piece is there", wait, FIRST, at_least=False, unit="ms"),
    ]


async def first_wait(bench: Bench, process: Process) -> float:
    """Seconds from the pipeline's first piece to its arrival; reads the stream to its end."""
    client = Client(process.port, MODERN)
    meta = {"_meta": {"progressToken": 1}}
    request = client.message(
        1, "tools/call", {"name": "stream", "arguments": {"text": "word "}, **meta}, "stream"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(request)
    heard, arrived = b"", 0.0
    async with asyncio.timeout(60):
        while b'"result"' not in heard and (data := await reader.read(65536)):
            heard += data
            if not arrived and _BEGAN.search(heard):
                arrived = time.time()
    writer.close()
    if heard.count(b"word ") < 2 * (CHUNKS - 1):  # as progress, and in the result
        bench.errors.append(f"streaming: {heard.count(b'word ')} pieces, ending {heard[-300:]!r}")
    began = _BEGAN.search(heard)
    return arrived - float(began[1]) if began else 0.0
