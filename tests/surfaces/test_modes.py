"""Few or many pipelines: when they are listed, how they are found, and that each can always be run."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import jsonschema_rs
import mcp_types as types
import pytest
from clients import Mode as ClientMode
from clients import Served
from mcp import Client
from mcp.shared.exceptions import MCPError

from mcp_server.catalog import Entry, Snapshot
from mcp_server.catalog.arguments import Arguments
from mcp_server.catalog.deployments import Deployment
from mcp_server.models import Caller, Json, Manifest, Options, Version
from mcp_server.server import Server
from mcp_server.settings import Settings
from mcp_server.surfaces.management import TOOLS
from mcp_server.surfaces.management.samples import sample
from mcp_server.surfaces.management.search import Index, words
from mcp_server.surfaces.mcp import ProtocolServer
from mcp_server.surfaces.mcp.toolsets import DIRECT, DIRECT_BYTES, Mode, Toolset, made

from .conftest import WRAPPERS, wrapper

pytestmark = pytest.mark.anyio

FINDING = ["search_pipelines", "describe_pipeline", "run_pipeline"]
MANAGING = [
    "deploy_pipeline",
    "undeploy_pipeline",
    "get_pipeline_status",
    "get_all_pipeline_statuses",
    "get_run",
    "answer_run",
    "cancel_run",
]
MORE = {
    "greet": '''
        tags = ["polite"]
        title = "Greeter"

        async def run_api_async(self, context: Context) -> str:
            """Asks for a name, then greets."""
            schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
            answer = await context.ask("Who are you?", schema)
            return f"Hello {answer.content['name']}"
    ''',
    "picture": '''
        def run_api(self):
            """Gives a block and nothing structured."""
            from mcp_types import TextContent
            return TextContent(type="text", text="a block")
    ''',
}


@asynccontextmanager
async def connected(folder: Path, tool_mode: Mode, **client: Any) -> AsyncIterator[Client]:
    """A client of a server over the small pipelines of the other tests, and a few more."""
    place = folder / "pipelines"
    for name in ("echo", "steps", "hidden", "wait"):
        (place / name).mkdir(parents=True)
        (place / name / "pipeline_wrapper.py").write_text(wrapper(WRAPPERS[name]))
    for name, body in MORE.items():
        (place / name).mkdir()
        (place / name / "pipeline_wrapper.py").write_text(wrapper(body))
    settings = Settings(folder=place, state=folder / "state", engine="local", tool_mode=tool_mode)
    async with Server(settings) as server:
        protocol = ProtocolServer(server)
        with anyio.fail_after(60):
            async with protocol.announcing(), Client(protocol, **client) as made_client:
                yield made_client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with connected(tmp_path, "search") as made_client:
        yield made_client


async def structured(client: Client, tool: str, **arguments: Any) -> Json:
    """The structured answer, checked against the tool's output schema."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    (declared,) = (each for each in TOOLS if each["name"] == tool)
    jsonschema_rs.validate(declared["outputSchema"], result.structured_content)
    return result.structured_content or {}


def pipeline(name: str, description: str = "", tags: tuple[str, ...] = (), **properties: Json) -> Entry:
    """A pipeline that serves."""
    schema = {"type": "object", "properties": properties}
    tool = {"name": name, "description": description, "inputSchema": schema}
    manifest = Manifest(kind="wrapper", tool=tool, blocking=False)
    options = Options(tags=tags)
    version = Version(pipeline=name, number=1, digest="d", created=0.0, manifest=manifest, options=options)
    return Entry(Deployment(name, "folder", "d", Path(), options, version), "running")


def snapshot(*entries: Entry) -> Snapshot:
    """A catalog of these."""
    listed = [each.listed for each in entries]
    return Snapshot(1, {each.name: each for each in entries}, tuple(item[0] for item in listed if item))


async def test_in_search_mode_no_pipeline_is_listed(client: Client) -> None:
    assert [tool.name for tool in (await client.list_tools()).tools] == FINDING + MANAGING


async def test_in_direct_mode_every_pipeline_is_listed(tmp_path: Path) -> None:
    async with connected(tmp_path, "direct") as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert names == ["echo", "greet", "picture", "steps", "wait", *MANAGING]


@pytest.mark.parametrize(("count", "size", "searched"), [(DIRECT, 1, False), (DIRECT + 1, 1, True)])
def test_auto_lists_up_to_a_number_of_pipelines(count: int, size: int, searched: bool) -> None:
    view = made(
        snapshot(*(pipeline(f"p{n:02}", "x" * size) for n in range(count))), Toolset(), "auto", Caller()
    )
    assert ("search_pipelines" in view.tools) is searched
    assert ("p00" in view.tools) is not searched
    assert len(view.pipelines) == count


def test_auto_lists_up_to_a_size_of_the_list() -> None:
    many = {f"field{n}": {"type": "string"} for n in range(DIRECT_BYTES // 20)}
    small, large = pipeline("a", "x" * 1000), pipeline("a", "x", **many)
    assert "a" in made(snapshot(small), Toolset(), "auto", Caller()).tools
    assert "a" not in made(snapshot(large), Toolset(), "auto", Caller()).tools


async def test_a_search_finds_by_words_of_parameters_titles_and_tags(client: Client) -> None:
    for query in ("How often?", "greeter", "polite"):
        found = await structured(client, "search_pipelines", query=query)
        assert found["pipelines"][0]["name"] == ("echo" if query == "How often?" else "greet")
        assert found["of"] == 5
    (best, *_) = (await structured(client, "search_pipelines", query="give text back"))["pipelines"]
    assert (best["name"], best["description"]) == ("echo", "Gives the text back.")
    assert best["parameters"] == ["text", "times"]


async def test_a_search_without_words_lists_by_name_and_never_what_is_hidden(client: Client) -> None:
    found = await structured(client, "search_pipelines", query="", limit=50)
    assert [each["name"] for each in found["pipelines"]] == ["echo", "greet", "picture", "steps", "wait"]
    assert (await structured(client, "search_pipelines", query="zebra"))["pipelines"] == []
    assert len((await structured(client, "search_pipelines", query="", limit=2))["pipelines"]) == 2


async def test_a_description_holds_what_a_call_needs_and_its_example_works(client: Client) -> None:
    told = await structured(client, "describe_pipeline", name="echo")
    assert told["inputSchema"]["required"] == ["text"]
    assert told["outputSchema"]["properties"]["result"]["type"] == "string"
    assert told["version"] == "1"
    assert told["annotations"]["readOnlyHint"] is False
    example = told["example"]
    assert example == {"tool": "run_pipeline", "arguments": {"name": "echo", "arguments": {"text": "text"}}}
    assert not (await client.call_tool(example["tool"], example["arguments"])).is_error


async def test_a_pipeline_that_is_not_there_is_a_result_that_says_so(client: Client) -> None:
    for tool in ("describe_pipeline", "run_pipeline"):
        for name in ("nowhere", "hidden", "run_pipeline"):
            answered = await client.call_tool(tool, {"name": name})
            assert answered.is_error
            assert f"no pipeline named {name}" in answered.content[0].text


@pytest.mark.parametrize("mode", ["direct", "search", "auto"])
async def test_a_pipeline_runs_alike_by_its_own_tool_and_by_run_pipeline(tmp_path: Path, mode: Mode) -> None:
    async with connected(tmp_path, mode) as client:
        own = await client.call_tool("steps", {"count": 3})
        named = await client.call_tool("run_pipeline", {"name": "steps", "arguments": {"count": 3}})
        assert own.structured_content == named.structured_content == {"result": 3}
        assert own.content == named.content
        bad = await client.call_tool("run_pipeline", {"name": "steps", "arguments": {"count": "x"}})
        same = await client.call_tool("steps", {"count": "x"})
        assert bad.is_error and bad.content == same.content
        block = await client.call_tool("run_pipeline", {"name": "picture"})
        assert block.content[0].text == "a block" and block.structured_content is None


@pytest.mark.parametrize("era", ["legacy", "auto"])
async def test_run_pipeline_reports_progress_as_the_pipelines_own_tool_does(
    served: Served, era: ClientMode
) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))

    async with served.client("http", era) as client:
        await client.call_tool("steps", {"count": 3}, progress_callback=hear)
        own, heard[:] = [*heard], []
        arguments = {"name": "steps", "arguments": {"count": 3}}
        await client.call_tool("run_pipeline", arguments, progress_callback=hear)
    assert [message for _, _, message in own] == ["step 0", "step 1", "step 2"]
    assert heard == own


@pytest.mark.parametrize("era", ["legacy", "auto"])
async def test_a_question_of_run_pipeline_reaches_the_caller(tmp_path: Path, era: Any) -> None:
    async def answer(_: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert params.message == "Who are you?"
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async with connected(tmp_path, "search", mode=era, elicitation_callback=answer) as client:
        result = await client.call_tool("run_pipeline", {"name": "greet", "arguments": {}})
    assert result.structured_content == {"result": "Hello Ada"}


async def test_cancelling_run_pipeline_stops_the_pipeline(client: Client, tmp_path: Path) -> None:
    started, stopped = tmp_path / "started", tmp_path / "stopped"
    arguments = {"name": "wait", "arguments": {"started": str(started), "stopped": str(stopped)}}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "run_pipeline", arguments)
        with anyio.fail_after(20):
            while not started.exists():
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    with anyio.fail_after(20):
        while not stopped.exists():
            await anyio.sleep(0.01)


async def test_an_unknown_tool_is_a_protocol_error_in_search_mode_too(client: Client) -> None:
    for name in ("nowhere", "hidden"):
        with pytest.raises(MCPError) as refused:
            await client.call_tool(name, {})
        assert refused.value.error.code == types.INVALID_PARAMS


@pytest.mark.parametrize("stated", [{"version": "one"}, {"stage": "archived"}, {"arguments": []}])
async def test_run_pipeline_refuses_what_it_cannot_honour(client: Client, stated: Json) -> None:
    result = await client.call_tool("run_pipeline", {"name": "echo"} | stated)
    assert result.is_error and next(iter(stated)) in result.content[0].text


async def test_a_deploy_says_how_to_call_what_is_not_listed(client: Client) -> None:
    files = {"pipeline_wrapper.py": wrapper(WRAPPERS["echo"])}
    result = await client.call_tool("deploy_pipeline", {"name": "again", "files": files})
    assert "run_pipeline with the name again" in (result.structured_content or {})["next"]


def test_words_of_camel_and_snake_case_and_of_other_scripts_are_found_apart() -> None:
    assert words("translateText top_k ÜBER 翻訳 v2") == [
        "translat",
        "text",
        "top",
        "k",
        "über",
        "翻",
        "訳",
        "v",
        "2",
    ]
    assert words("translates translating translated") == ["translat"] * 3


def test_a_rare_word_counts_more_than_a_common_one_and_a_name_more_than_a_description() -> None:
    entries = [pipeline(f"p{n}", "translates a text") for n in range(9)]
    entries += [pipeline("rare", "translates klingon"), pipeline("klingon", "does something else")]
    index = made(snapshot(*entries), Toolset(), "search", Caller()).index
    assert index.search("translate something for a klingon", 11)[2:] == [f"p{n}" for n in range(9)]
    assert index.search("klingon", 5) == ["klingon", "rare"]


def test_a_thousand_pipelines_are_searched_within_milliseconds() -> None:
    field = {"type": "string", "description": "What the pipeline is to look for in its documents."}
    text = "Answers questions about the archive of department {n}, with sources and a short summary of each."
    entries = [pipeline(f"archive_{n}", text.format(n=n), query=field, top=field) for n in range(1000)]
    began = time.perf_counter()
    index = made(snapshot(*entries), Toolset(), "auto", Caller()).index
    built = time.perf_counter()
    assert index.search("archive of department 617", 5)[0] == "archive_617"
    assert built - began < 2 and time.perf_counter() - built < 0.2


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 5}}, "required": ["a"]},
        {
            "type": "object",
            "properties": {"a": {"type": ["number", "null"], "maximum": -1}},
            "required": ["a"],
        },
        {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string", "minLength": 9}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string", "format": "date-time"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"anyOf": [{"type": "boolean"}, {}]}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"]}
        | {"$defs": {"A": {"type": "array", "items": {"type": "object", "required": ["b"]}, "minItems": 1}}},
        {"type": "object", "properties": {"a": {"type": "string"}}},
    ],
)
def test_the_example_of_a_call_fits_its_schema(schema: Json) -> None:
    Arguments(schema).check(sample(schema))


def test_a_schema_that_refers_to_itself_has_an_example() -> None:
    schema: Json = {
        "$ref": "#/$defs/A",
        "$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"]}},
    }
    assert "a" in sample(schema)


def test_an_index_of_nothing_finds_nothing() -> None:
    assert Index({}, {}).search("anything", 5) == []
