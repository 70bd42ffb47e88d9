"""The server inside another program: mounted under a prefix, with pipelines that the program made."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from clients import START_LIMIT, until
from fastapi import FastAPI
from haystack import Pipeline, component
from haystack.components.builders import PromptBuilder
from mcp import Client
from mcp.client.sse import sse_client
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from mcp_server import PipelineWrapper, Settings, create_app
from mcp_server.app import App
from mcp_server.errors import Conflict, Invalid, NotFound

pytestmark = pytest.mark.anyio
PAGE = Path(__file__).parents[1] / "docs" / "embedding.md"


class Greeting(PipelineWrapper):
    """Its configuration is given where it is made."""

    def __init__(self, word: str = "Hello") -> None:
        self.word = word
        self.title = f"Say {word}"
        self.ready = 0

    def setup(self) -> None:
        self.ready += 1

    def teardown(self) -> None:
        self.ready -= 1

    def run_api(self, name: str) -> str:
        """Greet somebody."""
        return f"{self.word}, {name}!"


@component
class Counter:
    """Holds what no YAML can hold."""

    def __init__(self, lock: object) -> None:
        self.lock = lock

    @component.output_types(length=int)
    def run(self, text: str) -> dict[str, int]:
        return {"length": len(text)}


@pytest.fixture
def app(tmp_path: Path) -> App:
    return create_app(Settings(state=tmp_path / "state"))


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Serve on a real socket, as any program does; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", ws="websockets-sansio"))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        with anyio.fail_after(START_LIMIT):
            while not server.started:
                await anyio.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


def question() -> Pipeline:
    made = Pipeline(metadata={"mcp": {"title": "Ask", "read_only": True}})
    made.add_component("prompt", PromptBuilder("Tell me about {{ topic }}.", required_variables=["topic"]))
    return made


def mounted(app: App, kind: str) -> ASGIApp:
    if kind == "starlette":
        return Starlette(routes=[Mount("/a/tools", app)], lifespan=app.lifespan)
    outer = FastAPI(lifespan=app.lifespan)
    outer.mount("/a/tools", app)
    return outer


@pytest.mark.parametrize("kind", ["starlette", "fastapi"])
async def test_a_mounted_server_answers_below_its_prefix_on_every_address(app: App, kind: str) -> None:
    app.server.register("hello", Greeting)
    async with served(mounted(app, kind)) as url:
        for target in (f"{url}/a/tools/mcp", f"{url}/a/tools/mcp/", sse_client(f"{url}/a/tools/sse")):
            async with Client(target) as client:
                answer = await client.call_tool("hello", {"name": "Ada"})
            assert answer.structured_content == {"result": "Hello, Ada!"}
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/a/tools/status")).json()["pipelines"] == ["hello"]
            assert (await client.get("/status")).status_code == 404


@pytest.mark.parametrize("kind", ["starlette", "fastapi"])
async def test_a_server_whose_lifespan_was_forgotten_says_what_to_do(app: App, kind: str) -> None:
    outer = FastAPI() if kind == "fastapi" else Starlette()
    outer.mount("/tools", app)
    async with served(outer) as url, httpx.AsyncClient(base_url=url) as client:
        for path in ("/tools/status", "/tools/mcp", "/tools/nowhere"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert "lifespan=app.lifespan" in answer.json()["error"]["message"]


async def test_registered_pipelines_are_listed_called_and_described_like_any_other(app: App) -> None:
    loud = Greeting("HELLO")
    app.server.register("loud", loud)
    app.server.register("quiet", Greeting("psst"))
    app.server.register("question", question())
    async with served(app) as url, Client(f"{url}/mcp") as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert (listed["loud"].title, listed["quiet"].title) == ("Say HELLO", "Say psst")
        assert listed["question"].annotations and listed["question"].annotations.read_only_hint
        said = [await client.call_tool(name, {"name": "Ada"}) for name in ("loud", "quiet")]
        assert [each.structured_content for each in said] == [
            {"result": "HELLO, Ada!"},
            {"result": "psst, Ada!"},
        ]
        asked = await client.call_tool("question", {"topic": "tea"})
        assert asked.structured_content == {"prompt": {"prompt": "Tell me about tea."}}
        status = (await client.call_tool("get_pipeline_status", {"pipeline_name": "loud"})).structured_content
        assert status and (status["status"], status["version"], status["warnings"]) == ("running", "1", [])
        versions = (await client.call_tool("list_versions", {"name": "loud"})).structured_content
        assert versions and [
            (each["version"], each["stage"], each["unsaved"]) for each in versions["versions"]
        ] == [("1", "production", True)]
        source = await client.read_resource("pipeline://question/source/pipeline.yml")
        assert "PromptBuilder" in source.contents[0].model_dump()["text"]
        assert loud.ready == 1
    assert loud.ready == 0


async def test_a_pipeline_that_no_yaml_can_hold_serves_without_a_source(app: App) -> None:
    held = Pipeline()
    held.add_component("count", Counter(asyncio.Lock()))
    app.server.register("count", held)
    async with served(app) as url, Client(f"{url}/mcp") as client:
        answer = await client.call_tool("count", {"text": "four"})
        assert answer.structured_content == {"count": {"length": 4}}
        assert (await app.server.catalog.source("count")).files == {}


async def test_a_registered_pipeline_goes_before_the_folders_and_is_gone_with_the_program(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "pipelines"
    (folder / "hello").mkdir(parents=True)
    (folder / "hello" / "pipeline_wrapper.py").write_text(
        "class PipelineWrapper:\n    def run_api(self) -> str:\n        'Old.'\n        return 'folder'\n"
    )
    settings = Settings(folder=folder, state=tmp_path / "state", engine="local")
    first, second = create_app(settings), create_app(settings)
    first.server.register("hello", Greeting("Hi"))
    async with served(first) as url, Client(f"{url}/mcp") as client:
        answer = await client.call_tool("hello", {"name": "Ada"})
        assert answer.structured_content == {"result": "Hi, Ada!"}
    async with served(second) as url, Client(f"{url}/mcp") as client:
        assert (await client.call_tool("hello", {})).structured_content == {"result": "folder"}


async def test_a_registered_pipeline_can_be_undeployed_and_replaced(app: App) -> None:
    app.server.register("hello", Greeting("Hi"))
    text = "class PipelineWrapper:\n    def run_api(self) -> str:\n        'New.'\n        return 'new'\n"
    async with served(app):
        catalog = app.server.catalog
        with anyio.fail_after(START_LIMIT):
            await catalog.ready()
            with pytest.raises(Conflict):
                await catalog.deploy("hello", {"pipeline_wrapper.py": text}, keep=False)
            await catalog.undeploy("hello")
            with pytest.raises(NotFound):
                await catalog.find("hello")
            await catalog.deploy("hello", {"pipeline_wrapper.py": text}, keep=False)
            assert (await catalog.find("hello")).origin == "upload"


class Unfit(Greeting):
    timeout: Any = "soon"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("hello", object(), "register a Haystack Pipeline, or an object or a class with run_api"),
        ("hello", Unfit, "`timeout` must be a number of seconds"),
        ("no name", Greeting, "Not a name"),
        ("status", Greeting, "reserved"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(app: App, name: str, value: object, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        app.server.register(name, value)


async def test_what_fails_to_load_says_so_in_its_status_and_the_others_serve(app: App) -> None:
    class Failing(Greeting):
        def setup(self) -> None:
            raise ValueError("no key")

    app.server.register("bad", Failing)
    app.server.register("good", Greeting)
    async with served(app):

        async def settled() -> bool:
            return {each.status for each in app.server.catalog.statuses()} == {"running", "error"}

        await until(settled, START_LIMIT)
        assert "no key" in (app.server.catalog.status("bad").error or "")


async def test_it_is_too_late_once_the_server_is_open_and_names_are_given_once(app: App) -> None:
    app.server.register("hello", Greeting)
    with pytest.raises(Conflict, match="once"):
        app.server.register("hello", Greeting)
    async with served(app):
        with pytest.raises(Conflict, match="before the server opens"):
            app.server.register("other", Greeting)


async def test_the_program_in_the_documents_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SERVER_STATE", str(tmp_path))
    section = PAGE.read_text()
    names: dict[str, Any] = {"__name__": "program"}
    exec(section.partition("```python\n")[2].partition("```")[0], names)
    async with served(names["app"]) as url, Client(f"{url}/tools/mcp") as client:
        answer = await client.call_tool("goodbye", {"name": "Ada"})
        assert answer.structured_content == {"result": "Goodbye, Ada!"}
        answer = await client.call_tool("question", {"topic": "tea"})
        assert answer.structured_content == {"prompt": {"prompt": "Tell me about tea."}}
