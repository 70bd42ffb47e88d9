"""An evaluation whose server is killed is ended by the next one: every case counts once, and is measured."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from clients import START_LIMIT, serve, until
from mcp import Client

pytestmark = pytest.mark.anyio
WRAPPER = '''
import asyncio
import os
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    async def run_api_async(self, number: int) -> int:
        """Notes that it begins, and ends when it may; doubles all numbers but 4."""
        with open("PLACE/begun", "a") as file:
            file.write(f"{number} ")
        while not os.path.exists(f"PLACE/end-{number}"):
            await asyncio.sleep(0.01)
        return 2 * number if number != 4 else 0
'''
CASES = "".join(json.dumps({"inputs": {"number": each}, "expected": 2 * each}) + "\n" for each in range(5))


async def asked(client: Client, verb: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(verb, arguments)
    assert not result.is_error and result.structured_content, result.content
    return result.structured_content


async def test_an_evaluation_goes_on_after_its_server_was_killed(tmp_path: Path) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    (folder / "double").mkdir(parents=True)
    (folder / "double" / "pipeline_wrapper.py").write_text(WRAPPER.replace("PLACE", str(tmp_path)))
    (folder / "double" / "golden.jsonl").write_text(CASES)
    which = {"name": "double", "version": "1"}
    for number in (0, 1):
        (tmp_path / f"end-{number}").touch()
    async with serve(folder, "--soft-deadline", "0.1", state=state) as first, first.client() as client:
        begun = await asked(client, "evaluate_version", **which, metrics=["exact_match", "accuracy"])
        assert begun["status"] == "running"

        async def half() -> bool:
            shown = await asked(client, "get_batch", batch_id=begun["batch_id"])
            return shown["done"] == 2 and len((tmp_path / "begun").read_text().split()) == 5

        await until(half, START_LIMIT)
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
    for number in (2, 3, 4):
        (tmp_path / f"end-{number}").touch()
    async with serve(folder, state=state) as second, second.client() as client:
        shown: dict[str, Any] = {}

        async def ended() -> bool:
            shown.update(await asked(client, "get_run", run_id=begun["batch_id"]))
            return shown["status"] == "done"

        await until(ended, START_LIMIT)
        assert shown["result"]["metrics"] == {"exact_match": 0.8, "accuracy": 0.8}
        (version,) = (await asked(client, "list_versions", name="double"))["versions"]
        assert version["metrics"] == shown["result"]["metrics"]
        (content,) = (await client.read_resource("pipeline://double/versions/1")).contents
        (measured,) = json.loads(content.model_dump()["text"])["evaluations"]
        assert (measured["batch_id"], measured["total"], measured["failed"]) == (begun["batch_id"], 5, 0)
    again = (tmp_path / "begun").read_text().split()
    assert sorted(again) == ["0", "1", "2", "2", "3", "3", "4", "4"], "what had ended is not run again"
