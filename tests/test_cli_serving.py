"""`mcp-server run` as a process that serves: what it says, how it ends, what it has not imported."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from canaries import CANARIES
from clients import ADDRESS, START_LIMIT, Mode, command, until
from mcp import Client
from postgresql import free_port
from sqlalchemy import create_engine

pytestmark = pytest.mark.anyio

WAITING = '''
import time
from pathlib import Path

from mcp_server import PipelineWrapper as BasePipelineWrapper

class PipelineWrapper(BasePipelineWrapper):
    def run_api(self, folder: str) -> str:
        """Wait for a file. It is called go."""
        print("begun")
        (Path(folder) / "begun").touch()
        while not (Path(folder) / "go").exists():
            time.sleep(0.01)
        return "gone"
'''

STREAMS_END = 2.0
"""Seconds within which uvicorn and sse-starlette end the streams of a server that was told to exit."""

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@pytest.fixture
def pipelines(tmp_path: Path) -> Path:
    """A folder with a pipeline that waits, one that does not load, and nothing else."""
    folder = tmp_path / "pipelines"
    for name, code in {"waiting": WAITING, "broken": "def ("}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "pipeline_wrapper.py").write_text(code)
    return folder


@asynccontextmanager
async def running(folder: Path, *flags: str, **streams: Any) -> AsyncIterator[Process]:
    """The program with these flags; killed if it is still there when the block ends."""
    program = command(folder, folder.parent / "state", *flags)
    process = await asyncio.create_subprocess_exec(*program, **{"stdout": PIPE, "stderr": PIPE, **streams})
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.fail_after(10):
            for said in await process.communicate():
                CANARIES.look(said or b"", "what it said")


async def told(process: Process, pattern: str) -> str:
    """What the program prints up to the line with the pattern, that included."""
    assert process.stdout is not None
    text = ""
    with anyio.fail_after(START_LIMIT):
        while not re.search(pattern, text):
            line = await process.stdout.readline()
            assert line, f"it ended after {text!r}"
            text += line.decode()
    return text


async def address(process: Process) -> str:
    found = ADDRESS.search(await told(process, "/mcp"))
    assert found
    return found[0]


async def ended(process: Process, within: float = 10) -> int:
    with anyio.fail_after(within):
        return await process.wait()


async def test_it_says_where_it_listens_what_it_serves_and_how_to_connect(pipelines: Path) -> None:
    async with running(pipelines, "--port", "0") as server:
        text = await told(server, '"type": "http"')
    url = ADDRESS.search(text)
    assert url
    for path in ("/mcp", "/sse", "/status"):
        assert f"{url[0]}{path}\n" in text
    assert re.search(r"^  waiting +Wait for a file\.$", text, re.MULTILINE)
    assert re.search(r"^  broken +error: pipeline_wrapper\.py, line 1: ", text, re.MULTILINE)
    assert f'"url": "{url[0]}/mcp"' in text
    assert f"\nHistory\n  full, 30 days, in {pipelines.parent / 'state' / 'state.db'}\n" in text
    assert "\x1b" not in text


async def test_a_program_is_told_in_one_line_of_json(pipelines: Path) -> None:
    declared = "(BasePipelineWrapper):\n    record = 'meta'"
    code = WAITING.replace("(BasePipelineWrapper):", declared).replace("Wait", "\u202e\u009bWait")
    (pipelines / "waiting" / "pipeline_wrapper.py").write_text(code, encoding="utf-8")
    async with running(pipelines, "--port", "0", "--json") as server:
        line = await told(server, "\n")
        known = json.loads(line)
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(known["status"])).json()["pipelines"] == ["waiting"]
        async with Client(known["mcp"]) as client:
            assert "waiting" in {tool.name for tool in (await client.list_tools()).tools}
        server.terminate()
        assert server.stdout is not None and await server.stdout.read() == b""
        assert await ended(server) == 0
    assert line.isascii()
    assert (known["folder"], known["sse"]) == (str(pipelines), f"{known['url']}/sse")
    broken, waiting = known["pipelines"]
    assert broken["status"] == "error" and broken["error"].startswith("pipeline_wrapper.py, line 1: ")
    assert (waiting["name"], waiting["status"], waiting["version"]) == ("waiting", "running", "1")
    place = str(pipelines.parent / "state" / "state.db")
    assert known["history"] == {
        "record": "full",
        "keep_days": 30,
        "place": place,
        "otherwise": {"meta": ["waiting"]},
    }


async def test_it_says_which_pipelines_are_recorded_otherwise(pipelines: Path) -> None:
    for name, record in {"secret": "none", "quiet": "meta", "open": "full"}.items():
        (pipelines / name).mkdir()
        declared = f"(BasePipelineWrapper):\n    record = {record!r}"
        code = WAITING.replace("(BasePipelineWrapper):", declared)
        (pipelines / name / "pipeline_wrapper.py").write_text(code)
    async with running(pipelines, "--port", "0", "--keep-days", "7") as server:
        text = await told(server, '"type": "http"')
    assert re.search(r"\nHistory\n  full, 7 days, in .+; meta: quiet; none: secret\n", text)


async def test_it_says_that_nothing_is_kept_without_a_database(pipelines: Path) -> None:
    store = f"postgresql+psycopg://ada:secret@127.0.0.1:{free_port()}/none"
    async with running(pipelines, "--port", "0", "--store", store) as server:
        text = await told(server, '"command"')
    assert re.search(
        r"\nHistory\n  full, 30 days, in memory only \(The database cannot be used: .+\)\n", text
    )


async def test_a_pasted_configuration_starts_a_server_that_answers(pipelines: Path, tmp_path: Path) -> None:
    async with running(pipelines, "--port", "0") as server:
        text = await told(server, '"command": ')
    configuration = json.loads(text.splitlines()[-1])["mcpServers"]["pipelines"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    process = await asyncio.create_subprocess_exec(
        configuration["command"],
        *configuration["args"],
        stdin=PIPE,
        stdout=PIPE,
        cwd=elsewhere,
    )
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
    with anyio.fail_after(START_LIMIT):
        answer = json.loads(await process.stdout.readline())
    assert answer["result"]["serverInfo"]["name"] == "haystack-mcp-server"
    process.stdin.close()
    assert await ended(process) == 0


async def test_a_reader_that_leaves_does_not_stop_it(pipelines: Path) -> None:
    async with running(pipelines, "--port", "0") as server:
        url = await address(server)
        server._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
        async with httpx.AsyncClient(trust_env=False) as http:

            async def loaded() -> bool:
                return (await http.get(f"{url}/status")).json()["pipelines"] == ["waiting"]

            await until(loaded, START_LIMIT)
        server.send_signal(signal.SIGTERM)
        assert await ended(server) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_status_0_and_without_noise(pipelines: Path, number: int) -> None:
    async with running(pipelines, "--port", "0") as server:
        url = await address(server)
        async with Client(f"{url}/mcp") as connected, connected.listen(tools_list_changed=True):
            server.send_signal(number)
            assert await ended(server) == 0
        assert server.stderr
        assert await server.stderr.read() == b""


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_call_in_flight_is_answered_before_it_ends(
    pipelines: Path, tmp_path: Path, mode: Mode
) -> None:
    answers: list[Any] = []
    async with running(pipelines, "--port", "0") as server:
        url = await address(server)
        async with Client(f"{url}/mcp", mode=mode) as connected, anyio.create_task_group() as tasks:
            await connected.list_tools()  # or the client asks for the output schema once it has the answer

            async def call() -> None:
                answers.append(await connected.call_tool("waiting", {"folder": str(tmp_path)}))

            tasks.start_soon(call)
            await until((anyio.Path(tmp_path) / "begun").exists, START_LIMIT)
            server.send_signal(signal.SIGTERM)
            await until(lambda: refuses(url))
            with anyio.move_on_after(STREAMS_END):
                await server.wait()
            assert server.returncode is None
            (tmp_path / "go").touch()
        assert await ended(server) == 0
    assert [answer.structured_content for answer in answers] == [{"result": "gone"}]


async def refuses(url: str) -> bool:
    """True once it takes nothing new."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{url}/runs")
        return answer.status_code == 503 and "retry-after" in answer.headers


@asynccontextmanager
async def stuck(pipelines: Path, *flags: str) -> AsyncIterator[Process]:
    """A server with a call in flight that does not end by itself."""
    async with running(pipelines, "--port", "0", *flags) as server:
        url = await address(server)
        async with (
            httpx.AsyncClient(trust_env=False, timeout=START_LIMIT) as http,
            anyio.create_task_group() as t,
        ):
            t.start_soon(post_call, http, url, pipelines)
            await until((anyio.Path(pipelines) / "begun").exists, START_LIMIT)
            yield server
            t.cancel_scope.cancel()


async def post_call(http: httpx.AsyncClient, url: str, folder: Path) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "waiting", "arguments": {"folder": str(folder)}, "_meta": meta}
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "waiting",
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    try:
        await http.post(f"{url}/mcp", json=message, headers=headers)
    except httpx.TransportError:
        return  # the server went away, as the test wants


async def test_a_call_that_does_not_end_holds_it_up_only_so_long(pipelines: Path) -> None:
    async with stuck(pipelines, "--drain-timeout", "0.2") as server:
        server.send_signal(signal.SIGTERM)
        assert await ended(server) == 0


async def test_a_second_signal_ends_it_at_once(pipelines: Path) -> None:
    async with stuck(pipelines, "--drain-timeout", "60") as server:
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGINT)
        assert await ended(server, 2) in (128 + signal.SIGINT, 128 + signal.SIGTERM)


@pytest.mark.parametrize("engine", ["hosts", "local"])
async def test_on_stdio_it_ends_with_stdin_even_if_a_thread_is_stuck(pipelines: Path, engine: str) -> None:
    async with running(pipelines, "--stdio", "--engine", engine, stdin=PIPE) as server:
        assert server.stdin and server.stdout
        call = {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "waiting", "arguments": {"folder": str(pipelines)}},
        }
        for message in (INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call):
            server.stdin.write(json.dumps(message).encode() + b"\n")
        await until((anyio.Path(pipelines) / "begun").exists, START_LIMIT)
        server.stdin.close()
        lines = (await server.stdout.read()).splitlines()
        await ended(server, 15)
    assert lines
    assert {json.loads(line)["jsonrpc"] for line in lines} == {"2.0"}


@pytest.mark.parametrize("way", ["--port=0", "--stdio"])
@pytest.mark.parametrize("kind", ["file", "postgresql"])
async def test_a_state_of_a_newer_release_ends_it_with_one_line(
    pipelines: Path, way: str, kind: str, request: pytest.FixtureRequest
) -> None:
    store = f"sqlite:///{pipelines.parent / 'state.db'}"
    if kind == "postgresql":
        store = request.getfixturevalue("cluster").database()
    engine = create_engine(store)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('9999')")
    engine.dispose()
    async with running(pipelines, way, "--store", store, stdin=PIPE) as server:
        assert await ended(server, START_LIMIT) == 2
        assert server.stderr
        told = (await server.stderr.read()).decode()
    newer = "The state was written by a newer release of this server; update this one."
    assert told == f"mcp-server: {newer}\n"


async def test_a_database_that_is_out_of_reach_stops_nothing(pipelines: Path) -> None:
    store = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none"
    async with running(pipelines, "--port", "0", "--store", store) as server:
        url = await address(server)
        async with httpx.AsyncClient(trust_env=False) as http:

            async def loaded() -> bool:
                return "waiting" in (await http.get(f"{url}/status")).json()["pipelines"]

            await until(loaded, START_LIMIT)
        assert server.returncode is None


async def test_both_commands_are_one_program() -> None:
    scripts = [Path(sys.executable).with_name(name) for name in ("mcp-server", "haystack-mcp-server")]
    helps = [(await anyio.run_process([str(script), "run", "--help"])).stdout for script in scripts]
    assert helps[0] == helps[1] != b""
