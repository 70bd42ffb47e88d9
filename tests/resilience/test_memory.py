"""What the server remembers of runs is bounded in bytes, however large they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from clients import Served, until

pytestmark = pytest.mark.anyio

LARGE = """from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    async def run_api_async(self, text: str) -> str:
        return text
"""
RUNS, SIZE = 120, 900_000
BOUND = 250 * 2**20
"""Bytes. What is kept of these runs takes 400 MB, if nothing is let go."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("large")
    (made / "large").mkdir()
    (made / "large" / "pipeline_wrapper.py").write_text(LARGE)
    return made


async def test_large_runs_that_can_be_asked_for_are_read_from_the_store(served: Served) -> None:
    async with served.client() as client:
        text, ids = "x" * SIZE, list[str]()

        async def found(identity: str) -> bool:
            told = (await client.call_tool("get_run", {"run_id": identity})).structured_content
            return told is not None and told["status"] == "done"

        before = served.memory()
        for _ in range(RUNS):
            begun = await client.call_tool("start_run", {"name": "large", "arguments": {"text": text}})
            assert begun.structured_content is not None, begun
            ids.append(begun.structured_content["run_id"])
            await until(lambda: found(ids[-1]))
        grown = served.memory() - before
        assert grown < BOUND, grown
        assert await found(ids[0])
