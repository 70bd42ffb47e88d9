"""Clients written by others: the TypeScript SDKs and the Inspector's command line, on every transport."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from clients import Served, Transport, command, serve

pytestmark = pytest.mark.anyio

FOLDER = Path(__file__).parents[1] / "clients_node"
EXAMPLES = Path(__file__).parents[2] / "examples" / "pipelines"
ERAS = {"legacy": "2025-11-25", "auto": "2026-07-28", "2026-07-28": "2026-07-28"}


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the packages the clients need; installed once."""
    found = shutil.which("node")
    npm = shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("NODE CLIENTS NOT TESTED: node and npm are not installed")
    with (FOLDER / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes may run tests side by side
        if not installed():
            subprocess.run(
                [npm, "ci", "--no-progress"], cwd=FOLDER, check=True, capture_output=True, timeout=300
            )
    return found


def installed() -> bool:
    """True if what lies in `node_modules` is what the lock file names."""
    lock, marker = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    return marker.exists() and marker.stat().st_mtime >= lock.stat().st_mtime


async def run(*words: str) -> str:
    """What the program printed; fails with its errors unless it ends well."""
    with anyio.fail_after(180):
        done = await anyio.run_process(words, cwd=FOLDER, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode()


def target(served: Served, transport: Transport) -> list[str]:
    """Where a client finds the server, or how it starts one."""
    if transport == "stdio":
        return command(served.folder, served.state, "--stdio")
    return [served.url]


def assert_conversed(met: dict[str, Any], version: str) -> None:
    assert met["version"] == version
    assert met["listChanged"] is True
    assert {"echo", "deploy_pipeline"} <= set(met["tools"])
    assert met["echo"] == {"result": "hi"}
    assert met["steps"] == {"result": 50}
    # The SDKs forget their listener with the answer: reports that come in the same packet may be lost.
    heard = [int(message.removeprefix("step ")) for message in met["heard"]]
    assert heard and heard[0] == 0 and heard == sorted(set(heard))
    assert met["bad"][0] is True and "text" in met["bad"][1]
    assert met["unknown"] == -32602
    assert met["deployed"]["inputSchema"]["type"] == "object"
    assert met["made"] == {"result": "deployed"}


@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
async def test_the_typescript_sdk_v1_converses(node: str, served: Served, transport: Transport) -> None:
    printed = await run(node, "sdk_v1.mjs", "converse", transport, *target(served, transport))
    assert_conversed(json.loads(printed), "2025-11-25")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
async def test_the_typescript_sdk_v2_converses(
    node: str, served: Served, transport: Transport, era: str
) -> None:
    printed = await run(node, "sdk_v2.mjs", "converse", era, transport, *target(served, transport))
    assert_conversed(json.loads(printed), ERAS[era])


def assert_asked(met: dict[str, Any], version: str) -> None:
    """The agent's four questions, and that it did what the person said."""
    assert met["version"] == version
    questions = [said for said in met["said"] if "asked" in said]
    assert all("May the agent call send_message?" in said["asked"] for said in questions)
    assert all(said["fields"] == ["to", "text", "decision", "feedback"] for said in questions)
    accepted, changed, rejected, declined = (said["result"] for said in met["said"] if "result" in said)
    assert accepted == {"answer": "Told Ada: lunch is at noon.", "sent": True}
    assert changed == {"answer": "Told Ada: lunch is at one.", "sent": True}
    assert (rejected["sent"], declined["sent"]) == (False, False)
    assert "Ask her first." in rejected["answer"] and "rejected" in declined["answer"]


@pytest.fixture(scope="module")
async def assistant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server with the example that asks before it acts."""
    folder = tmp_path_factory.mktemp("assistant")
    shutil.copytree(EXAMPLES / "assistant", folder / "assistant")
    async with serve(folder) as running:
        yield running


@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
async def test_an_agent_asks_through_the_typescript_sdk_v1(
    node: str, assistant: Served, transport: Transport
) -> None:
    printed = await run(node, "sdk_v1.mjs", "ask", transport, *target(assistant, transport))
    assert_asked(json.loads(printed), "2025-11-25")


@pytest.mark.parametrize("era", ["legacy", "auto"])
@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
async def test_an_agent_asks_through_the_typescript_sdk_v2(
    node: str, assistant: Served, transport: Transport, era: str
) -> None:
    printed = await run(node, "sdk_v2.mjs", "ask", era, transport, *target(assistant, transport))
    assert_asked(json.loads(printed), ERAS[era])


async def inspect(node: str, *words: str) -> dict[str, Any]:
    """The result of one request made with the Inspector's command line."""
    program = FOLDER / "node_modules" / ".bin" / "mcp-inspector"
    printed = await run(node, str(program.resolve()), "--cli", *words, "--format", "json")
    return json.loads(printed)["result"]


@pytest.mark.parametrize(("transport", "path"), [("http", "/mcp"), ("sse", "/sse")])
async def test_the_inspector_calls_a_tool(node: str, served: Served, transport: str, path: str) -> None:
    where = [served.url + path, "--transport", transport]
    called = await inspect(
        node, *where, "--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hi"
    )
    assert called["structuredContent"] == {"result": "hi"}


async def test_the_inspector_finds_every_schema_portable(node: str, served: Served) -> None:
    where = [served.url + "/mcp", "--transport", "http"]
    listed = await inspect(node, *where, "--method", "tools/list", "--strict")
    assert "echo" in {tool["name"] for tool in listed["tools"]}


async def test_the_inspector_starts_a_server_itself(node: str, served: Served) -> None:
    program = command(served.folder, served.state, "--stdio")
    listed = await inspect(node, *program, "--method", "tools/list")
    assert "echo" in {tool["name"] for tool in listed["tools"]}
