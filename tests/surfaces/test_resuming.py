"""A response stream that ends too soon: the client comes back with Last-Event-ID and gets the rest, once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import mcp_types as types
import pytest
from clients import Served, serve, until
from mcp.server.streamable_http import GET_STREAM_KEY, EventMessage

from mcp_server.surfaces.mcp.events import ALL_BYTES, EVENTS, SESSION_BYTES, SessionEvents, announces

from .conftest import wrapper
from .test_http import HEADERS, INITIALIZE, call

pytestmark = pytest.mark.anyio

ASLEEP = '''
    async def run_api_async(self, context: Context, gate: str) -> str:
        """Closes its caller's stream, then waits until the file is there."""
        context.log("info", "before")
        context.close_stream()
        while not os.path.exists(gate):
            await asyncio.sleep(0.01)
        context.log("info", "after")
        return "the rest"
'''
QUIET = '''
    async def run_api_async(self, gate: str) -> str:
        """Waits until the file is there."""
        while not os.path.exists(gate):
            await asyncio.sleep(0.01)
        return "the rest"
'''
LARGE = '''
    def run_api(self, size: int) -> str:
        """Gives so many characters."""
        return "x" * size
'''


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("pipelines")
    for name, body in {"asleep": ASLEEP, "quiet": QUIET, "large": LARGE}.items():
        (folder / name).mkdir()
        (folder / name / "pipeline_wrapper.py").write_text(wrapper(body))
    async with serve(folder) as running:
        yield running


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(30):
        yield


class Session:
    """A handshake-era session, seen as raw HTTP."""

    def __init__(self, http: httpx.AsyncClient, version: str = "2025-11-25") -> None:
        self.http = http
        self.version = version
        self.headers: dict[str, str] = {}

    async def open(self) -> Session:
        initialize = INITIALIZE | {"params": INITIALIZE["params"] | {"protocolVersion": self.version}}
        answer = await self.http.post("/mcp", json=initialize)
        self.headers = {
            "Mcp-Session-Id": answer.headers["mcp-session-id"],
            "MCP-Protocol-Version": self.version,
        }
        await self.tell("notifications/initialized")
        await self.http.post("/mcp", headers=self.headers, json=request(2, "logging/setLevel", level="info"))
        return self

    async def tell(self, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        assert (await self.http.post("/mcp", headers=self.headers, json=message)).status_code == 202

    def call(self, identity: object, name: str, **arguments: object) -> Any:
        return self.http.stream("POST", "/mcp", headers=self.headers, json=call(identity, name, **arguments))

    def resume(self, event_id: str) -> Any:
        return self.http.stream("GET", "/mcp", headers=self.headers | {"Last-Event-ID": event_id})


def request(identity: int, method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}


@pytest.fixture
async def session(served: Served) -> AsyncIterator[Session]:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=30, headers=HEADERS) as http:
        yield await Session(http).open()


class Event(dict[str, str]):
    """The fields of one server-sent event."""

    @property
    def message(self) -> Any:
        return json.loads(self["data"]) if self.get("data") else None


async def events(response: httpx.Response) -> list[Event]:
    """Every event until the server ends the stream."""
    found = [Event()]
    async for line in response.aiter_lines():
        name, colon, value = line.partition(":")
        if not line:
            found.append(Event())
        elif name and colon:
            found[-1][name] = value.strip()
    return [event for event in found if "data" in event]


async def test_a_stream_closed_by_the_pipeline_is_resumed_and_ends_with_the_response(
    session: Session, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with session.call(7, "asleep", gate=str(gate)) as response:
        first = await events(response)
    assert first[0].message is None and int(first[0]["retry"]) > 0, "it opens with an id to come back with"
    assert all("result" not in (event.message or {}) for event in first)
    async with session.resume(first[0]["id"]) as response:
        assert response.status_code == 200
        gate.touch()
        rest = await events(response)
    said = [event.message["params"]["data"] for event in rest if "params" in event.message]
    assert said == ["before", "after"]
    assert rest[-1].message["id"] == 7
    assert rest[-1].message["result"]["structuredContent"] == {"result": "the rest"}
    async with session.resume(rest[-2]["id"]) as response:
        assert [event.message["id"] for event in await events(response)] == [7], "the end can be read again"
    async with session.resume(rest[-1]["id"]) as response:
        assert await events(response) == [], "and after it there is nothing, which is told at once"


async def test_a_connection_that_breaks_loses_nothing(session: Session, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with session.call(8, "quiet", gate=str(gate)) as response:
        async for line in response.aiter_lines():
            if line.startswith("id:"):
                last = line.removeprefix("id:").strip()
                break
    gate.touch()
    async with session.resume(last) as response:
        (only,) = await events(response)
    assert only.message["result"]["structuredContent"] == {"result": "the rest"}


async def test_an_id_whose_stream_was_closed_is_in_flight_until_it_is_answered(
    session: Session, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with session.call(9, "asleep", gate=str(gate)) as response:
        (first, *_) = await events(response)
    for same in (9, "9", " 9", "09"):
        again = await session.http.post("/mcp", headers=session.headers, json=call(same, "quiet", gate="x"))
        assert again.status_code == 400 and "in flight" in again.json()["error"]["message"], same
    gate.touch()
    async with session.resume(first["id"]) as response:
        assert (await events(response))[-1].message["id"] == 9
    async with session.call(9, "quiet", gate=str(gate)) as response:
        assert (await events(response))[-1].message["result"]["structuredContent"] == {"result": "the rest"}


async def test_a_client_that_comes_back_twice_is_answered_on_its_latest_stream(
    session: Session, tmp_path: Path
) -> None:
    gate, former, back = tmp_path / "gate", [], anyio.Event()
    async with session.call(10, "asleep", gate=str(gate)) as response:
        first = await events(response)

    async def come_back() -> None:
        async with session.resume(first[-1]["id"]) as response:
            back.set()
            former.extend(await events(response))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come_back)
        await back.wait()
        async with session.resume(first[-1]["id"]) as response:
            gate.touch()
            latest = await events(response)
    assert latest[-1].message["id"] == 10
    finals = [event for event in (*former, *latest) if "result" in (event.message or {})]
    assert len(finals) == 1


@pytest.mark.parametrize("event_id", ["nonsense", "1.2.3", "77.1", "-1.1", "²", "0", "9" * 5000, "0.77"])
async def test_an_event_that_was_never_sent_is_refused(session: Session, event_id: str) -> None:
    raw = [(b"last-event-id", event_id.encode())]
    headers = [*((k.encode(), v.encode()) for k, v in (HEADERS | session.headers).items()), *raw]
    answer = await session.http.get("/mcp", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == types.INVALID_REQUEST


async def test_the_events_of_a_session_are_no_other_session_s(
    served: Served, session: Session, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with session.call(3, "asleep", gate=str(gate)) as response:
        first = await events(response)
    other = await Session(session.http).open()
    async with other.resume(first[-1]["id"]) as response:
        read = b"" if response.status_code == 400 else await response.aread()
    assert b"asleep" not in read and b"before" not in read
    gate.touch()


async def test_a_deleted_session_ends_the_streams_that_wait(session: Session, tmp_path: Path) -> None:
    async with session.call(11, "asleep", gate=str(tmp_path / "never")) as response:
        first = await events(response)
    async with session.resume(first[-1]["id"]) as response:
        assert (await session.http.delete("/mcp", headers=session.headers)).status_code == 200
        assert all("result" not in event.message for event in await events(response))


async def test_a_server_told_to_stop_ends_the_streams_that_wait(served: Served, tmp_path: Path) -> None:
    async with (
        serve(served.folder) as other,
        httpx.AsyncClient(base_url=other.url, trust_env=False, timeout=30, headers=HEADERS) as http,
    ):
        session = await Session(http).open()
        async with session.call(3, "asleep", gate=str(tmp_path / "never")) as response:
            first = await events(response)
        async with session.resume(first[-1]["id"]) as response:
            other.process.terminate()
            with anyio.fail_after(15):
                with suppress(httpx.RemoteProtocolError):  # it is cut off, as every stream of a session
                    assert all("result" not in event.message for event in await events(response))
                assert await other.process.wait() == 0


async def test_a_client_of_an_older_version_gets_no_event_without_data(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "gate").touch()
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=30, headers=HEADERS) as http:
        session = await Session(http, "2025-06-18").open()
        async with session.call(3, "asleep", gate=str(tmp_path / "gate")) as response:
            received = await events(response)
    assert all(event.message for event in received)
    assert received[-1].message["result"]["structuredContent"] == {"result": "the rest"}


async def test_the_newer_era_keeps_no_events(served: Served, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    meta = {"protocolVersion": "2026-07-28", "clientCapabilities": {}, "logLevel": "info"}
    message: Any = call(1, "asleep", gate=str(tmp_path / "gate"))
    message["params"]["_meta"] = {f"io.modelcontextprotocol/{key}": value for key, value in meta.items()}
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "asleep"}
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=30, headers=HEADERS) as http:
        async with http.stream("POST", "/mcp", json=message, headers=headers) as response:
            received = await events(response)
        again = await http.get("/mcp", headers=headers | {"Last-Event-ID": "1.1"})
    assert all("id" not in event for event in received)
    assert received[-1].message["result"]["structuredContent"] == {"result": "the rest"}
    assert again.status_code == 405


async def test_what_belongs_to_no_request_is_resumed_too(session: Session) -> None:
    async with session.http.stream("GET", "/mcp", headers=session.headers) as stream:
        await change(session, 20)
        event_id = await announcement(stream)
    assert announces(event_id)
    await change(session, 21)
    async with session.resume(event_id) as stream:
        again = await announcement(stream)
    assert announces(again) and again != event_id


async def change(session: Session, identity: int) -> None:
    """Change the list of tools."""
    files = {"pipeline_wrapper.py": wrapper('def run_api(self) -> str:\n    """New."""\n    return ""\n')}
    message = call(identity, "deploy_pipeline", name=f"new{identity}", files=files)
    assert (await session.http.post("/mcp", headers=session.headers, json=message)).status_code == 200


async def announcement(stream: httpx.Response) -> str:
    """The id of the next announcement of changed tools."""
    event_id = ""
    async for line in stream.aiter_lines():
        if line.startswith("id:"):
            event_id = line.removeprefix("id:").strip()
        if "notifications/tools/list_changed" in line:
            return event_id
    raise AssertionError("the stream ended without an announcement")


def note(size: int) -> types.JSONRPCNotification:
    return types.JSONRPCNotification(jsonrpc="2.0", method="note", params={"text": "x" * size})


def answer(identity: int) -> types.JSONRPCResponse:
    return types.JSONRPCResponse(jsonrpc="2.0", id=identity, result={})


async def replayed(kept: SessionEvents, event_id: str) -> list[str]:
    """The ids of what is replayed; the stream must have ended."""
    ids: list[str] = []

    async def take(event: EventMessage) -> None:
        ids.append(event.event_id or "")

    await kept.replay_events_after(event_id, take)
    return ids


async def test_old_events_are_forgotten_and_the_rest_can_be_had() -> None:
    kept = SessionEvents([])
    opened = await kept.store_event("1", None)
    ids = [await kept.store_event("1", note(10)) for _ in range(2 * EVENTS)]
    ids.append(await kept.store_event("1", answer(1)))
    assert await replayed(kept, opened) == ids[-EVENTS:]


async def test_streams_that_were_forgotten_leave_nothing_behind() -> None:
    kept = SessionEvents([])
    for number in range(3 * EVENTS):
        await kept.store_event(str(number), None)
        await kept.store_event(str(number), answer(number))
    assert len(kept._streams) <= EVENTS + 1 and len(kept._open) == 1


@pytest.mark.parametrize("sessions", [1, 1000])
async def test_the_bytes_that_are_kept_are_bounded(sessions: int) -> None:
    kept = SessionEvents(range(sessions))
    for _ in range(30):
        await kept.store_event(GET_STREAM_KEY, note(2**20))
    bytes_kept = sum(len(event.message) for stream in kept._streams.values() for event in stream.events)
    assert 2**20 < bytes_kept <= max(min(SESSION_BYTES, ALL_BYTES // sessions), 2**20 + 200)


async def test_a_session_that_is_gone_keeps_nothing(served: Served) -> None:
    resident = Path(f"/proc/{served.pid}/statm")

    def pages() -> int:
        return int(resident.read_text().split()[1])

    async def come_and_go() -> None:
        async with httpx.AsyncClient(
            base_url=served.url, trust_env=False, timeout=30, headers=HEADERS
        ) as http:
            session = await Session(http).open()
            for identity in (5, 6, 7):
                async with session.call(identity, "large", size=50_000) as response:
                    assert len((await events(response))[-1]["data"]) > 100_000
            assert (await http.delete("/mcp", headers=session.headers)).status_code == 200

    for _ in range(10):
        await come_and_go()
    before = pages()
    for _ in range(60):
        await come_and_go()

    async def returned() -> bool:
        return (pages() - before) * 4096 < 10_000_000

    await until(returned)
