"""What a server that is killed leaves behind."""

from __future__ import annotations

import subprocess
import sys

import anyio
import pytest

from .conftest import Place

pytestmark = pytest.mark.anyio

DEPLOYING = """
import sys
from pathlib import Path
import anyio
from mcp_server.catalog import Catalog
from mcp_server.engines.routing import RoutingEngine
from mcp_server.settings import Settings

TEXT = '''
from mcp_server import PipelineWrapper as Base
class PipelineWrapper(Base):
    def run_api(self) -> int:
        return NUMBER
'''

async def main():
    settings = Settings(state=Path(sys.argv[1]), engine="local")
    async with RoutingEngine(settings) as engine, Catalog(settings, engine) as catalog:
        for number in range(1000):
            text = TEXT.replace("NUMBER", str(number))
            status = await catalog.deploy(f"p{number}", {"pipeline_wrapper.py": text})
            print(status.name, status.digest, flush=True)

anyio.run(main)
"""
"""Deploys one pipeline after the other and prints each that was acknowledged."""


async def test_a_killed_server_leaves_exactly_what_it_acknowledged(place: Place) -> None:
    command = [sys.executable, "-c", DEPLOYING, str(place.state)]
    text = ""
    async with await anyio.open_process(command, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        with anyio.fail_after(60):
            while text.count("\n") < 5:
                text += (await process.stdout.receive()).decode()
        process.kill()
        async for rest in process.stdout:
            text += rest.decode()
    acknowledged = dict(line.split() for line in text.splitlines(keepends=True) if line.endswith("\n"))
    async with place.server() as server:
        served = {each.name: each.digest for each in server.catalog.statuses() if each.status == "running"}
    assert acknowledged.items() <= served.items()
    assert len(served) <= len(acknowledged) + 1, "at most the one that was being acknowledged"
