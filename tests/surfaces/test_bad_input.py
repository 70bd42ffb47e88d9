"""What a client may not send: each is refused with the specification's code and HTTP status, at once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import mcp_types as types
import orjson
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from clients import Served, command, serve

from .conftest import wrapper
from .test_http import HEADERS, INITIALIZE

pytestmark = pytest.mark.anyio

MODERN = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
WRAPPERS = {
    "echo": '''
        def run_api(self, text: str) -> str:
            """Gives the text back."""
            return text
    ''',
    "nothing": '''
        def run_api(self) -> None:
            """Gives nothing."""
    ''',
    "numbers": '''
        def run_api(self) -> list[int]:
            """Gives no object."""
            return [1, 2]
    ''',
    "picky": '''
        def run_api(self, context: Context) -> str:
            """Needs a client with a model."""
            context.require("sampling")
            return "never"
    ''',
    "confirm": '''
        def run_api(self, context: Context, trace: str) -> str:
            """Leaves a line in a file whenever it begins and whenever it goes on."""
            with open(trace, "a") as file:
                file.write("began ")
            answer = context.ask("Sure?", {"type": "object", "properties": {"ok": {"type": "boolean"}}})
            with open(trace, "a") as file:
                file.write(answer.action + " ")
            return answer.action
    ''',
}


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("pipelines")
    for name, body in WRAPPERS.items():
        (folder / name).mkdir()
        (folder / name / "pipeline_wrapper.py").write_text(wrapper(body))
    async with serve(folder) as running:
        yield running


@pytest.fixture(scope="module")
async def http(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=10, headers=HEADERS) as client:
        yield client


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(60):
        yield


@pytest.fixture(scope="module")
async def session(http: httpx.AsyncClient) -> dict[str, str]:
    """The headers of an open handshake-era session."""
    answer = await http.post("/mcp", json=INITIALIZE)
    headers = {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
    initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await http.post("/mcp", json=initialized, headers=headers)).status_code == 202
    return headers


def message(method: Any, params: Any = None, identity: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": params or {}}


def modern(method: str, params: dict[str, Any] | None = None, /, **capabilities: Any) -> dict[str, Any]:
    """A request of the modern era."""
    meta = {f"{PREFIX}protocolVersion": MODERN, f"{PREFIX}clientCapabilities": capabilities}
    return message(method, {"_meta": meta, **(params or {})})


def headers_of(body: dict[str, Any]) -> dict[str, str]:
    """The headers that go with a request of the modern era."""
    params = body["params"] if isinstance(body.get("params"), dict) else {}
    named = {"Mcp-Name": params.get("name") or params.get("uri")}
    head = {"MCP-Protocol-Version": MODERN, "Mcp-Method": body["method"]}
    return head | {name: value for name, value in named.items() if isinstance(value, str)}


async def ask(http: httpx.AsyncClient, body: dict[str, Any]) -> httpx.Response:
    return await http.post("/mcp", json=body, headers=headers_of(body))


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The JSON-RPC error of an answer, be it JSON or one event of a stream."""
    text = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        text = [line for line in text.splitlines() if line.startswith("data: {")][-1].removeprefix("data: ")
    error = orjson.loads(text)["error"]
    assert len(error["message"]) < 300 and "Traceback" not in error["message"]
    return error


BODIES: list[tuple[bytes, int]] = [
    (b"", types.PARSE_ERROR),
    (b"{", types.PARSE_ERROR),
    (b"\xff\xfe", types.PARSE_ERROR),
    (b"[" * 100_000, types.PARSE_ERROR),
    (b"[]", types.INVALID_REQUEST),
    (b"null", types.INVALID_REQUEST),
    (b"7", types.INVALID_REQUEST),
    (b"{}", types.INVALID_REQUEST),
    (b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}', types.INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":7}', types.INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[1]}', types.INVALID_REQUEST),
    (b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]', types.INVALID_REQUEST),
]


@pytest.mark.parametrize(("body", "code"), BODIES)
@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_a_body_that_is_no_message_is_refused(
    http: httpx.AsyncClient, session: dict[str, str], era: str, body: bytes, code: int
) -> None:
    head = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"} if era == "modern" else session
    answer = await http.post("/mcp", content=body, headers=head)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == code


@pytest.mark.parametrize("identity", [None, 1.5, True, [], {}, "x" * 257])
async def test_an_illegal_id_is_refused_in_the_modern_era_too(
    http: httpx.AsyncClient, identity: object
) -> None:
    answer = await ask(http, modern("tools/list") | {"id": identity})
    assert answer.status_code == 400
    assert error_of(answer)["code"] == types.INVALID_REQUEST


REQUESTS: list[tuple[str, dict[str, Any], int]] = [
    ("no/such", {}, types.METHOD_NOT_FOUND),
    ("tools/call", {}, types.INVALID_PARAMS),
    ("tools/call", {"name": "echo", "arguments": "text"}, types.INVALID_PARAMS),
    ("tools/call", {"name": "echo", "arguments": [1]}, types.INVALID_PARAMS),
    ("tools/call", {"name": "nowhere", "arguments": {}}, types.INVALID_PARAMS),
    ("tools/list", {"cursor": 7}, types.INVALID_PARAMS),
    ("tools/list", {"cursor": "nowhere"}, types.INVALID_PARAMS),
    ("prompts/list", {"cursor": "nowhere"}, types.INVALID_PARAMS),
    ("resources/list", {"cursor": "nowhere"}, types.INVALID_PARAMS),
    ("resources/templates/list", {"cursor": "nowhere"}, types.INVALID_PARAMS),
    ("prompts/get", {"name": "nowhere"}, types.INVALID_PARAMS),
    ("resources/read", {"uri": "test://nowhere"}, types.INVALID_PARAMS),
    ("resources/read", {"uri": "pipeline://nowhere"}, types.INVALID_PARAMS),
    ("resources/read", {"uri": "../../etc/passwd"}, types.INVALID_PARAMS),
    ("resources/read", {"uri": "file:///etc/passwd"}, types.INVALID_PARAMS),
]


@pytest.mark.parametrize(("method", "params", "code"), REQUESTS)
async def test_a_request_that_cannot_be_met_names_the_fault_in_a_session(
    http: httpx.AsyncClient, session: dict[str, str], method: str, params: dict[str, Any], code: int
) -> None:
    answer = await http.post("/mcp", json=message(method, params), headers=session)
    assert answer.status_code == 200
    assert error_of(answer)["code"] == code


@pytest.mark.parametrize(("method", "params", "code"), REQUESTS)
async def test_a_request_that_cannot_be_met_names_the_fault_in_the_modern_era(
    http: httpx.AsyncClient, method: str, params: dict[str, Any], code: int
) -> None:
    answer = await ask(http, modern(method, params))
    assert answer.status_code == (404 if code == types.METHOD_NOT_FOUND else 400)
    assert error_of(answer)["code"] == code


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "resources/subscribe"])
async def test_what_the_modern_era_removed_is_an_unknown_method_there(
    http: httpx.AsyncClient, method: str
) -> None:
    answer = await ask(http, modern(method))
    assert answer.status_code == 404
    assert error_of(answer)["code"] == types.METHOD_NOT_FOUND


async def test_a_modern_request_needs_its_meta_and_matching_headers(http: httpx.AsyncClient) -> None:
    bare = message("tools/list")
    assert (await ask(http, bare)).status_code == 400
    assert error_of(await ask(http, bare))["code"] == types.INVALID_PARAMS
    call = modern("tools/call", {"name": "echo", "arguments": {"text": "hi"}})
    for head in ({"Mcp-Name": "other"}, {"Mcp-Method": "tools/list"}):
        answer = await http.post("/mcp", json=call, headers=headers_of(call) | head)
        assert (answer.status_code, error_of(answer)["code"]) == (400, types.HEADER_MISMATCH)


async def test_an_unknown_version_is_answered_with_the_known_ones(http: httpx.AsyncClient) -> None:
    body = modern("tools/list")
    body["params"]["_meta"][f"{PREFIX}protocolVersion"] = "2099-01-01"
    answer = await http.post(
        "/mcp", json=body, headers=headers_of(body) | {"MCP-Protocol-Version": "2099-01-01"}
    )
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["code"] == types.UNSUPPORTED_PROTOCOL_VERSION and MODERN in error["data"]["supported"]


async def test_a_session_that_is_not_there_is_not_found(http: httpx.AsyncClient) -> None:
    head = {"Mcp-Session-Id": "0" * 32, "MCP-Protocol-Version": "2025-11-25"}
    assert (await http.post("/mcp", json=message("tools/list"), headers=head)).status_code == 404
    assert (await http.get("/mcp", headers=head)).status_code == 404
    assert (await http.delete("/mcp", headers=head)).status_code == 404
    assert (await http.post("/mcp", json=message("tools/list"))).status_code == 400


async def test_a_missing_capability_is_named(http: httpx.AsyncClient) -> None:
    answer = await ask(http, modern("tools/call", {"name": "picky", "arguments": {}}))
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["code"] == types.MISSING_REQUIRED_CLIENT_CAPABILITY
    assert error["data"] == {"requiredCapabilities": {"sampling": {}}}


async def test_an_answer_to_nothing_and_a_cancellation_of_nothing_are_ignored(
    http: httpx.AsyncClient, session: dict[str, str]
) -> None:
    stray: list[dict[str, Any]] = [
        {"jsonrpc": "2.0", "id": 99, "result": {}},
        {"jsonrpc": "2.0", "id": "never", "error": {"code": 1, "message": "no"}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {}},
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}},
        {"jsonrpc": "2.0", "method": "notifications/unheard-of"},
    ]
    for each in stray:
        assert (await http.post("/mcp", json=each, headers=session)).status_code == 202
    call = message("tools/call", {"name": "echo", "arguments": {"text": "alive"}}, 50)
    assert "alive" in (await http.post("/mcp", json=call, headers=session)).text


@pytest.mark.parametrize("name", ["nothing", "numbers"])
async def test_every_result_shows_something_and_fits_its_schema(http: httpx.AsyncClient, name: str) -> None:
    result = (await ask(http, modern("tools/call", {"name": name, "arguments": {}}))).json()["result"]
    assert result["content"] and result["content"][0]["type"] == "text"
    assert result["resultType"] == "complete"
    assert isinstance(result["structuredContent"], dict)


async def waiting(http: httpx.AsyncClient, trace: Path) -> dict[str, Any]:
    """The result of a call that asks; the run has begun once and waits."""
    answer = await ask(http, confirm(trace))
    result = answer.json()["result"]
    assert result["resultType"] == "input_required"
    assert trace.read_text() == "began "
    return result


def confirm(trace: Path, **more: Any) -> dict[str, Any]:
    params = {"name": "confirm", "arguments": {"trace": str(trace)}, **more}
    return modern("tools/call", params, elicitation={})


ACCEPTED = {"answer": {"action": "accept", "content": {"ok": True}}}


async def test_a_thousand_tampered_states_are_refused_and_none_moves_the_run(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    state = (await waiting(http, trace))["requestState"]
    dice = random.Random(20261120)
    for _ in range(1000):
        bits = bytearray(state.encode())
        bits[dice.randrange(len(bits))] ^= 1 << dice.randrange(7)  # it stays ASCII, so it can be sent
        answer = await ask(http, confirm(trace, requestState=bits.decode(), inputResponses=ACCEPTED))
        assert (answer.status_code, error_of(answer)["code"]) == (400, types.INVALID_PARAMS), bits
    assert trace.read_text() == "began "
    again = await ask(http, confirm(trace, requestState=state, inputResponses=ACCEPTED))
    assert again.json()["result"]["structuredContent"] == {"result": "accept"}
    assert trace.read_text() == "began accept "


@pytest.mark.parametrize("forged", ["", "x", '{"run":"0","question":1}', "A" * 100_000, "\u0000"])
async def test_a_state_we_did_not_give_is_refused(
    http: httpx.AsyncClient, tmp_path: Path, forged: str
) -> None:
    trace = tmp_path / "trace"
    answer = await ask(http, confirm(trace, requestState=forged, inputResponses=ACCEPTED))
    assert (answer.status_code, error_of(answer)["code"]) == (400, types.INVALID_PARAMS)
    assert not trace.exists()


async def test_a_state_is_good_for_its_own_request_only(http: httpx.AsyncClient, tmp_path: Path) -> None:
    trace, other = tmp_path / "trace", tmp_path / "other"
    state = (await waiting(http, trace))["requestState"]
    for body in (
        confirm(other, requestState=state, inputResponses=ACCEPTED),
        modern("tools/call", {"name": "echo", "arguments": {"text": "x"}, "requestState": state}),
    ):
        answer = await ask(http, body)
        assert (answer.status_code, error_of(answer)["code"]) == (400, types.INVALID_PARAMS)
    assert trace.read_text() == "began " and not other.exists()


@pytest.mark.parametrize(
    "responses",
    [None, {}, {"other": {"action": "accept"}}, {"answer": {"roots": []}}],
    ids=["none", "empty", "other key", "other kind"],
)
async def test_a_state_without_its_answers_is_asked_again(
    http: httpx.AsyncClient, tmp_path: Path, responses: object
) -> None:
    trace = tmp_path / "trace"
    first = await waiting(http, trace)
    more = {} if responses is None else {"inputResponses": responses}
    again = (await ask(http, confirm(trace, requestState=first["requestState"], **more))).json()["result"]
    assert again["inputRequests"] == first["inputRequests"]
    done = await ask(http, confirm(trace, requestState=again["requestState"], inputResponses=ACCEPTED))
    assert done.json()["result"]["structuredContent"] == {"result": "accept"}
    assert trace.read_text() == "began accept "


async def test_an_answered_state_is_not_answered_again(http: httpx.AsyncClient, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    state = (await waiting(http, trace))["requestState"]
    decline = {"answer": {"action": "decline"}}
    for responses in (ACCEPTED, decline):
        answer = await ask(http, confirm(trace, requestState=state, inputResponses=responses))
        assert answer.json()["result"]["structuredContent"] == {"result": "accept"}
    assert trace.read_text() == "began accept "


async def test_nonsense_on_stdin_is_answered_and_does_not_end_the_server(tmp_path: Path) -> None:
    bodies = [(body.replace(b"\xff", b"?"), code) for body, code in BODIES if body]
    illegal = [
        orjson.dumps(message("tools/list", identity=identity)) for identity in (None, 1.5, True, [], {})
    ]
    lines = [
        *(body for body, _ in bodies),
        *illegal,
        orjson.dumps(INITIALIZE),
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b'{"jsonrpc":"2.0","id":2,"method":"no/such"}',
        b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":7}}',
        b'{"jsonrpc":"2.0","id":4,"method":"tools/list","params":{"cursor":"nowhere"}}',
        b"nonsense",
        b'{"jsonrpc":"2.0","id":5,"method":"ping"}',
    ]
    (tmp_path / "pipelines").mkdir()
    words = command(tmp_path / "pipelines", tmp_path / "state", "--stdio")
    answers: dict[object, dict[str, Any]] = {}
    refusals: list[int] = []
    async with await anyio.open_process(words, stderr=None) as process:
        assert process.stdin is not None and process.stdout is not None
        await process.stdin.send(b"\n".join(lines) + b"\n")
        pending = b""
        while not {2, 3, 4, 5} <= answers.keys():
            *whole, pending = (pending + await process.stdout.receive()).split(b"\n")
            for answer in map(orjson.loads, whole):
                answers[answer.get("id")] = answer
                if answer["id"] is None:
                    refusals.append(answer["error"]["code"])
        await process.stdin.aclose()
        assert await process.wait() == 0
    refused = [code for _, code in bodies] + [types.INVALID_REQUEST] * len(illegal)
    assert refusals == [*refused, types.PARSE_ERROR]
    codes = [answers[number]["error"]["code"] for number in (2, 3, 4)]
    assert codes == [types.METHOD_NOT_FOUND, types.INVALID_PARAMS, types.INVALID_PARAMS]


async def test_an_id_in_flight_on_stdin_is_refused_and_the_first_call_is_answered(
    served: Served, tmp_path: Path
) -> None:
    asked = message("tools/call", {"name": "confirm", "arguments": {"trace": str(tmp_path / "trace")}}, 7)
    initialize = INITIALIZE | {"params": INITIALIZE["params"] | {"capabilities": {"elicitation": {}}}}
    words = command(served.folder, tmp_path / "state", "--stdio")
    async with await anyio.open_process(words, stderr=None) as process:
        assert process.stdin is not None and process.stdout is not None
        lines = BufferedByteReceiveStream(process.stdout)

        async def post(*messages: dict[str, Any]) -> None:
            assert process.stdin is not None
            await process.stdin.send(b"".join(orjson.dumps(each) + b"\n" for each in messages))

        async def heard() -> dict[str, Any]:
            while "id" not in (answer := orjson.loads(await lines.receive_until(b"\n", 2**20))):
                pass
            return answer

        await post(initialize, {"jsonrpc": "2.0", "method": "notifications/initialized"}, asked)
        assert (await heard())["id"] == INITIALIZE["id"]
        question = await heard()
        assert question["method"] == "elicitation/create"
        await post(message("ping", identity="7"))
        refusal = await heard()
        assert (refusal["id"], refusal["error"]["code"]) == (None, types.INVALID_REQUEST)
        await post({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}})
        answer = await heard()
        assert (answer["id"], answer["result"]["structuredContent"]) == (7, {"result": "decline"})
        await post(message("ping", identity=7))
        assert (await heard())["id"] == 7
        await process.stdin.aclose()
        assert await process.wait() == 0
