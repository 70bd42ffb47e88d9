"""Resources: those of pipelines and the server's own, read and followed by clients of both protocol eras."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import mcp_types as types
import pytest
from clients import Mode, Served, Transport, until
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated

from .conftest import wrapper

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:resources/.*subscribe is removed"),  # what older clients still call
]

SHOP = '''
    from mcp_server import prompt, resource
    from pydantic import BaseModel

    title = "Shop"
    tags = ["sales"]

    class Reader(BaseModel):
        name: str

    def run_api(self, context: Context, updates: str = "shop://items/1") -> str:
        """Sells an item."""
        context.resource_updated(updates)
        return "sold"

    @resource("shop://hours", mime_type="text/plain")
    def hours(self) -> str:
        """When it is open."""
        return "9 to 5"

    @resource("shop://logo", mime_type="image/png")
    def logo(self) -> bytes:
        return b"\\x89PNG"

    @resource("shop://items/{number}")
    async def item(self, number: int) -> dict:
        """An item."""
        if number > 99:
            raise ValueError("there are 99 items")
        return {"number": number}

    @resource("shop://greeting")
    def greeting(self, context: Context) -> str:
        """Greets who reads it."""
        answer = context.ask("Who are you?", self.Reader)
        return f"Hello {answer.value.name}"
'''
SECOND = '''
    from mcp_server import resource

    hidden = True

    def run_api(self) -> str:
        """Is no tool."""
        return ""

    @resource("shop://hours")
    def hours(self) -> str:
        return "never"

    @resource("shop://away")
    def away(self) -> str:
        return "closed"
'''
PLAIN = wrapper('def run_api(self) -> str:\n    """Answers."""\n    return "plain"\n')
PUBLISHES = wrapper(
    "from mcp_server import resource\n"
    'def run_api(self) -> str:\n    """Answers."""\n    return "plain"\n'
    '@resource("more://it")\ndef it(self) -> str:\n    return "it"\n'
)
ASKS = wrapper(
    "def run_api(self, context: Context) -> str:\n"
    '    """Asks."""\n'
    '    answer = context.ask("Sure?", {"type": "object", "properties": {}})\n'
    "    return answer.action\n"
)
YAML = """
components:
  builder:
    type: haystack.components.builders.prompt_builder.PromptBuilder
    init_parameters: {template: "Say {{ word }}"}
connections: []
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    for name, body in {"shop": SHOP, "shop_two": SECOND}.items():
        (made / name / "texts").mkdir(parents=True)
        (made / name / "pipeline_wrapper.py").write_text(wrapper(body))
        (made / name / "texts" / "note.txt").write_text("a note")
    (made / "teller.yml").write_text(YAML)
    return made


@pytest.fixture(scope="module", params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


async def greet(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ada"})


@pytest.fixture(scope="module")
async def client(served: Served, mode: Mode) -> AsyncIterator[Client]:
    async with served.client("http", mode, elicitation_callback=greet) as connected:
        yield connected


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(60):
        yield


async def text_of(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, types.TextResourceContents) and content.uri == uri
    return content.text


async def test_the_capabilities_say_that_lists_change_and_resources_can_be_followed(client: Client) -> None:
    capabilities = client.server_capabilities
    assert capabilities.resources is not None and capabilities.prompts is not None
    assert (capabilities.resources.subscribe, capabilities.resources.list_changed) == (True, True)
    assert capabilities.prompts.list_changed is True
    assert capabilities.completions is not None


async def test_cards_are_listed_first_then_what_pipelines_publish(client: Client) -> None:
    listed = (await client.list_resources()).resources
    uris = [resource.uri for resource in listed]
    cards = [f"pipeline://{tool.name}" for tool in (await client.list_tools()).tools if "_" not in tool.name]
    assert [uri for uri in uris if uri in cards] == cards == ["pipeline://shop", "pipeline://teller"]
    assert uris[-5:] == [
        *("shop://hours", "shop://logo", "shop://greeting", "shop://away", "pipeline://teller/diagram")
    ]
    hours = listed[uris.index("shop://hours")]
    assert (hours.name, hours.description, hours.mime_type) == ("hours", "When it is open.", "text/plain")


async def test_templates_of_the_server_come_before_those_of_pipelines(client: Client) -> None:
    templates = [each.uri_template for each in (await client.list_resource_templates()).resource_templates]
    assert templates[:5] == [
        "pipeline://{name}",
        "pipeline://{name}/diagram",
        "pipeline://{name}/versions/{version}",
        "pipeline://{name}/source/{+path}",
        "pipeline://{name}/versions/{version}/source/{+path}",
    ]
    assert templates[-1] == "shop://items/{number}"


async def test_lists_and_contents_say_how_long_they_may_be_kept(served: Served) -> None:
    async with served.client("http", "auto") as client:
        lists = await client.list_resources(), await client.list_resource_templates()
        read = await client.read_resource("shop://hours")
    assert {(each.ttl_ms, each.cache_scope) for each in lists} == {(0, "public")}
    assert (read.ttl_ms, read.cache_scope) == (0, "private")


@pytest.mark.parametrize(
    ("uri", "text"),
    [("shop://hours", "9 to 5"), ("shop://items/7", '{"number":7}'), ("shop://away", "closed")],
)
async def test_a_resource_gives_what_its_method_gives(client: Client, uri: str, text: str) -> None:
    assert await text_of(client, uri) == text


async def test_a_version_has_a_card_of_its_own(client: Client) -> None:
    card = json.loads(await text_of(client, "pipeline://teller/versions/1"))
    assert (card["version"], card["stage"]) == ("1", "production")
    assert datetime.fromisoformat(card["deployed"]) >= datetime.fromisoformat(card["created"])
    with pytest.raises(MCPError, match="Unknown resource"):
        await client.read_resource("pipeline://teller/versions/9")


async def test_bytes_are_a_blob_with_their_type(client: Client) -> None:
    (content,) = (await client.read_resource("shop://logo")).contents
    assert isinstance(content, types.BlobResourceContents) and content.mime_type == "image/png"
    assert base64.b64decode(content.blob) == b"\x89PNG"


async def test_a_resource_may_ask_who_reads_it(client: Client) -> None:
    assert await text_of(client, "shop://greeting") == "Hello Ada"


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "shop://nothing",
            "shop://items/1/2",
            "",
            "nonsense",
            "pipeline://nowhere",
            "pipeline://shop/other",
        ),
        *("pipeline://shop/diagram", "pipeline://shop/source/none.py", "pipeline://shop/source/../../passwd"),
        *(f"pipeline://shop/versions/{number}/source/pipeline_wrapper.py" for number in ("9", "0", "x", "²")),
        "pipeline://shop/versions/1/source/../../../state.db",
        *("run://0123", "run://0123/artifacts/x", "run:x", "file:///etc/passwd", "x" * 10_000),
    ],
)
async def test_an_unknown_resource_is_an_error_that_names_it(client: Client, uri: str) -> None:
    with pytest.raises(MCPError) as refused:
        await client.read_resource(uri)
    assert refused.value.error.code == types.INVALID_PARAMS
    assert refused.value.error.data == {"uri": uri[:4096]}


async def test_a_resource_whose_method_fails_is_an_error_with_its_reason(client: Client) -> None:
    with pytest.raises(MCPError, match="there are 99 items") as failed:
        await client.read_resource("shop://items/100")
    assert failed.value.error.code == types.INTERNAL_ERROR
    with pytest.raises(MCPError, match="`number`") as refused:
        await client.read_resource("shop://items/many")
    assert refused.value.error.code == types.INVALID_PARAMS


async def test_the_card_of_a_pipeline_tells_its_schemas_version_and_statistics(client: Client) -> None:
    await client.call_tool("shop", {})
    card = json.loads(await text_of(client, "pipeline://shop"))
    assert (card["name"], card["title"], card["status"]) == ("shop", "Shop", "running")
    assert (card["description"], card["version"], len(card["digest"])) == ("Sells an item.", "1", 64)
    assert card["inputSchema"]["type"] == "object" and "outputSchema" in card
    assert card["statistics"]["calls"] >= 1
    assert card["warnings"] == []


async def test_who_publishes_what_another_one_published_first_is_told(client: Client) -> None:
    status = await client.call_tool("get_pipeline_status", {"pipeline_name": "shop_two"})
    assert status.structured_content is not None
    (warning,) = status.structured_content["warnings"]
    assert warning.startswith("shop publishes `shop://hours` too")


async def test_the_diagram_of_a_haystack_pipeline_is_mermaid(client: Client) -> None:
    diagram = await text_of(client, "pipeline://teller/diagram")
    assert "graph TD" in diagram and "PromptBuilder" in diagram


async def test_the_source_of_a_pipeline_can_be_read_file_by_file(client: Client, folder: Path) -> None:
    written = (folder / "shop" / "pipeline_wrapper.py").read_text()
    assert await text_of(client, "pipeline://shop/source/pipeline_wrapper.py") == written
    assert await text_of(client, "pipeline://shop/source/texts/note.txt") == "a note"
    assert await text_of(client, "pipeline://shop/source/texts%2Fnote.txt") == "a note"
    assert await text_of(client, "pipeline://teller/source/teller.yml") == YAML


async def test_a_toolset_publishes_what_its_pipelines_do(served: Served, mode: Mode) -> None:
    async with Client(f"{served.url}/mcp/sales", mode=mode) as client:
        uris = [resource.uri for resource in (await client.list_resources()).resources]
        assert uris == ["pipeline://shop", "shop://hours", "shop://logo", "shop://greeting"]
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["write_pipeline"]
        assert await text_of(client, "shop://items/7") == '{"number":7}'
        with pytest.raises(MCPError, match="Unknown resource"):
            await client.read_resource("shop://away")


class Follower:
    """A client that hears of changes in its era's way."""

    def __init__(self, client: Client, events: Callable[[], Awaitable[object]]) -> None:
        self.client = client
        self._events = events

    async def next(self) -> str:
        """The next thing heard: the URI of a resource, or the list that changed."""
        match await self._events():
            case types.ResourceUpdatedNotification(params=params):
                return params.uri
            case ResourceUpdated(uri=uri):
                return uri
            case types.ResourceListChangedNotification() | ResourcesListChanged():
                return "resources"
            case types.PromptListChangedNotification() | PromptsListChanged():
                return "prompts"
            case other:
                return type(other).__name__

    async def updated(self) -> str:
        """The next resource that was updated."""
        while ":" not in (heard := await self.next()):
            continue
        return heard


@asynccontextmanager
async def following(
    served: Served, transport: Transport, mode: Mode, *uris: str, lists: bool = False
) -> AsyncIterator[Follower]:
    send, receive = anyio.create_memory_object_stream[Any](100)

    async def hear(message: object) -> None:
        send.send_nowait(message)

    async with send, receive, served.client(transport, mode, message_handler=hear) as client:
        if mode == "legacy":
            for uri in uris:
                await client.subscribe_resource(uri)
            yield Follower(client, receive.receive)
            return
        async with client.listen(
            resource_subscriptions=uris, resources_list_changed=lists, prompts_list_changed=lists
        ) as stream:
            yield Follower(client, stream.__anext__)


@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
async def test_subscribers_hear_of_updates_of_their_resources_only(
    served: Served, transport: Transport, mode: Mode
) -> None:
    async with following(served, transport, mode, "shop://items/1", "shop://hours") as follower:
        for uri in ("shop://items/2", "shop://items/1", "shop://hours"):
            await follower.client.call_tool("shop", {"updates": uri})
        assert [await follower.updated(), await follower.updated()] == ["shop://items/1", "shop://hours"]


async def test_subscribers_hear_of_updates_by_runs_that_others_began_over_http(
    served: Served, mode: Mode
) -> None:
    async with (
        following(served, "http", mode, "shop://hours") as follower,
        httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=60) as http,
    ):
        assert (await http.post("/shop/run", json={"updates": "shop://hours"})).status_code == 200
        assert await follower.updated() == "shop://hours"


async def test_who_unsubscribed_hears_no_more(served: Served) -> None:
    async with following(served, "http", "legacy", "shop://items/1", "shop://hours") as follower:
        await follower.client.unsubscribe_resource("shop://items/1")
        for uri in ("shop://items/1", "shop://hours"):
            await follower.client.call_tool("shop", {"updates": uri})
        assert await follower.updated() == "shop://hours"


async def test_only_resources_that_are_there_can_be_subscribed_to(served: Served) -> None:
    async with served.client("http", "legacy") as client:
        with pytest.raises(MCPError) as refused:
            await client.subscribe_resource("shop://nothing")
    assert refused.value.error.code == types.INVALID_PARAMS


async def deploy(client: Client, name: str, text: str) -> None:
    arguments = {"name": name, "files": {"pipeline_wrapper.py": text}, "overwrite": True}
    assert not (await client.call_tool("deploy_pipeline", arguments)).is_error


async def test_a_list_is_announced_when_it_changed_and_only_then(served: Served, mode: Mode) -> None:
    name = f"more_{mode}"
    async with served.client() as other:
        await deploy(other, name, PLAIN)
        async with following(served, "http", mode, "pipeline://shop", lists=True) as follower:
            await deploy(other, name, PUBLISHES)
            heard = [await follower.next()]
            while heard[-1] != "resources":
                heard.append(await follower.next())
            assert "prompts" not in heard
            assert await text_of(follower.client, "more://it") == "it"
            await other.call_tool("undeploy_pipeline", {"pipeline_name": name})
            while await follower.next() != "resources":
                pass
            with pytest.raises(MCPError, match="Unknown resource"):
                await follower.client.read_resource("more://it")


async def test_a_new_version_updates_the_card(served: Served, mode: Mode) -> None:
    name = f"carded_{mode}"
    async with served.client() as other:
        await deploy(other, name, PLAIN)
        async with following(served, "http", mode, f"pipeline://{name}") as follower:
            await deploy(other, name, PLAIN.replace("Answers.", "Answers anew."))
            assert await follower.updated() == f"pipeline://{name}"
            card = json.loads(await text_of(follower.client, f"pipeline://{name}"))
            assert (card["description"], card["version"]) == ("Answers anew.", "2")


async def test_a_new_version_updates_the_diagram_and_the_source_and_staging_the_card(
    served: Served, mode: Mode
) -> None:
    name = f"staged_{mode}"
    card, source = f"pipeline://{name}", f"pipeline://{name}/source/pipeline_wrapper.py"
    async with served.client() as other:
        await deploy(other, name, PLAIN)
        async with following(served, "http", mode, card, source) as follower:
            await deploy(other, name, PLAIN.replace("Answers.", "Answers anew."))
            assert {await follower.updated(), await follower.updated()} == {card, source}
            assert "Answers anew." in await text_of(follower.client, source)
            await other.call_tool("set_stage", {"name": name, "version": "1", "stage": "staging"})
            assert await follower.updated() == card
            stages = json.loads(await text_of(follower.client, card))["stages"]
            assert stages == {"production": "2", "staging": "1"}


async def test_a_run_that_waits_can_be_read_under_its_id(served: Served) -> None:
    async with served.client("http", "legacy") as client:  # it declares nothing it could be asked by
        await deploy(client, "asks", ASKS)
        parked = await client.call_tool("asks", {})
        assert isinstance(parked.content[0], types.TextContent)
        run = parked.content[0].text.partition("Run ")[2].split()[0]
        view = json.loads(await text_of(client, f"run://{run}"))
        assert (view["run_id"], view["status"]) == (run, "waiting")
        await client.call_tool("cancel_run", {"run_id": run})

        async def ended() -> bool:
            return json.loads(await text_of(client, f"run://{run}"))["status"] == "cancelled"

        await until(ended)


async def test_who_follows_a_run_hears_when_it_waits_goes_on_and_ends(served: Served, mode: Mode) -> None:
    name = f"asks_{mode}"
    async with served.client("http", "legacy") as other:  # it declares nothing it could be asked by
        await deploy(other, name, ASKS)
        begun = await other.call_tool("start_run", {"name": name, "arguments": {}})
        assert begun.structured_content is not None
        run = begun.structured_content["run_id"]

        async def status() -> str:
            return json.loads(await text_of(other, f"run://{run}"))["status"]

        async def waits() -> bool:
            return await status() == "waiting"

        await until(waits)
        async with following(served, "http", mode, f"run://{run}") as follower:
            await other.call_tool("answer_run", {"run_id": run, "answers": {"answer": "decline"}})
            assert await follower.updated() == f"run://{run}"
            while await status() != "done":
                assert await follower.updated() == f"run://{run}"
