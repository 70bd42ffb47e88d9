"""Versions are measured on golden cases over MCP, and what does not pass is not promoted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from clients import START_LIMIT
from mcp import Client

from mcp_server.server import Server
from mcp_server.settings import Settings
from mcp_server.surfaces.mcp import ProtocolServer

pytestmark = pytest.mark.anyio
CASES = "".join(
    json.dumps({"inputs": {"text": text}, "expected": f"good {text}"}) + "\n" for text in ("a", "b", "c")
)


def wrapper(word: str, *, but: str = "") -> str:
    """A pipeline that says the word before its text, unless that is `but`."""
    return (
        "class PipelineWrapper:\n    def run_api(self, text: str) -> str:\n"
        f'        """Say it."""\n        return ("bad " if text == "{but}" else "{word} ") + text\n'
    )


@asynccontextmanager
async def connected(tmp_path: Path, *, cases: str = CASES, **settings: Any) -> AsyncIterator[Client]:
    """A client of a server where version 1 is right, 2 is wrong once, and 3 is wrong and in production."""
    made = Settings(state=tmp_path / "state", engine="local", **settings)
    async with Server(made) as server:
        protocol = ProtocolServer(server, server.access.owner)
        with anyio.fail_after(START_LIMIT):
            async with protocol.announcing(), Client(protocol) as client:
                for text in (wrapper("good"), wrapper("good", but="c"), wrapper("bad")):
                    files = {"pipeline_wrapper.py": text} | ({"golden.jsonl": cases} if cases else {})
                    deployed = {"name": "say", "files": files, "overwrite": True}
                    assert not (await client.call_tool("deploy_pipeline", deployed)).is_error
                yield client


async def asked(client: Client, verb: str, /, **arguments: Any) -> Any:
    """The structured answer, or the text of a refusal."""
    result = await client.call_tool(verb, {"name": "say"} | arguments)
    return result.content[0].model_dump()["text"] if result.is_error else result.structured_content


async def stages(client: Client) -> dict[str, str]:
    listed = (await asked(client, "list_versions"))["versions"]
    return {each["version"]: each["stage"] for each in listed}


async def test_a_version_is_measured_and_its_card_shows_it(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        metrics = ["exact_match", "accuracy", "AnswerExactMatchEvaluator"]
        made = await client.call_tool("evaluate_version", {"name": "say", "version": "2", "metrics": metrics})
        assert made.structured_content is not None
        scores = made.structured_content["metrics"]
        assert scores == {name: pytest.approx(2 / 3) for name in metrics}
        card = (await client.read_resource("pipeline://say/versions/2")).contents[0].model_dump()["text"]
        batch = await client.call_tool("get_batch", {"batch_id": made.structured_content["batch_id"]})
    (shown,) = json.loads(card)["evaluations"]
    assert (shown["dataset"], shown["total"], shown["failed"]) == ("golden.jsonl", 3, 0)
    assert json.loads(card)["metrics"] == shown["metrics"] == scores
    assert batch.structured_content and batch.structured_content["done"] == 3


async def test_what_does_not_reach_the_score_is_not_promoted(tmp_path: Path) -> None:
    async with connected(tmp_path, promotion_score=0.9) as client:
        assert "reaches 0.666667 in exact_match" in await asked(
            client, "set_stage", version="2", stage="production"
        )
        assert await stages(client) == {"1": "none", "2": "none", "3": "production"}
        assert (await asked(client, "set_stage", version="2", stage="staging"))["stage"] == "staging"
        assert (await asked(client, "set_stage", version="1", stage="production"))["stage"] == "production"
        assert (await asked(client, "say", text="c")) == "Invalid arguments: unknown: `name`; known are: text"


async def test_what_is_worse_than_production_is_not_promoted(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        assert (await asked(client, "set_stage", version="1", stage="production", min_score=0.5))["version"]
        refused = await asked(client, "set_stage", version="2", stage="production", min_score=0.5)
        assert "version 1, in production, reaches 1" in refused
        assert (await asked(client, "set_stage", version="2", stage="production"))["version"] == "2"


async def test_what_was_measured_before_is_not_measured_again(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        for version in ("1", "3"):
            await asked(client, "evaluate_version", version=version)
        before = await client.call_tool("list_runs", {"pipeline": "say", "limit": 100})
        assert (await asked(client, "set_stage", version="1", stage="production", min_score=1))["version"]
        after = await client.call_tool("list_runs", {"pipeline": "say", "limit": 100})
    assert before.structured_content == after.structured_content


async def test_what_is_not_deployed_is_measured_before_it_goes_to_production(tmp_path: Path) -> None:
    async with connected(tmp_path, promotion_score=0.9) as client:
        for name, source in (("good", "say:1"), ("bad", "say:3")):
            assert (await asked(client, "register_version", name=name, source=source))["stage"] == "none"
        assert "reaches 0 in" in await asked(client, "set_stage", name="bad", version="1", stage="production")
        assert "no pipeline named" in await asked(client, "run_pipeline", name="bad", version="1")
        promoted = await asked(client, "set_stage", name="good", version="1", stage="production")
        assert (promoted["stage"], promoted["metrics"]) == ("production", {"exact_match": 1.0})
        await client.call_tool("undeploy_pipeline", {"pipeline_name": "say"})
        assert (await asked(client, "evaluate_version", version="2"))["metrics"]["exact_match"] < 0.9
        assert "undeployed" in await asked(client, "run_pipeline", version="2", arguments={"text": "a"})


async def test_without_golden_cases_only_an_explicit_score_is_refused(tmp_path: Path) -> None:
    async with connected(tmp_path, cases="", promotion_score=0.9) as client:
        assert (await asked(client, "set_stage", version="2", stage="production"))["version"] == "2"
        assert "no golden cases" in await asked(
            client, "set_stage", version="1", stage="production", min_score=0.5
        )
        assert "`min_score` is for" in await asked(
            client, "set_stage", version="1", stage="staging", min_score=0.5
        )
        assert "Dataset not found" in await asked(client, "evaluate_version", version="1")


@pytest.mark.parametrize("line", ["{", "[]", '{"inputs": 1, "expected": 2}', '{"inputs": {}}', ""])
async def test_golden_cases_that_are_none_are_told_by_their_line(tmp_path: Path, line: str) -> None:
    async with connected(tmp_path, cases=f"\n{line}\n") as client:
        refused = await asked(client, "evaluate_version", version="1")
        assert ("line 2" in refused) if line else ("1 to 1000 cases" in refused)
