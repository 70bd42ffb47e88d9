"""The tools of versions, as a client uses them: numbers are texts, and every answer fits its schema."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import jsonschema_rs
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from mcp_server.models import Action, Caller
from mcp_server.server import Server
from mcp_server.settings import Settings
from mcp_server.surfaces.management.version_tools import TOOLS
from mcp_server.surfaces.mcp import ProtocolServer

from .conftest import wrapper

pytestmark = pytest.mark.anyio

RUN = "haystack-mcp-server/run"


def says(word: str) -> dict[str, str]:
    """The files of a pipeline that puts a word before its text."""
    body = f'def run_api(self, text: str) -> str:\n    """Says {word}."""\n    return "{word} " + text\n'
    return {"pipeline_wrapper.py": wrapper(body)}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    (tmp_path / "pipelines").mkdir()
    async with Server(
        Settings(folder=tmp_path / "pipelines", state=tmp_path / "state", engine="local")
    ) as opened:
        yield opened


@asynccontextmanager
async def connected(server: Server, *scopes: Action) -> AsyncIterator[Client]:
    """A client with these scopes, or with all."""
    caller = Caller(name="someone", scopes=frozenset(scopes)) if scopes else server.access.owner
    protocol = ProtocolServer(server, caller)
    with anyio.fail_after(60):
        async with protocol.announcing(), Client(protocol) as client:
            yield client


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """A client of a server where version 1 of `say` says one, and version 2 is in production and says two."""
    async with connected(server) as made:
        for word in ("one", "two"):
            files = {"name": "say", "files": says(word), "overwrite": True}
            assert not (await made.call_tool("deploy_pipeline", files)).is_error
        yield made


async def manage(client: Client, verb: str, /, **arguments: Any) -> dict[str, Any]:
    """The structured answer, checked against the verb's output schema."""
    result = await client.call_tool(verb, {"name": "say"} | arguments)
    assert not result.is_error, result.content
    (tool,) = (tool for tool in TOOLS if tool["name"] == verb)
    jsonschema_rs.validate(tool["outputSchema"], result.structured_content)
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content or {}


async def refused(client: Client, verb: str, /, **arguments: Any) -> str:
    result = await client.call_tool(verb, {"name": "say"} | arguments)
    assert result.is_error
    return result.content[0].text


async def said(client: Client, **which: str) -> tuple[str, str]:
    """What the pipeline says when it is run by name, and the version that the result names."""
    result = await client.call_tool("run_pipeline", {"name": "say", "arguments": {"text": "x"}} | which)
    assert not result.is_error, result.content
    assert result.structured_content is not None and result.meta is not None
    return result.structured_content["result"], result.meta[RUN]["version"]


async def test_versions_are_listed_with_stage_and_lineage(client: Client) -> None:
    two, one = (await manage(client, "list_versions"))["versions"]
    assert (two["version"], two["stage"], two["parent"]) == ("2", "production", "1")
    assert (one["version"], one["stage"]) == ("1", "none") and "parent" not in one
    assert one["created"] < two["created"] and datetime.fromisoformat(one["created"]).tzinfo == UTC
    assert "no pipeline named nobody" in await refused(client, "list_versions", name="nobody")


async def test_a_call_may_name_a_version_or_a_stage(client: Client) -> None:
    assert await said(client) == ("two x", "2")
    assert await said(client, version="1") == ("one x", "1")
    staged = await manage(client, "set_stage", version="1", stage="staging", share=0)
    assert (staged["stage"], staged["share"]) == ("staging", 0)
    assert await said(client, stage="staging") == ("one x", "1")
    assert await said(client, stage="production") == ("two x", "2")
    run = {"arguments": {"text": "x"}}
    assert "no version 9" in await refused(client, "run_pipeline", version="9", **run)
    assert "not both" in await refused(client, "run_pipeline", version="1", stage="staging", **run)
    assert "`version`" in await refused(client, "run_pipeline", version="one", **run)


async def test_what_goes_on_by_itself_may_name_a_version_or_a_stage(client: Client) -> None:
    await manage(client, "set_stage", version="1", stage="staging", share=0)
    run = {"arguments": {"text": "x"}}
    for which, told in (({"version": "1"}, "1"), ({"stage": "staging"}, "1"), ({"stage": "production"}, "2")):
        started = await client.call_tool("start_run", {"name": "say", **run, **which})
        assert started.structured_content and started.structured_content["version"] == told
        batch = await client.call_tool("run_batch", {"name": "say", "inputs_list": [{"text": "x"}], **which})
        shown = batch.structured_content or {}
        while shown["status"] == "running":
            await anyio.sleep(0.02)
            got = await client.call_tool("get_batch", {"batch_id": shown["batch_id"]})
            shown = got.structured_content or {}
        said = {"1": "one x", "2": "two x"}[told]
        assert [item["result"] for item in shown["items"]] == [{"result": said}]
    assert "no version 9" in await refused(client, "start_run", version="9", **run)
    assert "no version 9" in await refused(client, "run_batch", version="9", inputs_list=[run])


async def test_a_roll_back_is_one_call_and_told_to_listeners_of_the_list(client: Client) -> None:
    back = await manage(client, "set_stage", version="1", stage="production", archive_existing=True)
    assert (back["version"], back["stage"]) == ("1", "production")
    assert (await client.call_tool("say", {"text": "x"})).structured_content == {"result": "one x"}
    assert [each["stage"] for each in (await manage(client, "list_versions"))["versions"]] == [
        "archived",
        "production",
    ]
    status = await client.call_tool("get_pipeline_status", {"pipeline_name": "say"})
    assert status.structured_content is not None
    assert status.structured_content["stages"] == {"production": "1"}


async def test_versions_are_described_compared_and_deleted(client: Client) -> None:
    for version, accuracy in (("1", 0.85), ("2", 0.87)):
        kept = await manage(client, "update_version", version=version, metrics={"accuracy": accuracy})
        assert kept["metrics"] == {"accuracy": accuracy}
    tagged = await manage(client, "update_version", version="1", tags={"by": "me"}, description="The first.")
    assert (tagged["tags"], tagged["description"]) == ({"by": "me"}, "The first.")
    found = await manage(client, "compare_versions", first="1", second="2")
    assert '+    return "two " + text' in found["source_diff"].replace("        ", "    ")
    assert found["metric_deltas"] == {"accuracy": 0.02} and found["schema_changes"] == []
    assert found["recommendation"] == {"version": "2", "reason": "It is better in accuracy."}
    assert (await manage(client, "delete_version", version="1"))["status"] == "deleted"
    assert "in production" in await refused(client, "delete_version", version="2")
    assert "no version 1" in await refused(client, "delete_version", version="1")
    assert "texts" in await refused(client, "update_version", version="2", tags={"a": 1})
    assert "numbers" in await refused(client, "update_version", version="2", metrics={"a": True})


async def text_of(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    return content.model_dump()["text"]


async def test_the_source_of_every_version_is_read_by_callers_that_may_deploy(
    server: Server, client: Client
) -> None:
    for version, word in (("1", "one"), ("2", "two")):
        (path,) = json.loads(await text_of(client, f"pipeline://say/versions/{version}"))["files"]
        source = await text_of(client, f"pipeline://say/versions/{version}/source/{path}")
        assert {path: source} == says(word)
    async with connected(server, "read") as reader:
        found = await manage(reader, "compare_versions", first="1", second="2")
        assert "source_diff" not in found and found["schema_changes"] == [] and found["recommendation"]
        assert "files" not in json.loads(await text_of(reader, "pipeline://say/versions/1"))
        listed = (await reader.list_resource_templates()).resource_templates
        assert not any("/source/" in each.uri_template for each in listed)
        with pytest.raises(MCPError, match="Unknown resource"):
            await text_of(reader, "pipeline://say/versions/1/source/pipeline_wrapper.py")


async def test_they_are_not_in_the_list_that_every_client_gets(client: Client) -> None:
    listed = {tool.name for tool in (await client.list_tools()).tools}
    assert listed & {tool["name"] for tool in TOOLS} == set()
