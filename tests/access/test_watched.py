"""What a server with keys tells of limits, writes into the audit log, and never lets out."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from clients import Served, serve, until
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from surfaces.conftest import wrapper

from mcp_server.store import audit_rows
from mcp_server.store.audit import AuditEvent

from .conftest import bearer, command, create_key

pytestmark = pytest.mark.anyio
LIMIT = 90.0
CANARIES = [f"canary{number:02}{os.urandom(9).hex()}" for number in range(30)]
"""Secrets of every kind; whoever finds one of them in what the server says has found a leak."""
SHOWING = (
    *(
        "/status",
        "/status/failing1",
        "/health",
        "/health/status",
        "/metrics",
        "/ready",
        "/runs",
        "/mcp/tools",
    ),
    *(
        "/openapi.json",
        "/v1/models",
        "/models/production",
        "/pipelines/failing1/statistics",
        "/draw/failing1",
    ),
)
"""What tells of everything."""
WEBHOOK = "whsec_" + base64.b64encode(CANARIES[0].encode()).decode()
VARIABLES = {f"CANARY_{number}": CANARIES[number] for number in range(1, 9)}
FAILING = '''
    env = ["{name}"]

    def run_api(self, how: str) -> str:
        """Fails in every way, and knows a secret."""
        secret = os.environ["{name}"]
        if how == "raise":
            raise RuntimeError("it went wrong")
        if how == "exit":
            sys.exit(3)
        if how == "kill":
            os.kill(os.getpid(), 9)
        return how
'''


def events(served: Served) -> list[AuditEvent]:
    """What is in the audit log, the oldest first."""
    found = audit_rows.look(served.state / "state.db", lambda each: audit_rows.listed(each, 1000, None))
    return [each.event for each in reversed(found) if each.event.action != "tool_changed"]


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server with keys, little patience for deploys, and secrets in its environment."""
    folder, state = tmp_path_factory.mktemp("pipelines"), tmp_path_factory.mktemp("state")
    for number, name in enumerate(VARIABLES, 1):
        (folder / f"failing{number}").mkdir()
        (folder / f"failing{number}" / "pipeline_wrapper.py").write_text(wrapper(FAILING.format(name=name)))
    create_key(state, "first", "--scope", "admin")
    os.environ |= VARIABLES | {"MCP_SERVER_WEBHOOK_SECRET": WEBHOOK}
    flags = ("--register-per-minute", "2", "--rate-per-hour", "500", "--log-level", "debug")
    hooks = json.dumps({"on_run": f"http://127.0.0.1:9/{CANARIES[9]}?key={CANARIES[10]}"})
    try:
        async with serve(folder, *flags, "--webhooks", hooks, state=state) as running:
            yield running
    finally:
        for name in (*VARIABLES, "MCP_SERVER_WEBHOOK_SECRET"):
            del os.environ[name]


async def test_a_key_reads_what_is_left_and_is_told_when_to_come_back(served: Served) -> None:
    key = create_key(served.state, "small", "--scope", "deploy", "--per-hour", 5)
    async with httpx.AsyncClient(
        base_url=served.url, headers=bearer(key), trust_env=False, timeout=LIMIT
    ) as http:

        async def known() -> bool:
            return (await http.get("/live")).status_code == 200 and (
                await http.get("/status")
            ).status_code != 401

        await until(known, LIMIT)
        left: list[int] = []
        for _ in range(8):
            answer = await http.get("/status")
            left.append(int(answer.headers["x-ratelimit-remaining"]))
            assert answer.headers["x-ratelimit-limit"] == "5"
        assert answer.status_code == 429 and left[-1] == 0 and left == sorted(left, reverse=True)
        assert answer.json()["detail"] == "Rate limit exceeded"
        assert 3500 < int(answer.headers["retry-after"]) <= 3600
        rpc = await http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert rpc.status_code == 429 and rpc.json()["error"]["message"] == "Rate limit exceeded"
        chat = await http.post("/v1/chat/completions", json={})
        assert chat.status_code == 429 and chat.json()["error"]["code"] == "rate_limit_exceeded"
        step = await http.get("/pipeline/x/status")
        assert step.status_code == 429 and step.json()["error"] == "rate_limit_exceeded"
        assert step.headers["x-rate-limit-remaining"] == "0" and "x-rate-limit-reset" in step.headers


async def test_what_is_done_and_refused_is_in_the_log_whatever_way_it_came(served: Served) -> None:
    key = create_key(served.state, "auditor", "--scope", "deploy")
    weak = create_key(served.state, "weak", "--scope", "run")
    source = {"pipeline_wrapper.py": wrapper("def run_api(self) -> int:\n    'One.'\n    return 1\n")}
    async with (
        httpx.AsyncClient(base_url=served.url, headers=bearer(key), trust_env=False, timeout=LIMIT) as http,
        httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as other,
    ):

        async def known() -> bool:
            statuses = [
                (await other.get("/status", headers=bearer(each))).status_code for each in (key, weak)
            ]
            return statuses == [200, 200]

        await until(known, LIMIT)
        body = {"name": "one", "files": source}
        assert (await http.post("/deploy_files", json=body)).status_code == 200
        assert (await http.post("/deploy_files", json=body)).status_code == 409
        third = await http.post("/deploy_files", json=body)
        assert third.status_code == 429 and third.headers["x-ratelimit-limit"] == "2"
        for registers in ("/models/register", "/api/models/register"):
            refused = await http.post(registers, json={})
            assert refused.status_code == 429 and refused.headers["x-ratelimit-limit"] == "2"
        assert (await http.post("/undeploy/one")).status_code == 200
        assert (await other.post("/undeploy/one", headers=bearer(weak))).status_code == 403
        assert (await other.get("/status", headers=bearer("mcp_nobody_nothing"))).status_code == 401
    command("keys", "revoke", "weak", "--state", served.state)

    async def there() -> bool:
        return any(event.action == "login" for event in events(served))

    await until(there, LIMIT)
    seen = events(served)
    done = [(e.action, e.subject, e.outcome) for e in seen if e.action.endswith("_pipeline")]
    assert done == [
        ("deploy_pipeline", "one", "done"),
        ("deploy_pipeline", "one", "conflict"),
        ("undeploy_pipeline", "one", "done"),
    ]
    deploy = next(event for event in seen if event.action == "deploy_pipeline")
    assert (deploy.origin, deploy.peer, deploy.version) == ("rest", "127.0.0.1", 1) and len(
        deploy.digest or ""
    ) == 64
    denied = {event.action: event for event in seen if event.outcome == "denied"}
    weakling = next(event for event in seen if event.subject.startswith("weak"))
    assert denied["POST /undeploy/one"].caller == f"key:{weakling.subject[6:-1]}"
    assert {e.action for e in seen if e.origin == "cli"} == {"create_key", "revoke_key"}
    verdict = command("audit", "verify", served.folder, "--state", served.state)
    assert verdict.returncode == 0, verdict.stderr


async def test_thirty_secrets_are_in_nothing_that_is_said_after_failures_of_every_kind(
    served: Served,
) -> None:
    key = create_key(served.state, "user", "--scope", "admin")
    said: list[str] = []
    async with httpx.AsyncClient(
        base_url=served.url, headers=bearer(key), trust_env=False, timeout=LIMIT
    ) as http:

        async def ask(method: str, path: str, **more: Any) -> httpx.Response:
            answer = await http.request(method, path, **more)
            said.append(f"{answer.headers}\n{answer.text}")
            return answer

        async def known() -> bool:
            return (await http.get("/status")).status_code == 200

        await until(known, LIMIT)
        for number in range(1, 9):
            for how in ("fine", "raise", "exit", "kill") if number == 1 else ("raise",):
                await ask("POST", f"/failing{number}/run", json={"how": how})
        for number in range(11, 16):  # credentials that are no good
            await ask("GET", "/status", headers=bearer(f"mcp_x_{CANARIES[number]}"))
        for number in range(16, 20):
            await ask("GET", "/status", headers={"X-API-Key": CANARIES[number]})
        for number in range(20, 24):  # arguments that are no good
            await ask(
                "POST", "/failing2/run", json={"how": 3, CANARIES[number]: 1, "secret": CANARIES[number]}
            )
        for number in range(24, 28):
            await ask("POST", "/mcp", content=f'{{"jsonrpc": "2.0", "id": 1, "{CANARIES[number]}": '.encode())
        for path in SHOWING:
            await ask("GET", path)
        for run in (await http.get("/runs")).json()["runs"]:
            await ask("GET", f"/runs/{run['run_id']}")
    shown = command("audit", "list", served.folder, "--state", served.state, "--limit", 1000, "--json")
    store = f"postgresql+psycopg://user:{CANARIES[28]}@127.0.0.1:1/none"
    failed = command("audit", "verify", served.folder, env={**os.environ, "MCP_SERVER_STORE": store})
    bad = command("run", served.folder, "--webhook-secret", CANARIES[29])
    assert failed.returncode == bad.returncode == 2
    said += [shown.stdout, shown.stderr, failed.stdout, failed.stderr, bad.stdout, bad.stderr]
    files = [each for each in served.state.rglob("*") if each.is_file()]
    said += [each.read_bytes().decode("latin-1") for each in files]  # rows, and copies of sources
    said += [served.log.read_text(), key if key in served.log.read_text() else ""]
    found = {canary for canary in (*CANARIES, WEBHOOK, key) if any(canary in text for text in said)}
    echoed = set(CANARIES[20:24])  # the names of unknown arguments are told to whoever sent them
    assert found - echoed == set()
    assert not any(canary in served.log.read_text() + shown.stdout for canary in echoed)


async def test_a_client_of_mcp_reads_that_it_asked_too_often(served: Served) -> None:
    key = create_key(served.state, "eager", "--scope", "deploy")
    import httpx2

    files = {"pipeline_wrapper.py": wrapper("def run_api(self) -> int:\n    'Two.'\n    return 2\n")}
    async with httpx2.AsyncClient(headers=bearer(key), timeout=LIMIT) as http:

        async def known() -> bool:
            return (await http.get(f"{served.url}/status")).status_code == 200

        await until(known, LIMIT)
        with anyio.fail_after(LIMIT):
            async with Client(streamable_http_client(f"{served.url}/mcp", http_client=http)) as client:
                call = {"name": "two", "files": files, "overwrite": True}
                results = [await client.call_tool("deploy_pipeline", call) for _ in range(3)]
                again = {"name": "three", "source": "two:1"}
                results.append(await client.call_tool("register_version", again))
    assert [result.is_error for result in results] == [False, False, True, True]
    for refused in results[2:]:
        assert "Rate limit exceeded; try again in" in refused.content[0].model_dump()["text"]
