"""What raw HTTP meets: hosts, origins, methods, slashes, ids, sizes and the shape of errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import Served, until

pytestmark = pytest.mark.anyio

PATHS = ["/mcp", "/mcp/", "/sse", "/messages/", "/status", "/status/", "/status/echo", "/nowhere"]
METHODS = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"]
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1",
    "127.0.0.1:1",
    "localhost:{port}.evil.example",
    "localhost:{port}@evil.example",
]
FOREIGN_ORIGINS = [
    "http://evil.example",
    "http://evil.example:{port}",
    "http://127.0.0.1",
    "http://localhost:{port}.evil.example",
    "http://localhost:{port}@evil.example",
    "file://",
    "null",
]
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    },
}


@pytest.fixture(scope="module")
async def http(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=30, headers=HEADERS) as client:
        yield client


@pytest.fixture
async def session(http: httpx.AsyncClient) -> dict[str, str]:
    """The headers of an open handshake-era session."""
    answer = await http.post("/mcp", json=INITIALIZE)
    headers = {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
    initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await http.post("/mcp", json=initialized, headers=headers)).status_code == 202
    return headers


def call(identity: object, name: str = "echo", /, **arguments: object) -> dict[str, object]:
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": identity, "method": "tools/call", "params": params}


def assert_error(answer: httpx.Response, code: int, kind: str) -> None:
    """Every error has one shape, and the request's id in it and on it."""
    assert answer.status_code == code
    body = answer.json()
    assert set(body) == {"error", "detail", "request_id", "timestamp"}
    assert body["error"] == {"message": body["detail"], "type": kind, "code": code}
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("path", PATHS)
async def test_a_foreign_host_is_refused_on_every_route(http: httpx.AsyncClient, path: str) -> None:
    for method, host in product(METHODS, FOREIGN_HOSTS):
        headers = {"Host": host.format(port=http.base_url.port)}
        assert (await http.request(method, path, headers=headers)).status_code == 421, (method, host)


@pytest.mark.parametrize("path", PATHS)
async def test_a_foreign_origin_is_refused_on_every_route(http: httpx.AsyncClient, path: str) -> None:
    for method, origin in product(METHODS, FOREIGN_ORIGINS):
        headers = {"Origin": origin.format(port=http.base_url.port)}
        assert (await http.request(method, path, headers=headers)).status_code == 403, (method, origin)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
async def test_own_hosts_and_origins_are_accepted(http: httpx.AsyncClient, name: str) -> None:
    own = f"{name}:{http.base_url.port}"
    answer = await http.get("/status", headers={"Host": own, "Origin": f"http://{own}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("head", ["", "Host: 127.0.0.1:{port}\r\nHost: 127.0.0.1:{port}\r\n"])
async def test_a_request_needs_exactly_one_host(served: Served, head: str) -> None:
    port = httpx.URL(served.url).port
    stream = await anyio.connect_tcp("127.0.0.1", port or 0)
    async with stream:
        lines = head.format(port=port) + "Connection: close\r\n\r\n"
        await stream.send(f"GET /status HTTP/1.1\r\n{lines}".encode())
        assert (await stream.receive()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
async def test_both_spellings_of_the_endpoint_answer_without_a_redirect(
    http: httpx.AsyncClient, path: str
) -> None:
    answer = await http.post(path, json=INITIALIZE)
    assert answer.status_code == 200
    assert "mcp-session-id" in answer.headers


async def test_unknown_routes_and_methods_answer_in_the_error_shape(http: httpx.AsyncClient) -> None:
    assert_error(await http.get("/nowhere"), 404, "not_found_error")
    assert_error(await http.get("/status/nowhere"), 404, "not_found_error")
    assert_error(await http.post("/status"), 405, "method_not_allowed_error")
    assert_error(await http.post("/sse"), 405, "method_not_allowed_error")
    assert_error(await http.get("/status", headers={"Origin": "http://evil"}), 403, "permission_error")


async def test_a_request_id_is_kept_if_it_is_harmless(http: httpx.AsyncClient) -> None:
    kept = await http.get("/nowhere", headers={"X-Request-ID": "req-12345"})
    assert kept.headers["x-request-id"] == kept.json()["request_id"] == "req-12345"
    made = await http.get("/nowhere", headers={"X-Request-ID": "<script>"})
    assert made.headers["x-request-id"] == made.json()["request_id"] != "<script>"


async def test_status_lists_what_serves_and_details_of_everything(http: httpx.AsyncClient) -> None:
    async def up() -> bool:
        return "echo" in (await http.get("/status")).json()["pipelines"]

    await until(up, 30)
    answer = (await http.get("/status")).json()
    assert answer["status"] == "Up!"
    assert "broken" not in answer["pipelines"]
    details = {each["name"]: each for each in answer["details"]}
    assert details["echo"]["status"] == "running" and details["echo"]["version"] == "1"
    assert details["broken"]["status"] == "error" and "line 1" in details["broken"]["error"]


@pytest.mark.parametrize("end", ["", "/"])
async def test_status_of_one_pipeline(http: httpx.AsyncClient, end: str) -> None:
    answer = (await http.get(f"/status/echo{end}")).json()
    assert answer["status"] == "Up!" and answer["pipeline"] == "echo" and answer["kind"] == "wrapper"
    broken = (await http.get(f"/status/broken{end}")).json()
    assert broken["status"] == "error" and broken["error"]


@pytest.mark.parametrize("path", ["/mcp", "/messages/"])
@pytest.mark.parametrize("identity", [None, 1.5, True, [], {}, "x" * 257])
async def test_an_id_that_is_none_is_refused(
    http: httpx.AsyncClient, session: dict[str, str], path: str, identity: object
) -> None:
    answer = await http.post(path, json=call(identity, text="hi"), headers=session)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32600


async def test_an_id_in_flight_is_refused_and_the_first_call_is_answered(
    http: httpx.AsyncClient, session: dict[str, str], tmp_path: Path
) -> None:
    files = {name: str(tmp_path / name) for name in ("started", "stopped")}
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    answers: list[httpx.Response] = []

    async def first() -> None:
        answers.append(await http.post("/mcp", json=call(7, "wait", **files), headers=session))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            await until(anyio.Path(files["started"]).exists)
            for same in (7, "7"):
                second = await http.post("/mcp", json=call(same, text="hi"), headers=session)
                assert second.status_code == 400 and "in flight" in second.json()["error"]["message"]
            assert (await http.post("/mcp", json=cancel, headers=session)).status_code == 202
        await until(anyio.Path(files["stopped"]).exists)
        again = await http.post("/mcp", json=call(7, text="free"), headers=session)
    assert answers[0].status_code == 200
    assert "free" in again.text


async def test_other_sessions_may_use_the_same_id(http: httpx.AsyncClient, session: dict[str, str]) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            opened = await http.post("/mcp", json=INITIALIZE)
            headers = session | {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
            tasks.start_soon(assert_answers, http, headers)


async def assert_answers(http: httpx.AsyncClient, session: dict[str, str]) -> None:
    assert "same" in (await http.post("/mcp", json=call(1, text="same"), headers=session)).text


async def test_blanks_around_a_header_are_no_part_of_it(served: Served) -> None:
    url = httpx.URL(served.url)
    era = {"protocolVersion": "2026-07-28", "clientCapabilities": {}}
    meta = {f"io.modelcontextprotocol/{key}": value for key, value in era.items()}
    message: dict[str, Any] = call(1, text="hi")
    message["params"]["_meta"] = meta
    body = json.dumps(message)
    head = [
        "POST /mcp HTTP/1.1",
        f"Host: {url.host}:{url.port}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        "MCP-Protocol-Version: 2026-07-28",
        "Mcp-Method: tools/call",
        "Mcp-Name:   echo \t ",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    stream = await anyio.connect_tcp(url.host, url.port or 0)
    async with stream:
        await stream.send(("\r\n".join(head) + "\r\n\r\n" + body).encode())
        assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")


async def test_a_large_message_is_refused_unless_it_deploys(
    http: httpx.AsyncClient, session: dict[str, str]
) -> None:
    large = "x" * (5 * 2**20)
    assert (await http.post("/mcp", json=call(1, text=large), headers=session)).status_code == 413
    deploy = call(2, "deploy_pipeline", name="large", files={"pipeline_wrapper.py": large})
    answer = await http.post("/mcp", json=deploy, headers=session)
    assert answer.status_code == 200 and '"isError":true' in answer.text


async def test_a_body_over_the_limit_is_refused_whether_it_says_its_size_or_not(
    http: httpx.AsyncClient,
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * 2**20

    for path in ("/echo/run", "/deploy_files"):
        assert_error(await http.post(path, content=pieces()), 413, "request_too_large_error")
        assert_error(await http.post(path, content=b" " * 9 * 2**20), 413, "request_too_large_error")
    assert (await http.post("/mcp", content=pieces())).json()["error"]["code"] == -32600
    assert (await http.post("/v1/chat/completions", content=pieces())).status_code == 413


@pytest.mark.parametrize("path", ["/mcp", "/messages/", "/echo/run", "/pipeline/start", "/deploy_files"])
async def test_json_with_too_many_levels_is_refused(http: httpx.AsyncClient, path: str) -> None:
    for levels, told in ((65, True), (60, False), (100_000, True)):
        body = b'{"text":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
        answer = await http.post(path, content=body)
        assert answer.status_code == 400
        assert ("levels" in answer.text) is (told and levels < 1000), answer.text


async def test_a_session_hears_what_changed_while_its_stream_was_closed(
    http: httpx.AsyncClient, session: dict[str, str]
) -> None:
    async with http.stream("GET", "/mcp", headers=session) as stream:
        assert stream.status_code == 200
    deploy = call(
        3,
        "deploy_pipeline",
        name="meanwhile",
        files={"pipeline_wrapper.py": "class PipelineWrapper:\n    pass\n"},
    )
    await http.post("/mcp", json=deploy, headers=session)
    await http.post("/mcp", json=call(4, "undeploy_pipeline", pipeline_name="hidden"), headers=session)
    await http.post("/mcp", json=call(5, "undeploy_pipeline", pipeline_name="leave"), headers=session)
    with anyio.fail_after(20):
        async with http.stream("GET", "/mcp", headers=session) as stream:
            async for line in stream.aiter_lines():
                if "notifications/tools/list_changed" in line:
                    return
    pytest.fail("the stream ended without an announcement")
