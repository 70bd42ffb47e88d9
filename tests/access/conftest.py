"""Servers with keys, and what a client sends to them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess, run
from textwrap import dedent

import pytest

WRAPPER = """
    from mcp_server import PipelineWrapper as Base

    class PipelineWrapper(Base):
        def run_api(self, text: str) -> str:
            '''Gives the text back.'''
            return text
"""


def command(*words: object, **more: object) -> CompletedProcess[str]:
    """Run the command line to its end."""
    arguments = [sys.executable, "-m", "mcp_server", *map(str, words)]
    return run(arguments, capture_output=True, text=True, timeout=120, check=False, **more)  # type: ignore[call-overload]


def create_key(state: Path, name: str, *flags: object) -> str:
    """Make a key as an operator does, and give it whole."""
    done = command("keys", "create", name, "--state", state, *flags, "--json")
    assert done.returncode == 0, done.stderr
    key: str = json.loads(done.stdout)["key"]
    return key


def bearer(key: str) -> dict[str, str]:
    """What a client with this key sends."""
    return {"Authorization": f"Bearer {key}"}


def pipelines(folder: Path, names: Sequence[str]) -> Path:
    """A folder with small pipelines of these names."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "pipeline_wrapper.py").write_text(dedent(WRAPPER))
    return folder


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"
