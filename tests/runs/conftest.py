"""A folder of small pipelines, and whole servers over it that share a state folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mcp_server.models import Caller, Emit, Json, Run
from mcp_server.runs import ignore
from mcp_server.server import Server
from mcp_server.settings import Settings

BOUND = 30.0
"""Seconds after which a condition will not come true any more."""

WRAPPERS = {
    "double": """
    def run_api(self, number: int) -> int:
        if number < 0:
            raise ValueError("too small")
        return 2 * number
""",
    "wait": """
    async def run_api_async(self, started: str, until: str) -> str:
        with open(started, "a") as file:
            file.write("once ")
        while not os.path.exists(until):
            await asyncio.sleep(0.01)
        return "waited"
""",
    "ask": """
    async def run_api_async(self, context: Context) -> str:
        answer = await context.ask("Who?", {"type": "object", "properties": {"name": {"type": "string"}}})
        return answer.value["name"] if answer else "nobody"
""",
    "secret": """
    record = "meta"

    def run_api(self, word: str) -> str:
        return word
""",
}

Open = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture
def serving(tmp_path: Path) -> Open:
    """Opens a server on the folder; each call another one, on the same state."""
    for name, body in WRAPPERS.items():
        (tmp_path / "pipelines" / name).mkdir(parents=True)
        (tmp_path / "pipelines" / name / "pipeline_wrapper.py").write_text(
            "import asyncio\nimport os\nfrom mcp_server import Context, PipelineWrapper as Base\n\n\n"
            "class PipelineWrapper(Base):" + body
        )

    @asynccontextmanager
    async def serving(**settings: object) -> AsyncIterator[Server]:
        given = {"folder": tmp_path / "pipelines", "state": tmp_path / "state", "engine": "local"}
        with anyio.fail_after(BOUND):
            async with Server(Settings.model_validate(given | settings)) as server:
                await server.catalog.ready()
                yield server

    return serving


async def attended(server: Server, caller: Caller, name: str, inputs: Json, listener: Emit = ignore) -> Run:
    """A call, as it has ended or asks its caller."""
    live = await server.runs.start(caller, name, inputs, listener=listener)
    await server.runs.attend(live)
    return live.run
