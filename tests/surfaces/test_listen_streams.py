"""Streams of changes (2026-07-28, `subscriptions/listen`): what they follow, and how many there may be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from clients import Served, loaded, until
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated

from mcp_server.settings import Settings

from .conftest import wrapper
from .raw import Connection

pytestmark = pytest.mark.anyio

OF_ONE = Settings().max_streams_per_caller

SHELF = '''
    from mcp_server import resource

    async def run_api_async(self, context: Context, count: int, uri: str) -> str:
        """Says many times that a resource was updated."""
        for number in range(count):
            context.resource_updated(uri)
            if number % 50 == 0:
                await asyncio.sleep(0)
        return "said"

    @resource("shelf://{title}")
    def book(self, title: str) -> str:
        return title
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    (made / "shelf").mkdir()
    (made / "shelf" / "pipeline_wrapper.py").write_text(wrapper(SHELF))
    return made


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(90):
        yield


def named(served: Served, name: str) -> Client:
    return served.client("http", "auto", client_info=types.Implementation(name=name, version="1"))


async def test_a_stream_follows_what_its_caller_may_read_and_says_so(served: Served) -> None:
    await loaded(served.url)
    wanted = ["shelf://one", "shelf://one", "pipeline://shelf", "run://0123", "nowhere://else"]
    async with named(served, "reader") as client, client.listen(resource_subscriptions=wanted) as stream:
        assert stream.honored.resource_subscriptions == ["shelf://one", "pipeline://shelf"]


async def test_too_many_resources_are_refused(served: Served) -> None:
    async with named(served, "reader") as client:
        with pytest.raises(MCPError, match="At most 1000 resources") as refused:
            async with client.listen(resource_subscriptions=[f"shelf://{n}" for n in range(1001)]):
                pass
    assert refused.value.error.code == types.INVALID_PARAMS


async def test_a_client_that_holds_many_streams_is_refused_one_more_and_no_other_is(served: Served) -> None:
    async with named(served, "greedy") as greedy, named(served, "modest") as modest:
        async with AsyncExitStack() as held:
            for _ in range(OF_ONE):
                await held.enter_async_context(greedy.listen(tools_list_changed=True))
            with pytest.raises(MCPError, match=f"holds {OF_ONE} streams") as refused:
                await held.enter_async_context(greedy.listen(tools_list_changed=True))
            assert refused.value.error.code == types.INTERNAL_ERROR
            async with modest.listen(resource_subscriptions=["shelf://one"]) as stream:
                await greedy.call_tool("shelf", {"count": 1, "uri": "shelf://one"})
                assert isinstance(await anext(stream), ResourceUpdated)

        async def free_again() -> bool:
            try:
                async with greedy.listen(tools_list_changed=True):
                    return True
            except MCPError:
                return False

        await until(free_again)


async def test_a_stream_that_is_not_read_ends_alone_and_takes_bounded_memory(served: Served) -> None:
    uri = "shelf://" + "x" * 4000
    async with named(served, "reader") as client, Connection(served.url) as deaf:
        await deaf.modern("subscriptions/listen", {"notifications": {"resourceSubscriptions": [uri]}})
        await deaf.read_until(b"acknowledged")
        before = served.memory()
        async with client.listen(resource_subscriptions=["shelf://last"]) as stream:
            for _ in range(10):
                await client.call_tool("shelf", {"count": 2000, "uri": uri})
            await client.call_tool("shelf", {"count": 1, "uri": "shelf://last"})
            assert isinstance(await anext(stream), ResourceUpdated)
        assert served.memory() - before < 60 * 2**20
