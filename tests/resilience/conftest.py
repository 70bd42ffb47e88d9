"""What the resilience tests share: small pipelines, a server over them, and how long a form is wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from clients import Served, loaded, serve

from .sockets import close_all

PIPELINES = {
    "echo": '''
    async def run_api_async(self, text: str) -> str:
        """Gives the text back."""
        return text
''',
    "nap": '''
    async def run_api_async(self, text: str, seconds: float) -> str:
        """Gives the text back, later."""
        await asyncio.sleep(seconds)
        return text
''',
    "ask": '''
    def run_api(self, context: Context) -> str:
        """Asks, and says what was answered."""
        return context.ask("Sure?", {"type": "object", "properties": {}}).action
''',
    "stuck": '''
    group = "stuck"

    def run_api(self, seconds: float) -> str:
        """Hangs where nothing can reach it."""
        time.sleep(seconds)
        return "woke"
''',
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    for name, body in PIPELINES.items():
        (made / name).mkdir()
        head = "import asyncio\nimport time\nfrom mcp_server import Context, PipelineWrapper as Base\n\n\n"
        (made / name / "pipeline_wrapper.py").write_text(f"{head}class PipelineWrapper(Base):{body}")
    return made


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    """A module that wants another server has a fixture of this name."""
    return ()


@pytest.fixture(scope="module")
async def served(folder: Path, flags: tuple[str, ...]) -> AsyncIterator[Served]:
    async with serve(folder, *flags) as running:
        await loaded(running.url)
        yield running


@pytest.fixture(autouse=True)
async def bounded(long: bool) -> AsyncIterator[None]:
    with anyio.fail_after(1800 if long else 120):
        try:
            yield
        finally:
            await close_all()


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """True if the long form was asked for."""
    return bool(request.config.getoption("--long"))
