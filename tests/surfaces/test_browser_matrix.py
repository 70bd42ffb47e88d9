"""What a page in the operator's browser may do: nothing, on any route, whatever headers it comes with."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from clients import Served

from mcp_server.access.table import ROUTES

from .conftest import wrapper
from .test_http import INITIALIZE

pytestmark = pytest.mark.anyio
LIMIT = 110.0
ONE = "def run_api(self) -> int:\n    'One.'\n    return 1\n"
OWN = "Host: {own}"
REFUSED: Mapping[str, tuple[int, str, tuple[str, ...]]] = {
    "a name that was bound to us": (421, "", ("Host: evil.example:{port}",)),
    "a page of its own that was bound to us": (
        421,
        "",
        ("Host: evil.example", "Origin: http://evil.example"),
    ),
    "a name that begins as ours": (421, "", ("Host: {own}.evil.example",)),
    "a name behind ours": (421, "", ("Host: {own}@evil.example",)),
    "no host": (400, "", ()),
    "two hosts": (400, "", (OWN, "Host: evil.example")),
    "a target that is a URL": (400, "http://{own}", (OWN,)),
    "a page elsewhere": (403, "", (OWN, "Origin: https://evil.example")),
    "a page without an origin": (403, "", (OWN, "Origin: null")),
    "a page of another program here": (403, "", (OWN, "Origin: http://localhost:1")),
    "two origins": (400, "", (OWN, "Origin: http://{own}", "Origin: https://evil.example")),
    "a form elsewhere": (403, "", (OWN, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")),
}
"""What comes before the path, the headers, and with which status it is refused; twelve cases."""
BODIES: Mapping[str, Any] = {
    "/deploy_files": {"name": "evil", "files": {"pipeline_wrapper.py": wrapper(ONE)}},
    "/runs": {"name": "echo", "arguments": {"text": "evil"}},
    "/{name}/run": {"text": "evil"},
    "/mcp": INITIALIZE,
    "/undeploy/{name}": {},
}
"""What would do something if it were let in."""
WEBSOCKET = "/step/{run_id}/stream"
BARE = [
    f"{method} {path}" for path in ("/mcp", "/sse", "/messages") for method in ("GET", "DELETE", "OPTIONS")
]
"""The routes that take every method, with those that are not tried otherwise."""
NAMES = {"name": "echo", "model": "echo", "version": "1"}


def request(route: str, own: str, before: str, headers: tuple[str, ...]) -> bytes:
    """A request as bytes; a route without a method is asked with POST."""
    verb, _, path = route.rpartition(" ")
    filled = re.sub(r"\{(\w+)(:path)?\}", lambda found: NAMES.get(found[1], "x"), path)
    body = b"" if verb in ("GET", "OPTIONS") else json.dumps(BODIES.get(path, {})).encode()
    lines = [f"{verb or 'POST'} {before}{filled} HTTP/1.1", *headers, "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", "Accept: application/json, text/event-stream"]
    if path == WEBSOCKET:
        lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    port = own.rpartition(":")[2]
    return "\r\n".join([*lines, "", ""]).format(own=own, port=port).encode() + body


async def status(own: str, request: bytes) -> int:
    """The status that a request is answered with on a connection of its own."""
    host, _, port = own.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split(b" ")[1])


async def state(served: Served) -> Any:
    """What is there: pipelines, versions, runs, sessions."""
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as http:
        details = (await http.get("/status")).json()["details"]
        runs = (await http.get("/runs")).json()
        metrics = (await http.get("/metrics")).text
    shown = [(each["name"], each["status"], each.get("version"), each.get("calls")) for each in details]
    counted = [
        line for line in metrics.splitlines() if re.match(r"mcp_server_(runs|pipelines|catalog)\w*[ {]", line)
    ]
    return shown, runs, counted, sorted(path.name for path in served.folder.iterdir())


@pytest.mark.parametrize("case", REFUSED)
async def test_a_page_gets_nowhere_on_any_route(served: Served, case: str) -> None:
    own, before = urlsplit(served.url).netloc, await state(served)
    wanted, target, headers = REFUSED[case]
    wrong: dict[str, int] = {}
    with anyio.fail_after(LIMIT):
        for route in (*ROUTES, *BARE):
            got = await status(own, request(route, own, target, headers))
            if got != wanted and not (
                got == 403 and route.endswith(WEBSOCKET)
            ):  # the guard's only answer there
                wrong[route] = got
    assert wrong == {}
    assert await state(served) == before


async def test_the_same_requests_do_something_if_they_come_from_a_program(served: Served) -> None:
    own, before = urlsplit(served.url).netloc, await state(served)
    with anyio.fail_after(LIMIT):
        for path in BODIES:
            assert await status(own, request(f"POST {path}", own, "", (OWN,))) in (200, 201, 202), path
    assert await state(served) != before
