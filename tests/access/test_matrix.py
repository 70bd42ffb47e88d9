"""Who may do what: every route and every management tool, with nine credentials."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import Served, serve, until
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from mcp_server.access.scopes import granted
from mcp_server.access.table import OPEN, ROUTES, TOOLS, WHOLE
from mcp_server.models import Caller
from mcp_server.surfaces.management import TOOLS as MANAGEMENT

from .conftest import bearer, command, create_key, pipelines

pytestmark = pytest.mark.anyio

SCOPES: Mapping[str, tuple[str, ...]] = {
    "read": ("read",),
    "run": ("run",),
    "one": ("run:greet",),
    "deploy": ("deploy",),
    "admin": ("admin",),
}
"""What the good keys hold."""
BAD = ("none", "wrong", "expired", "revoked")
ROUTED = [(method, path) for method, _, path in (each.rpartition(" ") for each in ROUTES)]
BODIES = ("POST", "PUT", "PATCH")
CLIENT = httpx.AsyncClient(trust_env=False, timeout=60)
"""One for all requests: making one takes longer than most of them."""
UNKNOWN = {"{name}": "other", "{model}": "other", "{run_id}": "01nothere", "{version}": "1", "{file}": "x"}
SAMPLES: dict[str, Any] = {"string": "other", "object": {}, "integer": 1, "number": 1.0, "array": [{}]}


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    place = tmp_path_factory.mktemp("matrix")
    for name, scopes in SCOPES.items():
        flags = ("--pipeline", "greet") if name == "one" else ("--scope", scopes[0])
        (place / name).write_text(create_key(place / "state", name, *flags))
    (place / "revoked").write_text(create_key(place / "state", "revoked", "--scope", "admin"))
    (place / "expired").write_text(create_key(place / "state", "expired", "--scope", "admin"))
    expire(place / "state", "expired")
    command("keys", "revoke", "revoked", "--state", place / "state")
    folder = pipelines(place / "folder", ["greet", "other"])
    async with serve(folder, "--rate-per-second", "0", state=place / "state") as running:
        headers = bearer((place / "read").read_text())

        async def up() -> bool:
            shown = await asked(running, "GET", "/status", headers)
            return shown.json().get("pipelines") == ["greet", "other"]

        await until(up, 60)
        yield running


def expire(state: Path, name: str) -> None:
    """Let a key be a thing of the past."""
    from mcp_server.store.key_rows import Keys

    rows = Keys(state / "state.db")
    rows.change(name, expires=1.0)
    rows.close()


def headers_of(served: Served, credential: str) -> dict[str, str]:
    """What a client with this credential sends."""
    if credential == "none":
        return {}
    if credential == "wrong":
        return bearer("mcp_aaaaaaaaaaaa_" + "b" * 43)
    return bearer((served.state.parent / credential).read_text())


async def asked(
    served: Served, method: str, path: str, headers: Mapping[str, str], body: Any = None
) -> httpx.Response:
    """The answer to one request, without what comes after the headers of a stream."""
    async with CLIENT.stream(method, f"{served.url}{path}", headers=headers, json=body) as answer:
        if "event-stream" not in answer.headers.get("content-type", ""):
            await answer.aread()
        return answer


def filled(path: str, name: str = "other") -> str:
    """The path about a pipeline or a run that the caller has no business with."""
    for parameter in re.findall(r"\{\w+\}", path):
        path = path.replace(parameter, name if parameter == "{name}" else UNKNOWN.get(parameter, "manage"))
    return path


@pytest.mark.parametrize("credential", [*BAD, *SCOPES])
async def test_every_route_lets_in_whom_the_table_says(served: Served, credential: str) -> None:
    before = await state(served)
    caller = Caller(name="x", scopes=granted(SCOPES.get(credential, ())) - {"deploy"} | locally(credential))
    wrong: list[str] = []
    together = anyio.CapacityLimiter(20 if credential in BAD else 1)  # an unknown key may wait for a second

    async def look(verb: str, path: str, need: str | None) -> None:
        async with together:
            headers = headers_of(served, credential)
            answer = await asked(served, verb, filled(path), headers, {} if verb in BODIES else None)
        if credential in BAD and (need is not OPEN or credential != "none"):
            right = answer.status_code in (401, 429)
        elif need is OPEN:
            right = answer.status_code not in (401, 403, 500)
        elif not (caller.may(need) if path not in WHOLE else need in caller.scopes):
            right = answer.status_code == 403 and "insufficient_scope" in answer.headers["www-authenticate"]
        else:
            right = answer.status_code not in (401, 403, 500)
            if credential == "one" and "{name}" in path and "/artifacts/" not in path:
                right = answer.status_code in (400, 404)  # a bad request is told first
        if not right:
            wrong.append(f"{verb} {path}: {answer.status_code}")

    async with anyio.create_task_group() as tasks:
        for method, path in ROUTED:
            for verb in [method] if method else ["GET", "POST", "DELETE"]:
                tasks.start_soon(look, verb, path, ROUTES[f"{method} {path}".strip()])
    assert wrong == []
    if credential not in ("deploy", "admin"):
        assert await state(served) == before


def locally(credential: str) -> set[str]:
    """On this machine a key that may deploy, may."""
    return {"deploy"} if credential in ("deploy", "admin") else set()


async def state(served: Served) -> Any:
    """What is deployed."""
    details = (await asked(served, "GET", "/status", headers_of(served, "admin"))).json()["details"]
    return [(each["name"], each["status"], each.get("version"), each.get("calls")) for each in details]


@pytest.mark.parametrize("credential", SCOPES)
async def test_every_tool_is_listed_and_answers_for_whom_the_table_says(
    served: Served, credential: str
) -> None:
    caller = Caller(name="x", scopes=granted(SCOPES[credential]))
    async with protocol(served, credential, "/mcp/manage") as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert listed == {name for name in TOOLS if caller.may(TOOLS[name])}
        for tool in MANAGEMENT:
            name = tool["name"]
            if caller.may(TOOLS[name]):
                continue
            with pytest.raises(MCPError) as unknown:
                await client.call_tool(name, sample(tool["inputSchema"]))
            assert (unknown.value.code, str(unknown.value)) == (-32602, f"Unknown tool: {name}")


async def test_another_pipeline_is_to_a_key_for_one_as_one_that_is_not_there(served: Served) -> None:
    async with protocol(served, "one", "/mcp") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "greet" in names and "other" not in names
        resources = {str(each.uri) for each in (await client.list_resources()).resources}
        assert "pipeline://greet" in resources and "pipeline://other" not in resources
        for tool in MANAGEMENT:
            if TOOLS[tool["name"]] not in ("read", "run"):
                continue
            arguments = sample(tool["inputSchema"])
            if "other" not in arguments.values():
                continue
            foreign, absent = replaced(arguments, "other"), replaced(arguments, "nowhere")
            told = (await client.call_tool(tool["name"], foreign)).model_dump_json()
            expected = (await client.call_tool(tool["name"], absent)).model_dump_json()
            assert told.replace("other", "nowhere") == expected, tool["name"]
        for uri in (
            "pipeline://{}",
            "pipeline://{}/diagram",
            "pipeline://{}/versions/1",
            "pipeline://{}/source/x",
            "pipeline://{}/versions/1/source/x",
        ):
            told, expected = [str(await error(client, uri.format(name))) for name in ("other", "nowhere")]
            assert told.replace("other", "nowhere") == expected
    for method, path in ROUTED:
        if "{name}" in path and "/artifacts/" not in path and ROUTES[f"{method} {path}"] in ("read", "run"):
            answers = [
                await asked(served, method, filled(path, name), headers_of(served, "one"))
                for name in ("other", "nowhere")
            ]
            assert {answer.status_code for answer in answers} in ({404}, {400}), path
            told, expected = (without_ids(answer.text) for answer in answers)
            assert told.replace("other", "nowhere") == expected, path
    status = (await asked(served, "GET", "/status", headers_of(served, "one"))).json()
    assert [each["name"] for each in status["details"]] == ["greet"]
    document = (await asked(served, "GET", "/openapi.json", headers_of(served, "one"))).text
    assert "/greet/run" in document and "/other/run" not in document and "/deploy_files" not in document


async def test_without_a_key_the_document_shows_no_pipeline(served: Served) -> None:
    document = (await asked(served, "GET", "/openapi.json", {})).text
    assert "/runs/{run_id}" in document and "/greet/run" not in document


@asynccontextmanager
async def protocol(served: Served, credential: str, path: str) -> AsyncIterator[Client]:
    """A client of MCP with this credential."""
    async with (
        httpx.AsyncClient(headers=headers_of(served, credential), trust_env=False, timeout=60) as http,
        Client(streamable_http_client(f"{served.url}{path}", http_client=http)) as client,
    ):
        yield client


async def error(client: Client, uri: str) -> MCPError:
    """Why the resource cannot be read."""
    with pytest.raises(MCPError) as raised:
        await client.read_resource(uri)
    return raised.value


def replaced(arguments: dict[str, Any], name: str) -> dict[str, Any]:
    """The arguments about that pipeline."""
    return {key: name if value == "other" else value for key, value in arguments.items()}


def sample(schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments that fit, about the pipeline `other`."""
    made: dict[str, Any] = {}
    for name in schema.get("required", ()):
        told = schema["properties"][name]
        number = "pattern" in told and "1-9" in told["pattern"]
        made[name] = "1" if number else told.get("enum", [SAMPLES[told.get("type", "string")]])[0]
    return made


def without_ids(text: str) -> str:
    """An error without what differs at each request."""
    return re.sub(r'"(request_id|timestamp)":\s*"[^"]*"', "", text)
