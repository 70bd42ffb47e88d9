"""The management tools: what a model reads of them, and what they answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import jsonschema_rs
import pytest
from mcp import Client

from mcp_server.catalog.names import RESERVED
from mcp_server.lint import check_tool
from mcp_server.models import Status
from mcp_server.server import Server
from mcp_server.settings import Settings
from mcp_server.surfaces.management import TOOLS, Management, pipeline_tools, run_tools, search_tools
from mcp_server.surfaces.management.pipeline_tools import STATUS
from mcp_server.surfaces.management.views import Invocation, View
from mcp_server.surfaces.mcp import ProtocolServer

from .conftest import wrapper

pytestmark = pytest.mark.anyio

ECHO = wrapper('def run_api(self, text: str) -> str:\n    """Gives the text back."""\n    return text\n')
SHOUT = ECHO.replace("return text", "return text.upper()")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "pipelines").mkdir()
    settings = Settings(folder=tmp_path / "pipelines", state=tmp_path / "state", engine="local")
    async with Server(settings) as server:
        protocol = ProtocolServer(server)
        with anyio.fail_after(60):
            async with protocol.announcing(), Client(protocol) as connected:
                yield connected


async def manage(client: Client, verb: str, /, **arguments: Any) -> dict[str, Any]:
    """The structured answer, checked against the verb's output schema."""
    result = await client.call_tool(verb, arguments)
    assert not result.is_error, result.content
    (tool,) = (tool for tool in TOOLS if tool["name"] == verb)
    jsonschema_rs.validate(tool["outputSchema"], result.structured_content)
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content or {}


async def refused(client: Client, verb: str, /, **arguments: Any) -> str:
    result = await client.call_tool(verb, arguments)
    assert result.is_error
    return result.content[0].text


async def test_a_server_that_just_began_does_not_say_that_there_are_no_pipelines(tmp_path: Path) -> None:
    (tmp_path / "pipelines" / "echo").mkdir(parents=True)
    (tmp_path / "pipelines" / "echo" / "pipeline_wrapper.py").write_text(ECHO)
    settings = Settings(folder=tmp_path / "pipelines", state=tmp_path / "state", engine="local")
    with anyio.fail_after(60):
        async with Server(settings) as server:
            assert server.catalog.statuses() == (), "the folder is not read yet"
            call = Invocation(server.access.owner, {}, lambda: View({}, {}, {}))
            told = await Management(server).call("get_all_pipeline_statuses", call)
    assert [each["name"] for each in told["pipelines"]] == ["echo"]


def test_those_that_are_listed_cost_a_client_less_than_six_kilobytes() -> None:
    listed = (*search_tools.TOOLS, *pipeline_tools.TOOLS, *run_tools.TOOLS)
    assert len(json.dumps(listed, separators=(",", ":"))) < 6 * 1024


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool["name"])
def test_each_says_what_it_is(tool: dict[str, Any]) -> None:
    assert tool["title"] and tool["description"]
    assert set(tool["annotations"]) == {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    assert all(argument["description"] for argument in tool["inputSchema"]["properties"].values())
    for schema in (tool["inputSchema"], tool.get("outputSchema", {"type": "object"})):
        assert schema["type"] == "object"
        assert "$ref" not in json.dumps(schema) and "anyOf" not in json.dumps(schema)


def test_only_run_pipeline_may_answer_anything() -> None:
    assert [tool["name"] for tool in TOOLS if "outputSchema" not in tool] == ["run_pipeline"]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool["name"])
def test_no_client_refuses_or_cuts_it(tool: dict[str, Any]) -> None:
    assert check_tool(tool, "haystack-pipelines") == ()
    assert tool["name"] in RESERVED


def test_the_schema_of_a_status_names_fields_of_a_status() -> None:
    assert set(STATUS["properties"]) <= set(Status.model_fields)


async def test_a_deploy_answers_with_the_new_tool(client: Client) -> None:
    answer = await manage(client, "deploy_pipeline", name="echo", files={"pipeline_wrapper.py": ECHO})
    assert answer["pipeline"]["name"] == "echo" and answer["pipeline"]["status"] == "running"
    assert answer["tool"]["description"] == "Gives the text back."
    assert answer["tool"]["inputSchema"]["required"] == ["text"]
    assert "echo" in answer["next"] and "not saved" not in answer["next"]
    assert (await client.call_tool("echo", {"text": "hi"})).structured_content == {"result": "hi"}


async def test_files_that_are_not_saved_are_said_to_go(client: Client) -> None:
    files = {"pipeline_wrapper.py": ECHO}
    answer = await manage(client, "deploy_pipeline", name="echo", files=files, save_files=False)
    assert "not saved" in answer["next"]


async def test_a_name_in_use_is_kept_unless_overwrite_is_given(client: Client) -> None:
    await manage(client, "deploy_pipeline", name="echo", files={"pipeline_wrapper.py": ECHO})
    again = {"name": "echo", "files": {"pipeline_wrapper.py": SHOUT}}
    assert "overwrite" in await refused(client, "deploy_pipeline", **again)
    assert (await client.call_tool("echo", {"text": "hi"})).structured_content == {"result": "hi"}
    await manage(client, "deploy_pipeline", **again, overwrite=True)
    assert (await client.call_tool("echo", {"text": "hi"})).structured_content == {"result": "HI"}


async def test_a_deploy_that_fails_names_file_and_line_and_changes_nothing(client: Client) -> None:
    await manage(client, "deploy_pipeline", name="echo", files={"pipeline_wrapper.py": ECHO})
    files = {"pipeline_wrapper.py": ECHO + "\n    def broken(:\n"}
    reason = await refused(client, "deploy_pipeline", name="echo", files=files, overwrite=True)
    assert "pipeline_wrapper.py, line " in reason
    assert (await client.call_tool("echo", {"text": "hi"})).structured_content == {"result": "hi"}


@pytest.mark.parametrize(
    ("verb", "arguments", "named"),
    [
        ("deploy_pipeline", {"name": "echo"}, "files"),
        ("deploy_pipeline", {"name": "a.b", "files": {}}, "name"),
        ("deploy_pipeline", {"name": "echo", "files": {"a.py": 1}}, "files"),
        ("deploy_pipeline", {"name": "echo", "files": {}, "overwrite": "yes"}, "overwrite"),
        ("undeploy_pipeline", {"name": "echo"}, "pipeline_name"),
        ("get_pipeline_status", {}, "pipeline_name"),
        ("get_all_pipeline_statuses", {"verbose": True}, "verbose"),
    ],
)
async def test_bad_arguments_are_refused_by_field(
    client: Client, verb: str, arguments: dict[str, Any], named: str
) -> None:
    assert named in await refused(client, verb, **arguments)


async def test_names_of_tools_and_routes_cannot_be_deployed(client: Client) -> None:
    for name in ("deploy_pipeline", "status", "mcp"):
        reason = await refused(client, "deploy_pipeline", name=name, files={"pipeline_wrapper.py": ECHO})
        assert "reserved" in reason


async def test_statuses_follow_a_pipeline_through_its_life(client: Client) -> None:
    await manage(client, "deploy_pipeline", name="echo", files={"pipeline_wrapper.py": ECHO})
    await client.call_tool("echo", {"text": "hi"})
    one = await manage(client, "get_pipeline_status", pipeline_name="echo")
    assert (one["status"], one["version"], one["kind"], one["calls"], one["errors"]) == (
        "running",
        "1",
        "wrapper",
        1,
        0,
    )
    assert (await manage(client, "get_all_pipeline_statuses"))["pipelines"][0]["name"] == "echo"
    gone = await manage(client, "undeploy_pipeline", pipeline_name="echo")
    assert gone["name"] == "echo" and gone["status"] == "undeployed"


async def test_a_pipeline_that_is_not_there_is_a_result_not_a_protocol_error(client: Client) -> None:
    for verb in ("undeploy_pipeline", "get_pipeline_status"):
        assert "nowhere" in await refused(client, verb, pipeline_name="nowhere")
