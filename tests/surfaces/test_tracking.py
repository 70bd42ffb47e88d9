"""A real MLflow server behind `/mlflow`, used by its own client; gone, slow and talking nonsense, too."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import anyio
import httpx
import pytest
from clients import START_LIMIT, Served, loaded, serve, until
from mcp import Client

from mcp_server.access.scopes import ALL
from mcp_server.models import Caller
from mcp_server.server import Server
from mcp_server.settings import Settings
from mcp_server.surfaces.mcp import ProtocolServer

from .conftest import wrapper
from .test_registry import NUMBER, TIME, fits

pytestmark = pytest.mark.anyio

MLFLOW_LIMIT = 180.0
"""Seconds MLflow may take to start on a busy machine: it imports a lot."""
API = "/mlflow/api/2.0/mlflow"
SESSION = """
    import os, sys
    import mlflow
    folder = sys.argv[1]
    mlflow.set_experiment("through")
    with mlflow.start_run() as run:
        mlflow.log_param("depth", 3)
        mlflow.log_metric("score", 0.5)
        with open(os.path.join(folder, "large.bin"), "wb") as file:
            file.write(os.urandom(20 * 1024 * 1024))
        mlflow.log_artifact(os.path.join(folder, "large.bin"))
    (found,) = mlflow.search_runs(experiment_names=["through"], output_format="list")
    assert found.info.run_id == run.info.run_id and found.data.metrics["score"] == 0.5
    back = mlflow.artifacts.download_artifacts(
        run_id=run.info.run_id, artifact_path="large.bin", dst_path=os.path.join(folder, "back")
    )
    sent = open(os.path.join(folder, "large.bin"), "rb").read()
    assert open(back, "rb").read() == sent and len(sent) == 20 * 1024 * 1024
    print("all well")
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def mlflow_server(place: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """MLflow's own server, with its files in `place`."""
    place.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--workers", "1"),
        *("--artifacts-destination", str(place / "artifacts")),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=START_LIMIT) as http:

            async def up() -> bool:
                assert process.returncode is None, "MLflow did not start"
                try:
                    return (await http.get(f"http://127.0.0.1:{port}/health")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(up, MLFLOW_LIMIT)
        yield process
    finally:
        end(process)
        await process.wait()


def end(process: asyncio.subprocess.Process) -> None:
    """Kill it with its workers."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)


@asynccontextmanager
async def behind(tmp_path: Path, url: str, *flags: str) -> AsyncIterator[tuple[Served, httpx.AsyncClient]]:
    """Our server, with that one behind it."""
    (tmp_path / "pipelines" / "echo").mkdir(parents=True, exist_ok=True)
    body = '''
        def run_api(self, text: str) -> str:
            """Gives the text back."""
            return text
    '''
    (tmp_path / "pipelines" / "echo" / "pipeline_wrapper.py").write_text(wrapper(body))
    async with (
        serve(tmp_path / "pipelines", "--tracking-url", url, *flags) as served,
        httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=START_LIMIT) as http,
    ):
        yield served, http


async def test_mlflow_and_its_own_client_work_through_the_proxy(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with (
        mlflow_server(tmp_path / "mlflow", port) as process,
        behind(tmp_path, url, "--tracking-log") as (served, http),
    ):
        await loaded(served.url)
        await client_session(served, tmp_path)
        await runs_and_versions_are_written(http, tmp_path)
        await health_is_told(http, url)
        end(process)
        await process.wait()
        await the_breaker_opens(http)
        async with mlflow_server(tmp_path / "mlflow", port):
            await the_breaker_closes(http)


async def client_session(served: Served, tmp_path: Path) -> None:
    """MLflow's client: a run, a search, an artifact of 20 MB there and back."""
    script = tmp_path / "session.py"
    script.write_text(dedent(SESSION))
    environment = {
        "MLFLOW_TRACKING_URI": f"{served.url}/mlflow",
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
    }
    with anyio.fail_after(MLFLOW_LIMIT):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            script,
            tmp_path,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, wrong = await process.communicate()
    assert process.returncode == 0 and b"all well" in told, wrong.decode()[-2000:]


async def runs_and_versions_are_written(http: httpx.AsyncClient, tmp_path: Path) -> None:
    assert (await http.post("/echo/run", json={"text": "hello"})).json() == {"result": "hello"}
    found: list[dict[str, Any]] = []

    async def written() -> bool:
        experiment = await http.get(f"{API}/experiments/get-by-name?experiment_name=mcp-server")
        if experiment.status_code != 200:
            return False
        ids = [experiment.json()["experiment"]["experiment_id"]]
        runs = (await http.post(f"{API}/runs/search", json={"experiment_ids": ids})).json().get("runs", [])
        found[:] = [run for run in runs if run["info"]["status"] == "FINISHED"]
        return bool(found)

    await until(written, START_LIMIT)
    (run,) = found
    assert {"key": "text", "value": "hello"} in run["data"]["params"]
    assert {each["key"] for each in run["data"]["metrics"]} >= {"seconds"}
    files = {"pipeline_wrapper.py": (tmp_path / "pipelines" / "echo" / "pipeline_wrapper.py").read_text()}
    deployed = await http.post("/deploy_files", json={"name": "again", "files": files})
    assert deployed.status_code == 200

    versions: list[dict[str, Any]] = []

    async def registered() -> bool:
        versions[:] = (await http.get(f"{API}/model-versions/search")).json().get("model_versions", [])
        return bool(versions)

    await until(registered, START_LIMIT)
    assert [(each["name"], each["source"]) for each in versions] == [("again", "mcp-server:///again/1")]


CHECK = {"status": str, "message": str}
BREAKER = {"state": str, "failure_count": NUMBER}
SHAPES: dict[str, Any] = {
    "": {
        "status": str,
        "mlflow_server": str,
        "checks": {"connectivity": CHECK, "experiments_api": CHECK, "artifacts_api": CHECK},
    },
    "/detailed": {
        "mlflow_server": str,
        "timestamp": TIME,
        "environment": {"MLFLOW_SERVER_URL": str, "MLFLOW_SERVE_ARTIFACTS": str, "PROXY_DEBUG": bool},
        "tests": [
            {"endpoint": str, "url": str, "status_code": NUMBER, "success": bool, "response_time_ms": NUMBER}
        ],
        "overall_health": bool,
    },
    "/connectivity": {
        "status": str,
        "mlflow_server": str,
        "response_code": NUMBER,
        "response_time_ms": NUMBER,
    },
}
CONNECTED = {"connected": bool, "circuit_breaker_state": str, "timestamp": TIME}
STATUS = {"mlflow": {"status": {"connected": bool, "circuit_breaker_state": str}, "circuit_breaker": BREAKER}}
"""The fields of each answer with their types, as the platform's reference has them."""


async def health_is_told(http: httpx.AsyncClient, url: str) -> None:
    for path in ("/mlflow/health/mlflow", "/api/health/mlflow"):
        told = {end: (await http.get(path + end)).json() for end in SHAPES}
        for end, answer in told.items():
            fits(SHAPES[end], answer, path + end)
            assert answer["mlflow_server"] == url
        assert told[""]["status"] == "healthy" and told["/connectivity"]["status"] == "connected"
        assert {each["status"] for each in told[""]["checks"].values()} == {"healthy"}
        assert told["/detailed"]["overall_health"] is True
        assert told["/detailed"]["environment"]["MLFLOW_SERVE_ARTIFACTS"] == "true"
    connected = await http.get("/health/mlflow")
    fits(CONNECTED, connected.json())
    assert connected.status_code == 200 and connected.json()["circuit_breaker_state"] == "CLOSED"
    assert (await http.get("/health")).json()["services"]["mlflow"] == "healthy"
    status = (await http.get("/health/status")).json()
    fits(STATUS, status)
    assert status["mlflow"]["circuit_breaker"] == {
        "state": "CLOSED",
        "failure_count": 0,
        "last_failure_time": None,
    }


async def the_breaker_opens(http: httpx.AsyncClient) -> None:
    seen: list[int] = []

    async def opened() -> bool:
        answer = await http.get(f"{API}/experiments/search?max_results=1")
        assert "127.0.0.1" not in answer.json()["detail"]
        seen.append(answer.status_code)
        return answer.status_code == 503

    await until(opened, START_LIMIT)
    assert set(seen) == {502, 503}
    told = await http.get("/health/mlflow")
    fits(CONNECTED | {"error": str}, told.json())
    status = (await http.get("/health/status")).json()
    fits(STATUS | {"mlflow": {"circuit_breaker": BREAKER | {"last_failure_time": TIME}}}, status)
    assert not status["mlflow"]["status"]["connected"]
    assert told.status_code == 503 and told.json()["circuit_breaker_state"] in ("OPEN", "HALF_OPEN")

    async def noticed() -> bool:  # the answer is a second old at most
        return (await http.get("/health")).json()["services"]["mlflow"] == "degraded"

    await until(noticed, START_LIMIT)
    assert (await http.post("/echo/run", json={"text": "still"})).json() == {"result": "still"}


async def the_breaker_closes(http: httpx.AsyncClient) -> None:
    reset = await http.post("/health/mlflow/reset", json={})
    assert reset.status_code == 200 and reset.json()["reset_by"] == "manual_api_call"
    fits({"message": str, "timestamp": TIME}, reset.json())

    async def works() -> bool:
        return (await http.get(f"{API}/experiments/search?max_results=1")).status_code == 200

    await until(works, START_LIMIT)
    assert (await http.get("/health/mlflow")).json()["circuit_breaker_state"] == "CLOSED"


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def upstream(answer: Answer) -> AsyncIterator[str]:
    """A server on loopback that answers with these bytes."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"


async def test_what_monitors_ask_does_not_open_the_breaker(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with upstream(answer) as url, behind(tmp_path, url) as (_, http):
        for path in ("/health/mlflow", "/mlflow/health/mlflow", "/mlflow/health/mlflow/detailed") * 4:
            assert (await http.get(path)).status_code in (200, 503)
        told = (await http.get("/health/status")).json()["mlflow"]["circuit_breaker"]
        assert (told["state"], told["failure_count"]) == ("CLOSED", 0)


async def test_credentials_and_hop_by_hop_headers_stay_here(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        body = b'{"ok": true}'
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: X-Inner\r\nX-Inner: secret\r\n"
            b"X-Outer: shown\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()

    async with upstream(answer) as url, behind(tmp_path, url) as (_, http):
        headers = {"Authorization": "Bearer key", "X-API-Key": "key", "Cookie": "a=b", "TE": "trailers"}
        told = await http.get("/mlflow/api/2.0/x%20y?api_key=key&b=2", headers=headers)
    assert told.json() == {"ok": True}
    assert "x-inner" not in told.headers and told.headers["x-outer"] == "shown"
    sent = got[0].lower()
    assert sent.startswith(b"get /api/2.0/x%20y?b=2 http/1.1\r\n")
    for kept in (b"authorization", b"x-api-key", b"cookie", b"\r\nte:", b"key"):
        assert kept not in sent


async def test_a_slow_server_is_504_and_nonsense_is_502(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"I am no HTTP server\r\n\r\n")
        await writer.drain()
        writer.close()

    for answer, status in ((silent, 504), (nonsense, 502)):
        async with upstream(answer) as url, behind(tmp_path, url, "--tracking-timeout", "1") as (_, http):
            told = await http.get("/mlflow/api/2.0/mlflow/experiments/search")
            assert told.status_code == status and "127.0.0.1" not in told.text


async def test_without_a_server_or_with_a_way_up_there_is_nothing(tmp_path: Path) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("it was asked")

    async with upstream(never) as url, behind(tmp_path, url) as (served, http):
        with socket.create_connection(
            (served.url.split("/")[2].split(":")[0], int(served.url.rsplit(":", 1)[1]))
        ) as raw:
            raw.settimeout(START_LIMIT)
            host = served.url.removeprefix("http://").encode()
            raw.sendall(b"GET /mlflow/api/%2e%2E/secret HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            assert b" 400 " in raw.recv(4096).split(b"\r\n")[0]
    async with (
        serve(tmp_path / "pipelines") as served,
        httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=START_LIMIT) as http,
    ):
        for path in ("/mlflow/api/2.0/mlflow/experiments/search", "/health/mlflow", "/api/health/mlflow"):
            assert (await http.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("scopes", "told"), [(ALL, "running"), (ALL - {"admin"}, "no pipeline named mlflow")]
)
async def test_over_mcp_its_breaker_is_reset_by_those_who_administer(
    tmp_path: Path, scopes: frozenset[str], told: str
) -> None:
    settings = Settings(state=tmp_path, engine="local", tracking_url=f"http://127.0.0.1:{free_port()}")
    async with Server(settings) as server:
        protocol = ProtocolServer(server, Caller(name="anyone", scopes=scopes))
        with anyio.fail_after(START_LIMIT):
            async with protocol.announcing(), Client(protocol) as client:
                answer = await client.call_tool("reset_breaker", {"pipeline_name": "mlflow"})
    assert told in answer.content[0].model_dump()["text"]
