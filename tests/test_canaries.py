"""The look for secrets finds them wherever a server could leave them: a check that cannot fail is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from access.conftest import create_key
from canaries import CANARIES, ENVIRONMENT, MARK, SECRETS
from clients import serve
from surfaces.conftest import wrapper

TELLING = '''
    env = ["OPENAI_API_KEY", "HF_TOKEN"]

    def run_api(self) -> str:
        """Tells one to everybody, and writes another into the log."""
        print(os.environ["HF_TOKEN"], flush=True)
        return os.environ["OPENAI_API_KEY"]
'''
CONFTEST = """
import canaries

def pytest_configure(config):
    config.pluginmanager.register(canaries.CANARIES)
    config.addinivalue_line("markers", "shows(*names): what is shown on purpose")
"""
TESTS = """
import canaries
import pytest

SECRET = canaries.SECRETS["SECRET_KEY"]

def test_prints():
    print(SECRET)

def test_writes(tmp_path):
    (tmp_path / "file").write_text(SECRET)

@pytest.mark.shows("SECRET_KEY")
def test_means_to():
    print(SECRET)

def test_is_silent(tmp_path):
    (tmp_path / "file").write_text("nothing")
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.shows("OPENAI_API_KEY")  # its history keeps what it answers
async def test_what_a_server_logs_and_keeps_is_found_by_name(tmp_path: Path) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    (folder / "telling").mkdir(parents=True)
    (folder / "telling" / "pipeline_wrapper.py").write_text(wrapper(TELLING))
    async with serve(folder, state=state) as served, served.client() as client:
        result = await client.call_tool("telling", {})
        log = served.log
    assert result.structured_content == {"result": SECRETS["OPENAI_API_KEY"]}
    found = CANARIES.taken()
    assert ("HF_TOKEN", str(log)) in found
    assert {name for name, _ in found} == {"HF_TOKEN", "OPENAI_API_KEY"}
    assert any(Path(where).name.startswith("state.db") for name, where in found if name == "OPENAI_API_KEY")
    CANARIES.look_in(state)
    assert {name for name, _ in CANARIES.taken()} == {"OPENAI_API_KEY"}


def test_the_servers_own_secrets_are_known_by_their_form(tmp_path: Path) -> None:
    key = create_key(tmp_path, "one")
    signed = ".".join(("eyJ" + "a" * 20, "eyJ" + "b" * 20, "c" * 20))
    for secret in (key, signed, ENVIRONMENT["MCP_SERVER_WEBHOOK_SECRET"], ENVIRONMENT["DATABASE_URL"]):
        CANARIES.look(f"GET /x?key={secret}&more", "here")
        assert len(CANARIES.taken()) == 1
    CANARIES.look(f"mcp_local_{'x' * 43}", "here")
    CANARIES.look_in(tmp_path)  # where the key is kept as what proves it
    assert CANARIES.taken() == {("a local token", "here")}


def test_a_test_fails_for_what_it_leaves_and_does_not_mean_to_and_no_value_is_told(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", "made", "."]
    around = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    ended = subprocess.run(command, cwd=tmp_path, env=around, capture_output=True, text=True, timeout=60)
    assert "4 passed, 2 errors" in ended.stdout, ended.stdout + ended.stderr
    assert "SECRET_KEY is in Captured stdout call" in ended.stdout
    assert f"SECRET_KEY is in {tmp_path / 'made'}" in ended.stdout
    assert "canary" not in ended.stdout.replace("canaries", "") and MARK not in ended.stderr
