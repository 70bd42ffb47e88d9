"""A folder of pipelines, a state folder, and catalogs on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import orjson
import pytest

from mcp_server.catalog import Catalog, Stage
from mcp_server.engines.routing import RoutingEngine
from mcp_server.models import Caller, Run, Status
from mcp_server.runs import Runs
from mcp_server.settings import Settings
from mcp_server.store.history import History

LIMIT = 20.0
"""Seconds after which a condition will not come true any more."""

YAML = """
components:
  prompt:
    type: haystack.components.builders.prompt_builder.PromptBuilder
    init_parameters:
      template: "Hello {{ name }}"
connections: []
"""


def wrapper(adds: int = 1, *, before: str = "", inside: str = "") -> str:
    """A wrapper that adds a number to its argument; its description tells which."""
    return f'''{before}
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    {inside}

    def run_api(self, number: int) -> int:
        """Adds {adds}."""
        return number + {adds}
'''


class Place:
    """The folders of a test, and short ways to fill them and to open catalogs on them."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "pipelines"
        self.state = root / "state"
        self.folder.mkdir()

    def write(self, path: str, content: str | bytes) -> Path:
        """Write a file of the user's folder."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def pipeline(self, name: str, text: str | None = None) -> Path:
        """Write a wrapper."""
        return self.write(f"{name}/pipeline_wrapper.py", text or wrapper())

    @asynccontextmanager
    async def server(self, *, wait: bool = True, **settings: object) -> AsyncIterator[Opened]:
        """An open catalog with an engine of its own, as one server has it; by default when all is loaded."""
        given = Settings.model_validate(
            {"folder": self.folder, "state": self.state, "engine": "local"} | settings
        )
        async with (
            RoutingEngine(given) as engine,
            Catalog(given, engine) as catalog,
            History(None) as history,
        ):
            opened = Opened(catalog, Runs(catalog, engine, given, history, engine.slots))
            if wait:
                await opened.settled()
            yield opened


class Opened:
    """One server's catalog, and calls through it."""

    def __init__(self, catalog: Catalog, runs: Runs) -> None:
        self.catalog = catalog
        self._runs = runs

    @property
    def tools(self) -> list[str]:
        """The names of the listed tools."""
        return [tool["name"] for tool in self.catalog.snapshot.tools]

    async def settled(self) -> None:
        """Wait until nothing is loading any more."""
        await self.catalog.ready(LIMIT)
        await until(lambda: all(each.status != "loading" for each in self.catalog.statuses()))

    async def deploy(self, name: str, text: str | None = None, **how: bool) -> Status:
        """Deploy a wrapper; without a text, what is remembered under the name."""
        files = {} if text is None else {"pipeline_wrapper.py": text}
        return await self.catalog.deploy(name, files, **how)

    async def add(
        self,
        name: str,
        number: object,
        *,
        caller: Caller | None = None,
        version: int | None = None,
        stage: Stage | None = None,
    ) -> object:
        """What the pipeline answers."""
        return self.value(await self.run(name, number, caller=caller, version=version, stage=stage))

    async def run(
        self,
        name: str,
        number: object,
        *,
        caller: Caller | None = None,
        version: int | None = None,
        stage: Stage | None = None,
    ) -> Run:
        """A run of the pipeline, ended."""
        live = await self._runs.start(
            caller or Caller(), name, {"number": number}, version=version, stage=stage
        )
        await live.end()
        return live.run

    def value(self, run: Run) -> object:
        """What the run gave, which must not be an error."""
        assert run.result is not None and run.result.structured is not None, run.result
        return orjson.loads(run.result.structured)["result"]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a bound."""
    with anyio.fail_after(LIMIT):
        while not condition():
            await anyio.sleep(0.01)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
