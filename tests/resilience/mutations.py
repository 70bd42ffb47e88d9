"""Messages of both protocol eras, and what broken or hostile clients make of them; the same for one seed."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from .sockets import ACCEPT, MODERN, modern

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, 2**53, 2**64, -(2**70), "", " ", "0", "null", "\x00", "\ud800"),
    *("é" * 300, "a" * 5000, "../../etc/passwd", "${HOME}", "{{7*7}}", "%s%n", "\u202e", "<script>"),
    *([], {}, [[]], [None], {"": ""}, {"$ref": "http://127.0.0.1:9/"}, [[[[[[[[[[]]]]]]]]]]),
    *({"jsonrpc": "2.0"}, ["x"] * 500, {str(n): n for n in range(300)}),
)
METHODS = (
    "initialize",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "ping",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "prompts/list",
    "resources/unsubscribe",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "tasks/get",
    "tasks/cancel",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "server/discover",
    "subscriptions/listen",
    "sampling/createMessage",
    "no/such",
    "rpc.x",
)
PARAMS: dict[str, dict[str, Any]] = {
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "fuzz", "version": "1"},
    },
    "notifications/cancelled": {"requestId": 1, "reason": "none"},
    "notifications/progress": {"progressToken": 1, "progress": 1},
    "tools/call": {"name": "echo", "arguments": {"text": "hi"}},
    "resources/read": {"uri": "pipeline://echo"},
    "resources/subscribe": {"uri": "pipeline://echo"},
    "resources/unsubscribe": {"uri": "pipeline://echo"},
    "prompts/get": {"name": "write_pipeline", "arguments": {"task": "x"}},
    "completion/complete": {
        "ref": {"type": "ref/resource", "uri": "pipeline://{name}"},
        "argument": {"name": "name", "value": "e"},
    },
    "logging/setLevel": {"level": "error"},
    "tasks/get": {"taskId": "01"},
    "tasks/cancel": {"taskId": "01"},
    "tasks/result": {"taskId": "01"},
    "tasks/update": {"taskId": "01", "inputResponses": {}},
    "subscriptions/listen": {"notifications": {"toolsListChanged": True}},
}


@dataclass
class Case:
    """A request, but for its session."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict[str, str])
    path: str = "/mcp"
    is_modern: bool = False


def case(random: Random, number: int) -> Case:
    """One of very many."""
    method = random.choice(METHODS)
    params = copy.deepcopy(PARAMS.get(method, {}))
    is_modern = random.random() < 0.5
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    headers = {"content-type": "application/json", "accept": ACCEPT}
    if is_modern:
        message = modern(method, params, number)
        headers |= {"mcp-protocol-version": MODERN, "mcp-method": method}
        if name := params.get("name") or params.get("uri") or params.get("taskId"):
            headers["mcp-name"] = name
    if method.startswith("notifications/"):
        del message["id"]
    given: Any = message
    for _ in range(random.choice((0, 1, 1, 2, 5))):
        given = twisted(random, given)
    body = json.dumps(given).encode("utf-8", "surrogatepass")
    for _ in range(random.choice((0, 0, 0, 1, 3))):
        body = scratched(random, body)
    if random.random() < 0.15:
        bend(random, headers)
    return Case(body, headers, random.choice(("/mcp", "/mcp", "/mcp/", "/mcp/manage")), is_modern)


def twisted(random: Random, value: Any) -> Any:
    """The value with junk somewhere in it."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.15:
        return copy.deepcopy(random.choice(JUNK))
    if isinstance(value, list):
        return [*value, random.choice(JUNK)]
    key = random.choice(list(value))
    match random.randrange(5):
        case 0:
            return {name: each for name, each in value.items() if name != key}
        case 1:
            return {**value, random.choice(("", "id", "method", "params", "_meta", "result", "x" * 300)): 1}
        case _:
            return {**value, key: twisted(random, value[key])}


def scratched(random: Random, data: bytes) -> bytes:
    """The bytes with a few of them wrong."""
    at = random.randrange(len(data) + 1)
    end = at + random.randrange(12)
    match random.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at] + random.randbytes(random.randrange(1, 9)) + data[at:]
        case 3:
            return data[:at] + data[at:end] * random.randrange(2, 60) + data[end:]
        case 4:
            return data[:at] + random.choice((b"[", b"{", b'"', b"\\u", b"\x00", b"}", b"]]")) + data[at:]
        case _:
            return data[:at] + bytes(byte ^ 1 << random.randrange(8) for byte in data[at:end]) + data[end:]


def bend(random: Random, headers: dict[str, str]) -> None:
    """Leave out a header, or give it another value."""
    name = random.choice((*headers, "mcp-protocol-version", "mcp-session-id", "mcp-method", "last-event-id"))
    if random.random() < 0.4:
        headers.pop(name, None)
    else:
        junk = (
            "",
            "x",
            "2025-03-26",
            "2024-11-05",
            MODERN,
            "1999-01-01",
            "tools/call",
            "0.1",
            "a" * 2000,
            "\xe9",
        )
        headers[name] = random.choice(junk)
