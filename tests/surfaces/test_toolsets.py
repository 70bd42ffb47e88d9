"""Toolsets: what `/mcp/{toolset}` and `--toolsets` serve, in both eras, and what they do not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent

import httpx
import mcp_types as types
import pytest
from clients import Mode, Served, parameters, serve
from mcp import Client
from mcp.shared.exceptions import MCPError

from mcp_server.catalog import Entry
from mcp_server.models import Caller
from mcp_server.surfaces.management import TOOLS
from mcp_server.surfaces.mcp.toolsets import DIRECT, Toolset, made

from .conftest import wrapper
from .test_modes import MANAGING, pipeline, snapshot

pytestmark = pytest.mark.anyio

TAGS = {
    "sort": ["lists"],
    "reverse": ["lists", "texts"],
    "shout": ["texts"],
    "plain": [],
    "odd": ["tools", "manage"],
}
RUNS = ["get_run", "answer_run", "cancel_run"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tagged")
    for name, tags in TAGS.items():
        body = f'''
            tags = {tags}

            def run_api(self, text: str = "") -> str:
                """Gives its name."""
                return "{name}"
        '''
        (place / name).mkdir()
        (place / name / "pipeline_wrapper.py").write_text(wrapper(dedent(body)))
    return place


@pytest.fixture(scope="module")
async def served(folder: Path) -> AsyncIterator[Served]:
    async with serve(folder) as running:
        yield running


async def names(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


@pytest.mark.parametrize("era", ["legacy", "auto"])
@pytest.mark.parametrize("end", ["", "/"])
async def test_a_toolset_serves_the_pipelines_of_its_tag(served: Served, era: Mode, end: str) -> None:
    async with Client(f"{served.url}/mcp/lists{end}", mode=era) as client:
        assert await names(client) == ["reverse", "sort", *RUNS]
        assert (await client.call_tool("sort", {})).structured_content == {"result": "sort"}
        named = await client.call_tool("run_pipeline", {"name": "reverse"})
        assert named.structured_content == {"result": "reverse"}


@pytest.mark.parametrize("era", ["legacy", "auto"])
async def test_a_toolset_serves_nothing_else(served: Served, era: Mode) -> None:
    async with Client(f"{served.url}/mcp/lists", mode=era) as client:
        for name in ("shout", "deploy_pipeline", "get_all_pipeline_statuses"):
            with pytest.raises(MCPError) as refused:
                await client.call_tool(name, {})
            assert refused.value.error.code == types.INVALID_PARAMS
        for tool in ("run_pipeline", "describe_pipeline"):
            assert (await client.call_tool(tool, {"name": "shout"})).is_error
        found = await client.call_tool("search_pipelines", {"query": ""})
        assert (found.structured_content or {})["of"] == 2


@pytest.mark.parametrize("era", ["legacy", "auto"])
async def test_manage_serves_every_management_tool_and_runs_every_pipeline(served: Served, era: Mode) -> None:
    async with Client(f"{served.url}/mcp/manage", mode=era) as client:
        assert await names(client) == [tool["name"] for tool in TOOLS]
        ran = await client.call_tool("run_pipeline", {"name": "shout"})
        assert ran.structured_content == {"result": "shout"}
        listed = await client.call_tool("get_all_pipeline_statuses", {})
        assert len((listed.structured_content or {})["pipelines"]) == len(TAGS)


@pytest.mark.parametrize("name", ["nowhere", "health", "tools", "plain", "Lists"])
async def test_an_unknown_toolset_is_not_found(served: Served, name: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for path in (f"/mcp/{name}", f"/mcp/{name}/"):
            answered = await client.post(served.url + path, json={})
            assert answered.status_code == 404
            assert name in answered.json()["error"]["message"]


async def test_mcp_itself_serves_everything(served: Served) -> None:
    async with served.client() as client:
        assert await names(client) == [*sorted(TAGS), *MANAGING]


@pytest.mark.parametrize(
    ("toolsets", "expected"),
    [
        ("texts", ["reverse", "shout", *RUNS]),
        ("texts,lists", ["reverse", "shout", "sort", *RUNS]),
        ("texts,manage", ["reverse", "shout", *(tool["name"] for tool in TOOLS)]),
        ("nowhere", RUNS),
    ],
)
async def test_the_setting_limits_what_stdio_serves(
    folder: Path, tmp_path: Path, toolsets: str, expected: list[str]
) -> None:
    async with Client(parameters(folder, tmp_path, "--toolsets", toolsets)) as client:
        assert await names(client) == expected


async def test_the_setting_limits_mcp_and_sse_but_no_toolset_of_its_own_address(folder: Path) -> None:
    async with serve(folder, "--toolsets", "texts") as served:
        for transport in ("http", "sse"):
            async with served.client(transport) as client:
                assert await names(client) == ["reverse", "shout", *RUNS]
        async with Client(f"{served.url}/mcp/lists") as client:
            assert await names(client) == ["reverse", "sort", *RUNS]


async def test_a_toolset_outlives_its_last_pipeline(folder: Path) -> None:
    async with serve(folder) as served, Client(f"{served.url}/mcp/texts") as client:
        async with served.client() as manager:
            for name in ("shout", "reverse"):
                await manager.call_tool("undeploy_pipeline", {"pipeline_name": name})
        assert await names(client) == RUNS


def test_a_large_toolset_is_searched_and_a_small_one_of_the_same_server_listed() -> None:
    entries: list[Entry] = [pipeline(f"p{n:02}", tags=("large",)) for n in range(DIRECT + 1)]
    catalog = snapshot(*entries, pipeline("q", tags=("small",)))
    large, small = (made(catalog, Toolset(frozenset({tag})), "auto", Caller()) for tag in ("large", "small"))
    assert [*large.tools] == ["search_pipelines", "describe_pipeline", "run_pipeline", *RUNS]
    assert large.index.search("", 50) == [f"p{n:02}" for n in range(DIRECT + 1)]
    assert [*small.tools] == ["q", *RUNS]
