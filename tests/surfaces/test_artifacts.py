"""Over the wire: results that are too large, files beside a result, all kinds of content, stated schemas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from textwrap import dedent
from typing import Any

import anyio
import httpx
import pytest
from clients import Mode, Served, serve
from mcp import Client, MCPError
from mcp_types import ResourceLink, TextContent, TextResourceContents

from .test_node_clients import node, run

pytestmark = pytest.mark.anyio
__all__ = ["node"]

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {"$anchor": "place", "type": "object", "properties": {"city": {"type": "string"}}},
    },
    "properties": {"home": {"$ref": "#/$defs/address"}, "count": {"type": "integer"}},
    "allOf": [{"anyOf": [{"required": ["home"]}, {"required": ["count"]}]}],
    "if": {"properties": {"count": {"const": 2}}, "required": ["count"]},
    "then": {"required": ["home"]},
    "else": True,
    "additionalProperties": False,
}

WRAPPERS = {
    "long_text": '''
        def run_api(self) -> str:
            """Gives 250 000 bytes of text."""
            return "äbcd" * 50_000
    ''',
    "long_list": '''
        def run_api(self) -> list[dict[str, str]]:
            """Gives 3 MB of records."""
            return [{"id": str(number), "body": "x" * 100} for number in range(25_000)]
    ''',
    "untyped": '''
        def run_api(self):
            """Gives 3 MB and promises nothing."""
            return {"rows": ["x" * 100] * 30_000}
    ''',
    "strict": '''
        output_schema = {
            "type": "object",
            "properties": {"rows": {"type": "array", "minItems": 20_000}},
            "required": ["rows"],
        }

        def run_api(self) -> dict:
            """Promises more rows than can be sent."""
            return {"rows": ["x" * 100] * 20_000}
    ''',
    "picture": '''
        def run_api(self) -> Image:
            """Gives an image of 1.5 MB."""
            return Image(b"\\\\x89PNG\\\\r\\\\n\\\\x1a\\\\n" + bytes(1_500_000))
    ''',
    "huge": '''
        def run_api(self) -> str:
            """Gives more than anybody may."""
            return "x" * 40_000_000
    ''',
    "report": '''
        def run_api(self, context: Context) -> str:
            """Leaves files beside its answer."""
            context.artifact("notes.md", "# Notes")
            context.artifact("data.json", {"rows": [1, 2]})
            context.artifact("raw.bin", bytes(range(256)))
            return "done"
    ''',
    "blocks": '''
        def run_api(self) -> Reply[dict[str, int]]:
            """Gives every kind of block."""
            return Reply(
                Text("for you", audience="user", priority=0.5),
                "plain",
                Image(b"\\\\x89PNG\\\\r\\\\n\\\\x1a\\\\n", audience=("user", "assistant")),
                Audio(b"RIFF\\\\0\\\\0\\\\0\\\\0WAVE"),
                Embedded("note://1", "text"),
                ResourceLink("note://2", "second", mime_type="text/plain", size=7),
                structured={"hits": 2},
            )
    ''',
    "broken_promise": '''
        def run_api(self) -> str:
            """Says text and gives an image."""
            return Image(b"\\\\x89PNG\\\\r\\\\n\\\\x1a\\\\n")
    ''',
    "stated": f'''
        input_schema = {SCHEMA!r}
        output_schema = {{"type": "object", "$defs": {{"n": {{"type": "integer"}}}},
                         "properties": {{"seen": {{"$ref": "#/$defs/n"}}}}, "required": ["seen"]}}

        def run_api(self, context: Context, **arguments) -> dict:
            """Says what it was given."""
            return {{"seen": arguments.get("count", "none")}}
    ''',
    "routed": '''
        icons = [{"src": "https://example.com/icon.png", "mimeType": "image/png", "sizes": ["48x48"]}]

        def run_api(self, region: Annotated[str, Header("Region")], limit: int = 3) -> str:
            """Can be routed by its region."""
            return region
    ''',
}


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("pipelines")
    for name, body in WRAPPERS.items():
        (folder / name).mkdir()
        (folder / name / "pipeline_wrapper.py").write_text(wrapper(body))
    async with serve(folder) as running:
        yield running


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def wrapper(body: str) -> str:
    head = (
        "from typing import Annotated\n"
        "from mcp_server import Audio, Context, Embedded, Header, Image, PipelineWrapper as Base, Reply\n"
        "from mcp_server import ResourceLink, Text\n\n\n"
        "class PipelineWrapper(Base):\n"
    )
    lines = dedent(body).replace("\\\\", "\\").splitlines()
    return head + "\n".join(f"    {line}" for line in lines) + "\n"


def links(content: list[Any]) -> dict[str, ResourceLink]:
    return {block.name: block for block in content if isinstance(block, ResourceLink)}


async def whole(client: Client, uri: str) -> str:
    """The text of an artifact, read part by part."""
    text, address = "", uri
    with anyio.fail_after(30):
        while address:
            (part,) = (await client.read_resource(address)).contents
            assert isinstance(part, TextResourceContents)
            text += part.text
            address = (part.meta or {}).get("haystack-mcp-server/next")
    return text


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_long_text_is_cut_and_can_be_read_whole(served: Served, mode: Mode) -> None:
    async with served.client(mode=mode) as client:
        result = await client.call_tool("long_text", {})
        shown = result.content[0]
        assert isinstance(shown, TextContent)
        assert len(shown.text.encode()) < 21_000
        link = links(result.content)["result.txt"]
        assert shown.text.startswith("äbcd") and shown.text.endswith(f"{link.uri}?offset=20000")
        assert link.size == 250_000
        assert result.structured_content == {"result": "äbcd" * 50_000}
        assert await whole(client, link.uri) == "äbcd" * 50_000


async def test_the_rest_of_a_text_can_be_read_with_a_tool(served: Served) -> None:
    async with served.client() as client:
        result = await client.call_tool("long_text", {})
        text, address = result.content[0].text.split("\n… cut here")[0], result.content[0].text.split()[-1]
        with anyio.fail_after(30):
            while address:
                part = await client.call_tool("get_run", {"run_id": address})
                assert not part.is_error and part.structured_content is not None
                text += part.structured_content["text"]
                address = part.structured_content.get("_meta", {}).get("haystack-mcp-server/next")
        told = await client.call_tool("get_run", {"run_id": "run://abc/artifacts/none"})
        assert text == "äbcd" * 50_000
        assert told.is_error and "There is no artifact" in told.content[0].text


async def test_structured_content_above_a_mebibyte_is_shortened_to_its_schema(served: Served) -> None:
    async with served.client() as client:
        await client.list_tools()
        result = await client.call_tool("long_list", {})
        assert not result.is_error
        assert result.structured_content is not None
        rows = result.structured_content["result"]
        assert rows and rows[0] == {"id": "0", "body": "x" * 100}
        assert len(json.dumps(result.structured_content)) <= 80_000
        assert (result.meta or {})["haystack-mcp-server/run"]["partial"] is True
        told = json.loads(await whole(client, links(result.content)["result.json"].uri))
        assert len(told) == 25_000


async def test_structured_content_nobody_was_promised_is_left_out(served: Served) -> None:
    async with served.client() as client:
        result = await client.call_tool("untyped", {})
        assert not result.is_error and result.structured_content is None
        told = json.loads(await whole(client, links(result.content)["result.json"].uri))
        assert len(told["rows"]) == 30_000


async def test_a_result_that_no_shortening_fits_is_an_error_with_the_whole_beside_it(served: Served) -> None:
    async with served.client() as client:
        result = await client.call_tool("strict", {})
        assert result.is_error and result.structured_content is None
        assert (
            len(json.loads(await whole(client, links(result.content)["result.json"].uri))["rows"]) == 20_000
        )


async def test_a_large_image_becomes_a_link_in_its_place(served: Served) -> None:
    async with served.client() as client:
        result = await client.call_tool("picture", {})
        (link,) = result.content
        assert isinstance(link, ResourceLink)
        assert (link.name, link.mime_type, link.size) == ("content-0.png", "image/png", 1_500_008)


async def test_what_nobody_may_have_is_refused(served: Served) -> None:
    async with served.client() as client:
        result = await client.call_tool("huge", {})
        assert result.is_error and "more than the 33,554,432 allowed" in result.content[0].text


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_pipeline_leaves_files_beside_its_answer(served: Served, mode: Mode) -> None:
    async with served.client(mode=mode) as client:
        result = await client.call_tool("report", {})
        assert result.content[0].text == "done"
        left = links(result.content)
        assert {name: (each.mime_type, each.size) for name, each in left.items()} == {
            "notes.md": ("text/markdown", 7),
            "data.json": ("application/json", 14),
            "raw.bin": ("application/octet-stream", 256),
        }
        assert await whole(client, left["data.json"].uri) == '{"rows":[1,2]}'
        (raw,) = (await client.read_resource(left["raw.bin"].uri + "?offset=250")).contents
        assert raw.blob == "+vv8/f7/"
        for wrong in ("?offset=257", "?offset=x", "x"):
            with pytest.raises(MCPError) as refusal:
                await client.read_resource(left["raw.bin"].uri + wrong)
            assert refusal.value.code == -32602


async def test_a_reply_has_blocks_of_every_kind_and_structured_content(served: Served) -> None:
    async with served.client() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        result = await client.call_tool("blocks", {})
    assert tools["blocks"].output_schema is not None
    assert result.structured_content == {"hits": 2}
    assert [block.type for block in result.content] == [
        *("text", "text", "image", "audio", "resource", "resource_link")
    ]
    assert result.content[0].annotations.model_dump(exclude_none=True) == {
        "audience": ["user"],
        "priority": 0.5,
    }


async def test_a_tool_that_gives_blocks_promises_no_structured_content(served: Served) -> None:
    async with served.client() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        broken = await client.call_tool("broken_promise", {})
    assert tools["picture"].output_schema is None
    assert broken.is_error and "must annotate what it returns" in broken.content[0].text


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_stated_schema_is_served_untouched_and_enforced(served: Served, mode: Mode) -> None:
    async with served.client(mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        right = await client.call_tool("stated", {"count": 1})
        wrong = [
            await client.call_tool("stated", arguments)
            for arguments in ({}, {"count": 2}, {"other": 1, "count": 1}, {"home": {"city": 5}})
        ]
        unkept = await client.call_tool("stated", {"home": {"city": "Bonn"}})
    assert tools["stated"].input_schema == SCHEMA
    assert right.structured_content == {"seen": 1}
    assert all(each.is_error and "Invalid arguments" in each.content[0].text for each in wrong)
    assert unkept.is_error and "does not fit the output schema at seen" in unkept.content[0].text


async def test_a_header_parameter_is_listed_and_held_against_its_header(served: Served) -> None:
    async with served.client() as client:
        (tool,) = [tool for tool in (await client.list_tools()).tools if tool.name == "routed"]
        result = await client.call_tool("routed", {"region": "köln"})
    assert tool.input_schema["properties"]["region"]["x-mcp-header"] == "Region"
    assert [icon.src for icon in tool.icons or []] == ["https://example.com/icon.png"]
    assert result.structured_content == {"result": "köln"}
    assert await call_with_header(served.url, "eu") == 200
    assert await call_with_header(served.url, "us") == 400


async def call_with_header(url: str, region: str) -> int:
    """The status of a call for the region `eu` whose header says `region`."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "routed", "arguments": {"region": "eu"}, "_meta": meta}
    headers = {
        "Accept": "application/json, text/event-stream",
        "Mcp-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "routed",
        "Mcp-Param-Region": region,
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.post(f"{url}/mcp", json=body, headers=headers)).status_code


@pytest.mark.parametrize("kind", ["v1", "legacy", "auto"])
async def test_the_typescript_sdks_accept_every_large_result(node: str, served: Served, kind: str) -> None:
    names = ["long_text", "long_list", "untyped", "strict", "picture", "report", "blocks", "broken_promise"]
    met = json.loads(await run(node, "calls.mjs", kind, served.url, *names))
    assert [name for name in names if "refused" in met["results"][name]] == []
    assert [name for name in names if met["results"][name].get("isError")] == ["strict", "broken_promise"]
    assert len(met["results"]["long_list"]["structuredContent"]["result"]) < 25_000
