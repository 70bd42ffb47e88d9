"""The express lane answers what it answers as the SDK does, in both eras, and leaves it the rest.

Two servers over the same folder, one with the lane and one without, are asked the same. The short form asks
some hundred times; `--long` asks five thousand times.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest
from clients import Served, loaded, serve, until
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mcp_server.models.meta import RUN

from .conftest import wrapper
from .test_bad_input import MODERN, PREFIX, headers_of, modern
from .test_http import HEADERS, INITIALIZE, call

pytestmark = pytest.mark.anyio

SHORT, LONG = 300, 5000
WRAPPERS = {
    "echo": '''
        def run_api(self, text: str, times: int = 1) -> str:
            """Gives the text back."""
            return text * times
    ''',
    "total": '''
        async def run_api_async(self, numbers: list[float], label: str | None = None) -> dict:
            """Adds numbers."""
            return {"total": sum(numbers), "label": label, "text": 'a "quoted" one'}
    ''',
    "fails": '''
        def run_api(self, text: str) -> str:
            """Fails."""
            raise ValueError(text)
    ''',
    "blocks": '''
        def run_api(self) -> list[dict]:
            """Gives blocks with more in them than the protocol knows."""
            return [{"type": "text", "text": "1", "more": 1}, {"type": "text", "text": "2", "_meta": None}]
    ''',
    "words": '''
        async def run_api_async(self, count: int) -> str:
            """Streams words."""
            for word in range(min(count, 3)):
                yield f"word{word} "
    ''',
    "picky": '''
        def run_api(self, context: Context) -> str:
            """Needs a client with a model."""
            context.require("sampling")
            return "never"
    ''',
    "routed": '''
        def run_api(self, text: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Text"})]) -> str:
            """Has its text in a header, too."""
            return text
    ''',
    "slow": '''
        async def run_api_async(self, trace: str, seconds: float) -> str:
            """Leaves a line in a file when it begins, and one when it ends, however that is."""
            with open(trace, "a") as file:
                file.write("began ")
            try:
                await asyncio.sleep(seconds)
                return "done"
            finally:
                with open(trace, "a") as file:
                    file.write("ended ")
    ''',
    "asks": '''
        def run_api(self, context: Context, trace: str) -> str:
            """Leaves a line in a file when it begins, and asks."""
            with open(trace, "a") as file:
                file.write("began ")
            return context.ask("Sure?", {"type": "object", "properties": {"ok": {"type": "boolean"}}}).action
    ''',
}
HEAD = "from typing import Annotated\n\nfrom pydantic import Field\n\n"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines")
    for name, body in WRAPPERS.items():
        (folder / name).mkdir()
        (folder / name / "pipeline_wrapper.py").write_text(HEAD + wrapper(body))
    return folder


@pytest.fixture(scope="module")
async def servers(both: Path) -> AsyncIterator[tuple[Served, Served]]:
    """With the lane, and without."""
    async with serve(both, "--express") as express, serve(both, "--no-express") as plain:
        await loaded(express.url)
        await loaded(plain.url)
        yield express, plain


@pytest.fixture(scope="module")
async def asking(servers: tuple[Served, Served]) -> AsyncIterator[list[Asking]]:
    async with AsyncExitStack() as stack:
        made = [Asking(stack, each) for each in servers]
        for each in made:
            await each.open()
        yield made


class Asking:
    """A client of one server, with an open session."""

    def __init__(self, stack: AsyncExitStack, served: Served) -> None:
        self._stack = stack
        self.http = httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=30)
        self.session: dict[str, str] = {}

    async def open(self) -> None:
        await self._stack.enter_async_context(self.http)
        await self.begin()

    async def begin(self) -> None:
        """Open a session; one that is not used ends after a minute."""
        answer = await self.http.post("/mcp", json=INITIALIZE, headers=HEADERS)
        self.session = {"Mcp-Session-Id": answer.headers["mcp-session-id"]}
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await self.http.post("/mcp", json=note, headers=HEADERS | self.session)

    async def ask(self, message: object, headers: list[tuple[str, str]]) -> tuple[int, Any, dict[str, bool]]:
        """Status, what the answer means, and the headers that matter; never which run it was."""
        sent = [
            (name, self.session["Mcp-Session-Id"] if value == "OWN" else value) for name, value in headers
        ]
        body = message if isinstance(message, bytes) else orjson.dumps(message)
        answer = await self.http.post("/mcp", content=body, headers=sent)
        told = {name: name in answer.headers for name in ("mcp-session-id", "x-request-id", "allow")}
        return answer.status_code, meaning(answer), told


def meaning(answer: httpx.Response) -> Any:
    """The response in the body, be it JSON or the last event of a stream."""
    text = answer.text
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        lines = re.split(r"\r\n|\n|\r", text)  # not `splitlines`: a string may hold other ends of lines
        text = [line[5:] for line in lines if line.startswith("data:") and line[5:].strip()][-1]
    elif not answer.headers.get("content-type", "").startswith("application/json"):
        return text
    message: Any = orjson.loads(text)
    if isinstance(message, dict) and isinstance(message.get("result"), dict):
        message["result"].get("_meta", {}).get(RUN, {}).pop("id", None)
    if isinstance(message, dict) and "request_id" in message:
        return {key: value for key, value in message.items() if key not in ("request_id", "timestamp")}
    return message


NAMES = st.sampled_from(["echo", "total", "fails", "blocks", "words", "picky", "routed", "unknown", "", "é"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-9, 9) | st.text('aé"\\\n ', max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "text"]), inner),
    max_leaves=4,
)
FITTING: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "echo": st.fixed_dictionaries({"text": st.text(max_size=8).filter(str.isprintable)}),
    "total": st.fixed_dictionaries(
        {"numbers": st.lists(st.floats(-9, 9) | st.integers(2**62, 2**66), max_size=2)},
        optional={"label": st.none() | st.just("l")},
    ),
    "fails": st.fixed_dictionaries({"text": st.sampled_from(["no", 'a "b"'])}),
    "words": st.fixed_dictionaries({"count": st.integers(0, 3)}),
    "routed": st.just({"text": "here"}),
}


@st.composite
def arguments(draw: st.DrawFn, name: str) -> Any:
    kind = draw(st.integers(0, 9))
    if kind < 7:
        return draw(FITTING.get(name, st.just({})))
    return draw(VALUES) if kind == 7 else draw(st.dictionaries(st.sampled_from(["text", "x"]), VALUES))


@st.composite
def meta(draw: st.DrawFn) -> Any:
    capabilities = draw(
        st.sampled_from(
            [{}, {}, {}, {"elicitation": {}}, {"sampling": 5}, {"roots": {"listChanged": True}}, 3]
        )
    )
    made: dict[str, Any] = {f"{PREFIX}protocolVersion": MODERN, f"{PREFIX}clientCapabilities": capabilities}
    if draw(st.booleans()):
        made[f"{PREFIX}clientInfo"] = draw(
            st.sampled_from([{"name": "c", "version": "1"}, {"name": 1}, None])
        )
    if draw(st.integers(0, 7)) == 0:
        made |= draw(st.sampled_from([{"progressToken": 1}, {f"{PREFIX}logLevel": "info"}, {"x": 1}]))
    if draw(st.integers(0, 9)) == 0:
        made.pop(draw(st.sampled_from(sorted(made))))
    return made if draw(st.integers(0, 15)) else draw(VALUES)


@st.composite
def requests(draw: st.DrawFn) -> tuple[object, list[tuple[str, str]]]:
    """A message and its headers: mostly right, each part wrong now and then, in either era."""
    is_modern, name = draw(st.booleans()), draw(NAMES)
    method = draw(st.sampled_from(["tools/call"] * 6 + ["tools/list", "ping", "tools/cal"]))
    params: dict[str, Any] = {}
    if method == "tools/call":
        params = {"name": name, "arguments": draw(arguments(name))}
    if draw(st.integers(0, 11)) == 0:
        params |= draw(st.sampled_from([{"cursor": "x"}, {"task": {}}, {"more": 1}, {"arguments": None}]))
    if is_modern:
        params["_meta"] = draw(meta())
    elif draw(st.integers(0, 7)) == 0:
        params["_meta"] = draw(st.sampled_from([{}, {"x": 1}, {"progressToken": "p"}, None, 1]))
    identity = draw(
        st.integers(-3, 2**53) | st.text(max_size=4) | st.sampled_from([None, 1.5, True, "i" * 300])
    )
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}
    if draw(st.integers(0, 15)) == 0:
        message |= draw(st.sampled_from([{"jsonrpc": "1.0"}, {"extra": 1}, {"params": []}, {"method": 5}]))
    if draw(st.integers(0, 15)) == 0:
        message.pop(draw(st.sampled_from(["params", "method", "jsonrpc"])))
    return encoded(draw, message), draw(headers(is_modern, method, name))


def encoded(draw: st.DrawFn, message: dict[str, Any]) -> bytes:
    """As JSON; Python's, since numbers beyond 64 bits are among it."""
    text = json.dumps(message).encode()
    return text if draw(st.integers(0, 30)) else draw(st.sampled_from([text[:-1], b"[" + text + b"]", b""]))


@st.composite
def headers(draw: st.DrawFn, is_modern: bool, method: str, name: str) -> list[tuple[str, str]]:
    made = dict(HEADERS)
    if is_modern:
        made |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        made |= {"Mcp-Name": name if name.isascii() else "x"} if method == "tools/call" else {}
    else:
        made |= {"Mcp-Session-Id": "OWN", "MCP-Protocol-Version": "2025-11-25"}
    wrong = {
        "Accept": ["application/json", "*/*", "text/event-stream;q=0.5, application/*", ""],
        "Content-Type": ["text/plain", "application/json; charset=utf-8"],
        "MCP-Protocol-Version": ["2025-06-18", "2024-11-05", "1999-01-01", "2025-11-25"],
        "Mcp-Session-Id": ["none", ""],
        "Mcp-Method": ["tools/list"],
        "Mcp-Name": ["other", "=?base64?ZWNobw==?="],
        "Mcp-Param-Text": ["here", "there"],
    }
    if draw(st.integers(0, 3)) == 0:
        changed = draw(st.sampled_from(sorted(wrong)))
        made[changed] = draw(st.sampled_from(wrong[changed]))
    if draw(st.integers(0, 15)) == 0:
        made.pop(draw(st.sampled_from(sorted(made))))
    lines = list(made.items())
    return [*lines, draw(st.sampled_from(lines))] if draw(st.integers(0, 20)) == 0 else lines


@pytest.mark.parametrize("times", [SHORT, pytest.param(LONG, marks=pytest.mark.long)], ids=["short", "long"])
async def test_whatever_is_asked_is_answered_as_without_the_lane(asking: list[Asking], times: int) -> None:
    express, plain = asking
    loop_free: list[tuple[object, list[tuple[str, str]]]] = []

    @settings(
        max_examples=times,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(requests())
    def collect(request: tuple[object, list[tuple[str, str]]]) -> None:
        loop_free.append(request)

    collect()  # takes longer than a session lasts that is not used
    for each in asking:
        await each.begin()
    answered = 0
    for message, lines in loop_free:
        first, second = await express.ask(message, lines), await plain.ask(message, lines)
        assert first == second, (message, lines)
        answered += first[0] == 200
    assert answered > times / 4


@pytest.mark.parametrize("size", [1, 100_000])
async def test_a_session_is_answered_by_a_stream_that_the_lane_knows_the_length_of(
    asking: list[Asking], size: int
) -> None:
    """However many pieces the body comes in."""
    known: list[bool] = []
    for each in asking:
        message = call(71, text="hi" * size, times=0 if size > 1 else 1)
        answer = await each.http.post("/mcp", json=message, headers=HEADERS | each.session)
        assert answer.headers["content-type"].startswith("text/event-stream")
        known.append("content-length" in answer.headers)
        assert meaning(answer)["result"]["structuredContent"] == {"result": "hi" if size == 1 else ""}
        assert answer.headers["mcp-session-id"] == each.session["Mcp-Session-Id"]
    assert known == [True, False]


@pytest.mark.parametrize("era", ["session", "modern"])
async def test_a_run_that_takes_longer_is_handed_over_and_runs_once(
    asking: list[Asking], tmp_path: Path, era: str
) -> None:
    trace, express = tmp_path / "trace", asking[0]
    given = {"trace": str(trace), "seconds": 0.5}
    message = (
        call(72, "slow", **given)
        if era == "session"
        else modern("tools/call", {"name": "slow", "arguments": given})
    )
    headers = express.session if era == "session" else headers_of(message)
    answer = await express.http.post("/mcp", json=message, headers=HEADERS | headers)
    assert meaning(answer)["result"]["structuredContent"] == {"result": "done"}
    assert trace.read_text() == "began ended "


async def test_a_run_that_asks_is_handed_over_and_asks_once(asking: list[Asking], tmp_path: Path) -> None:
    trace, express = tmp_path / "trace", asking[0]
    message = modern("tools/call", {"name": "asks", "arguments": {"trace": str(trace)}})
    message["params"]["_meta"][f"{PREFIX}clientCapabilities"] = {"elicitation": {}}
    first = meaning(await express.http.post("/mcp", json=message, headers=HEADERS | headers_of(message)))
    assert first["result"]["resultType"] == "input_required"
    key = next(iter(first["result"]["inputRequests"]))
    message["params"] |= {
        "requestState": first["result"]["requestState"],
        "inputResponses": {key: {"action": "accept", "content": {"ok": True}}},
    }
    second = meaning(await express.http.post("/mcp", json=message, headers=HEADERS | headers_of(message)))
    assert second["result"]["structuredContent"] == {"result": "accept"}
    assert trace.read_text() == "began "


@pytest.mark.parametrize("leaves_at_once", [True, False])
async def test_a_client_that_leaves_stops_its_run(
    asking: list[Asking], tmp_path: Path, leaves_at_once: bool
) -> None:
    trace, express = tmp_path / "trace", asking[0]
    given = {"trace": str(trace), "seconds": 60}
    message = modern("tools/call", {"name": "slow", "arguments": given})

    async def began() -> bool:
        return trace.exists() and "began" in trace.read_text()

    async def ended() -> bool:
        return "ended" in trace.read_text()

    async with (
        anyio.create_task_group() as tasks,
        httpx.AsyncClient(base_url=str(express.http.base_url)) as http,
    ):
        tasks.start_soon(lambda: http.post("/mcp", json=message, headers=HEADERS | headers_of(message)))
        await until(began)
        if not leaves_at_once:
            await anyio.sleep(0.3)  # past the time after which it is handed over
        tasks.cancel_scope.cancel()
    await until(ended)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_session_cancels_a_request_in_the_lane_and_behind_it(
    asking: list[Asking], tmp_path: Path, at_once: bool
) -> None:
    trace, express = tmp_path / "trace", asking[0]
    answers: list[Any] = []

    async def began() -> bool:
        return trace.exists() and "began" in trace.read_text()

    async def ended() -> bool:
        return trace.read_text() == "began ended "

    async def work() -> None:
        message = call(73, "slow", trace=str(trace), seconds=60)
        answers.append(
            meaning(await express.http.post("/mcp", json=message, headers=HEADERS | express.session))
        )

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await until(began)
            if not at_once:
                await anyio.sleep(0.3)  # past the time after which it is handed over
            note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 73}}
            told = await express.http.post("/mcp", json=note, headers=HEADERS | express.session)
            assert told.status_code == 202
    assert answers[0]["error"] == {"code": -32800, "message": "Request cancelled"}
    await until(ended)
