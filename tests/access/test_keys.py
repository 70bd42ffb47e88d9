"""API keys: made on the command line, sent in four ways, refused as RFC 6750 says, known at once."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import Served, serve, until
from surfaces.test_bad_input import headers_of, modern
from surfaces.test_http import HEADERS, INITIALIZE

from mcp_server.access import Access
from mcp_server.authentication import Authentication
from mcp_server.settings import Settings

from .conftest import bearer, command, create_key, pipelines

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server that takes keys in the address, too; it begins with the key `first`."""
    place = tmp_path_factory.mktemp("keys")
    (place / "first").write_text(create_key(place / "state", "first"))
    folder = pipelines(place / "folder", ["greet", "other"])
    async with serve(folder, "--key-in-query", state=place / "state") as running:
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=60) as http:
        yield http


@pytest.fixture
def first(served: Served) -> str:
    return (served.state.parent / "first").read_text()


async def test_a_key_is_taken_in_each_of_its_four_forms(client: httpx.AsyncClient, first: str) -> None:
    for headers in (bearer(first), {"Authorization": f"ApiKey {first}"}, {"X-API-Key": first}):
        assert (await client.get("/status", headers=headers)).status_code == 200
    assert (await client.get("/status", params={"api_key": first})).status_code == 200


async def test_without_a_key_the_answer_is_401_without_an_error(client: httpx.AsyncClient) -> None:
    answer = await client.get("/status")
    assert (answer.status_code, answer.json()["detail"]) == (401, "API key required")
    assert answer.headers["www-authenticate"] == 'Bearer realm="mcp-server"'


async def test_a_wrong_key_is_an_invalid_token(client: httpx.AsyncClient, first: str) -> None:
    for wrong in (first[:-1] + "!", "mcp_nothere_secret", "else", "", "mcp_", "mcp__", "ä"):
        answer = await client.get("/status", headers={"X-API-Key": wrong.encode()})
        assert answer.status_code in (401, 429)
        if answer.status_code == 401:
            assert answer.json()["detail"] == "Invalid or expired API key"
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_two_different_keys_are_a_bad_request(client: httpx.AsyncClient, first: str) -> None:
    answer = await client.get("/status", headers={**bearer(first), "X-API-Key": "another"})
    assert answer.status_code == 400
    assert 'error="invalid_request"' in answer.headers["www-authenticate"]
    both = {**bearer(first), "X-API-Key": first}
    assert (await client.get("/status", headers=both)).status_code == 200


async def test_each_surface_refuses_in_its_own_shape(client: httpx.AsyncClient) -> None:
    assert (await client.post("/mcp", json={})).json()["error"]["message"] == "API key required"
    assert (await client.get("/v1/models")).json()["error"]["code"] == "invalid_api_key"
    steps = (await client.get("/pipeline/x/status")).json()
    assert (steps["error"], steps["message"]) == ("invalid_api_key", "API key required")
    assert (await client.get("/runs")).json()["error"]["type"] == "authentication_error"


async def test_a_new_key_works_at_once(client: httpx.AsyncClient, served: Served) -> None:
    key = create_key(served.state, "new")
    assert (await client.get("/status", headers=bearer(key))).status_code == 200


async def test_a_rotated_key_keeps_its_runs_and_a_revoked_one_is_refused(
    client: httpx.AsyncClient, served: Served
) -> None:
    await loaded_as(client, create_key(served.state, "reader"))
    key = create_key(served.state, "turning")
    begun = await client.post(
        "/runs", json={"name": "greet", "arguments": {"text": "hi"}}, headers=bearer(key)
    )
    run = f"/runs/{begun.json()['run_id']}"
    rotated = command("keys", "rotate", "turning", "--state", served.state)
    assert rotated.returncode == 0

    async def refused() -> bool:
        return (await client.get(run, headers=bearer(key))).status_code in (401, 429)

    await until(refused)
    fresh = rotated.stdout.strip()
    assert fresh.split("_")[1] == key.split("_")[1]
    assert (await client.get(run, headers=bearer(fresh))).status_code == 200
    assert command("keys", "revoke", "turning", "--state", served.state).returncode == 0
    os.kill(served.pid, signal.SIGHUP)

    async def revoked() -> bool:
        return (await client.get(run, headers=bearer(fresh))).status_code in (401, 429)

    await until(revoked)


async def test_what_a_key_has_open_ends_with_it(client: httpx.AsyncClient, served: Served) -> None:
    """Streams of both eras and a session; those of another secret only if the key ends."""
    key = create_key(served.state, "leaving")
    opening = await client.post("/mcp", json=INITIALIZE, headers=HEADERS | bearer(key))
    session = {"Mcp-Session-Id": opening.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    listen = modern("subscriptions/listen", {"notifications": {}})

    async def inside(key: str) -> int:
        return (await client.post("/mcp", json=ping, headers=HEADERS | bearer(key) | session)).status_code

    async def opened(method: str, path: str, more: dict[str, str], body: Any = None) -> httpx.Response:
        request = client.build_request(method, path, headers=HEADERS | bearer(key) | more, json=body)
        answer = await client.send(request, stream=True)
        assert answer.status_code == 200
        return answer

    async def streams() -> list[httpx.Response]:
        listening = await opened("POST", "/mcp", headers_of(listen), listen)
        return [listening, await opened("GET", "/sse", {}), await opened("GET", "/mcp", session)]

    with anyio.fail_after(60):
        old = await streams()
        key = command("keys", "rotate", "leaving", "--state", served.state).stdout.strip()
        for each in old:
            await each.aread()  # to its end
        assert await inside(key) == 200
        new = await streams()
        assert command("keys", "revoke", "leaving", "--state", served.state).returncode == 0
        for each in new:
            await each.aread()
        assert await inside(key) in (401, 429)


async def test_a_websocket_ends_with_its_key(tmp_path: Path) -> None:
    key, sent = create_key(tmp_path, "only"), list[Any]()
    access = Access(Settings(state=tmp_path))

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "websocket.accept":
            assert command("keys", "revoke", "only", "--state", tmp_path).returncode == 0

    scope = {"type": "websocket", "path": "/x", "headers": [(b"x-api-key", key.encode())], "client": None}
    async with access:
        app = Authentication(waits, access=access, denied=lambda event: None)
        with anyio.fail_after(60):
            await app(scope, anyio.sleep_forever, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.accept"}, {"type": "websocket.close", "code": 1008}]


async def test_a_server_whose_last_key_is_deleted_needs_none_again(tmp_path: Path) -> None:
    create_key(tmp_path / "state", "only")
    delete = ("keys", "delete", "only", "--state", tmp_path / "state")
    async with (
        serve(pipelines(tmp_path / "folder", ["greet"]), state=tmp_path / "state") as served,
        httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=60) as http,
    ):
        assert (await http.get("/status")).status_code == 401
        refused = command(*delete)
        assert refused.returncode == 2 and "revoke it first" in refused.stderr
        assert command("keys", "revoke", "only", "--state", served.state).returncode == 0
        assert (await http.get("/status")).status_code == 401
        assert "asks for none" in command(*delete).stdout

        async def is_open() -> bool:
            return (await http.get("/status")).status_code == 200

        await until(is_open, 30)
    listed = command("audit", "list", served.folder, "--state", served.state, "--json").stdout
    assert [action for action in ("create_key", "revoke_key", "delete_key") if action in listed] == [
        "create_key",
        "revoke_key",
        "delete_key",
    ]


async def test_a_key_expires(client: httpx.AsyncClient, served: Served, first: str) -> None:
    from mcp_server.access.keyring import new_secret
    from mcp_server.store.key_rows import Keys
    from mcp_server.store.keys import Key

    secret, digest = new_secret()
    now, keys = time.time(), Keys(served.state / "state.db")
    keys.add(
        Key(id="soon", name="soon", digest=digest, scopes=("run",), created=now, changed=now, expires=now + 2)
    )
    keys.close()
    headers = bearer(f"mcp_soon_{secret}")
    assert (await client.get("/status", headers=headers)).status_code == 200

    async def expired() -> bool:
        return (await client.get("/status", headers=headers)).status_code in (401, 429)

    await until(expired)


async def test_bad_credentials_are_told_to_wait_and_good_ones_are_not(
    client: httpx.AsyncClient, first: str
) -> None:
    with anyio.fail_after(30):
        while (answer := await client.get("/status", headers=bearer("mcp_a_b"))).status_code != 429:
            assert answer.status_code == 401
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert (await client.get("/status", headers=bearer(first))).status_code == 200


async def test_the_secret_is_shown_once_and_kept_nowhere(served: Served, first: str) -> None:
    listed = command("keys", "list", "--state", served.state, "--json")
    secret = first.split("_", 2)[2]
    assert "first" in listed.stdout and secret not in listed.stdout
    kept = [path for path in served.state.rglob("*") if path.is_file()]
    assert kept and not any(secret.encode() in path.read_bytes() for path in kept)
    assert secret not in served.log.read_text()


async def test_the_local_token_is_private_and_lets_its_user_manage(
    client: httpx.AsyncClient, served: Served
) -> None:
    file = served.state / "token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    answer = await client.post("/undeploy/other", headers=bearer(file.read_text()))
    assert answer.status_code == 200
    done = command("status", "--url", served.url)
    assert done.returncode == 1 or "greet" in done.stdout


async def loaded_as(client: httpx.AsyncClient, key: str) -> None:
    """Wait until the pipelines serve."""

    async def up() -> bool:
        details = (await client.get("/status", headers=bearer(key))).json()["details"]
        return bool(details) and all(each["status"] != "loading" for each in details)

    await until(up, 60)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--scope", "all"), "no scope 'all'"),
        (("--scope", "admin", "--pipeline", "greet"), "limits the scope run only"),
        (("--expires", "soon"), "is no time"),
        (("--pipeline", "../x"), "no scope"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(tmp_path: Path, flags: tuple[str, ...], why: str) -> None:
    done = command("keys", "create", "x", "--state", tmp_path, *flags)
    assert done.returncode == 2 and why in done.stderr, done.stderr
