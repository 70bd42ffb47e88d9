"""A folder of small pipelines, and one real server over it for all tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent, indent

import pytest
from clients import Served, loaded, serve

WRAPPERS = {
    "echo": '''
        def run_api(self, text: str, times: int = 1) -> str:
            """Gives the text back.

            Args:
                text: What to give back.
                times: How often.
            """
            return text * times
    ''',
    "steps": '''
        async def run_api_async(self, context: Context, count: int) -> int:
            """Reports progress step by step."""
            for step in range(count):
                context.progress(step, count, f"step {step}")
                await asyncio.sleep(0.01)
            return count
    ''',
    "words": '''
        async def run_api_async(self, count: int) -> str:
            """Streams words, fifty a second."""
            for word in range(count):
                yield f"word{word} "
                await asyncio.sleep(0.02)
    ''',
    "talk": '''
        def run_api(self, context: Context) -> str:
            """Logs at two levels."""
            context.log("debug", "a detail")
            context.log("warning", {"about": "a problem"}, "talk")
            return "said"
    ''',
    "wait": '''
        async def run_api_async(self, started: str, stopped: str) -> str:
            """Waits for ever; leaves a file when it starts and one when it is stopped."""
            open(started, "w").close()
            try:
                await asyncio.Event().wait()
            finally:
                open(stopped, "w").close()
    ''',
    "leave": '''
        def run_api(self) -> str:
            """Tries to end the process."""
            sys.exit(3)
    ''',
    "noisy": '''
        def run_api(self) -> str:
            """Prints in every way there is."""
            print("printed")
            os.write(1, b"written\\n")
            os.system("echo shouted")
            return "quiet"
    ''',
    "hidden": '''
        hidden = True

        def run_api(self) -> str:
            """Is no tool."""
            return "found"
    ''',
}


def wrapper(body: str) -> str:
    """The text of a wrapper whose class has this body."""
    head = (
        "import asyncio\nimport os\nimport sys\nfrom mcp_server import Context, PipelineWrapper as Base\n\n\n"
    )
    return head + "class PipelineWrapper(Base):\n" + indent(dedent(body), "    ")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    for name, body in WRAPPERS.items():
        (made / name).mkdir()
        (made / name / "pipeline_wrapper.py").write_text(wrapper(body))
    (made / "broken").mkdir()
    (made / "broken" / "pipeline_wrapper.py").write_text("def nothing(:\n")
    return made


@pytest.fixture(scope="module")
async def served(folder: Path) -> AsyncIterator[Served]:
    async with serve(folder) as running:
        await loaded(running.url)  # a list waits for what still loads for a while only
        yield running
