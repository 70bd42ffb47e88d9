"""Pipelines that hurt whoever runs them, each in its own way, and one that does honest work."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

TIMEOUT = 2.0
"""Seconds a call of them may take."""

HOSTILE = {
    "exits": "def run_api(self) -> str:\n    os._exit(3)",
    "crashes": "def run_api(self) -> str:\n    return ctypes.string_at(0)",
    "overflows": """
        def run_api(self) -> str:
            sys.setrecursionlimit(10**9)
            def deeper(value): return repr([deeper(value)])
            return deeper(0)
        """,
    "loops": "def run_api(self) -> str:\n    while True: pass",
    "blocks": "async def run_api(self) -> str:\n    while True: pass",
    "ignores": """
        async def run_api(self) -> str:
            while True:
                try:
                    await asyncio.sleep(60)
                except BaseException:
                    pass
        """,
    "devours": "def run_api(self) -> str:\n    kept = []\n    while True: kept.append(bytearray(1 << 24))",
    "forks": "def run_api(self) -> str:\n    while True: os.fork()",
    "bloats": "def run_api(self) -> str:\n    return 'x' * (40 << 20)",
    "garbles": """
        def run_api(self) -> str:
            for descriptor in range(3, 64):
                try:
                    os.set_blocking(descriptor, False)
                    os.write(descriptor, bytes(range(255, 0, -1)) * 64)
                except OSError:
                    pass
            time.sleep(60)
        """,
    "closes": "def run_api(self) -> str:\n    os.closerange(3, 256)\n    time.sleep(60)",
    "floods": """
        def run_api(self, context: Context) -> str:
            while True:
                context.progress(1, 2, "x" * 1000)
        """,
}
"""What its class holds, by name."""
HEAD = """import asyncio, ctypes, os, sys, time
from mcp_server import Context, PipelineWrapper as Base


class PipelineWrapper(Base):
"""


def write(folder: Path, isolation: str) -> None:
    """A folder with all of them, each with a host of its own, and with the honest `echo`."""
    declared = f'timeout = {TIMEOUT}\nisolation = "{isolation}"\n'
    for name, body in HOSTILE.items():
        _pipeline(folder / name, f'{declared}group = "{name}"\n\n{dedent(body).strip()}')
    _pipeline(folder / "echo", "async def run_api(self, number: int) -> int:\n    return number")


def _pipeline(place: Path, body: str) -> None:
    place.mkdir(parents=True)
    (place / "pipeline_wrapper.py").write_text(HEAD + indent(body, "    ") + "\n")
