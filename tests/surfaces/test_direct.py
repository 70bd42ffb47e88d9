"""Calls behind a head that came before on their connection: answered as all others, in order, and stopped."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx
import orjson
import pytest
from clients import Served, command, serve, until

from mcp_server.access.keyring import new_secret
from mcp_server.store.key_rows import Keys
from mcp_server.store.keys import Key

from .conftest import wrapper
from .raw import Connection
from .test_bad_input import headers_of, modern
from .test_http import HEADERS

pytestmark = pytest.mark.anyio

NAP = '''
    async def run_api_async(self, moment: int, trace: str) -> str:
        """Sleeps milliseconds, from 90 on seconds, and notes that it began and was stopped."""
        with open(trace, "a") as file:
            file.write("began ")
        try:
            await asyncio.sleep(moment - 90 if moment >= 90 else moment / 1000)
        except asyncio.CancelledError:
            with open(trace, "a") as file:
                file.write("stopped ")
            raise
        return f"slept {moment}"
'''
WARM = 3
"""Calls after which the head is surely known."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("direct")
    (made / "nap").mkdir()
    (made / "nap" / "pipeline_wrapper.py").write_text(wrapper(NAP))
    return made


@pytest.fixture(scope="module")
async def served(folder: Path) -> AsyncIterator[Served]:
    async with serve(folder) as running:
        yield running


async def send(connection: Connection, moment: int, trace: Path, identity: int) -> None:
    """A call; of two digits each, all have the same head."""
    arguments = {"moment": moment, "trace": str(trace)}
    body = modern("tools/call", {"name": "nap", "arguments": arguments}) | {"id": identity}
    await connection.post("/mcp", body, headers_of(body))


async def warm(connection: Connection, trace: Path) -> None:
    for identity in range(10, 10 + WARM):
        await send(connection, 10, trace, identity)
        await connection.read_until(b'"id":%d' % identity)
        connection.received.clear()


async def noted(trace: Path, word: str) -> None:
    async def is_there() -> bool:
        return trace.exists() and word in trace.read_text()

    await until(is_there, 30)


async def test_what_comes_while_a_call_goes_on_is_answered_in_order(served: Served, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with anyio.fail_after(60):
        async with Connection(served.url) as connection:
            await warm(connection, trace)
            for identity, moment in enumerate((50, 10, 30, 11, 20, 12), 20):
                await send(connection, moment, trace, identity)
            said = bytes(await connection.read_until(b'"id":25'))
    answers = [said.index(b'"id":%d' % identity) for identity in range(20, 26)]
    assert answers == sorted(answers)
    assert said.count(b"HTTP/1.1 200") == 6
    assert all(f"slept {each}".encode() in said for each in (50, 10, 30, 11, 20, 12))


async def test_calls_of_any_length_are_answered_behind_the_same_head(served: Served, tmp_path: Path) -> None:
    with anyio.fail_after(60):
        async with Connection(served.url) as connection:
            await warm(connection, tmp_path / "trace")
            for identity in (3, 40, 500, 60_000, 7 * 10**15, 8):
                await send(connection, 1, tmp_path / "trace", identity)
                await connection.read_until(b'"id":%d' % identity)
            told = bytes(connection.received)
    assert told.count(b"HTTP/1.1 200") == told.count(b'"text":"slept 1"') == 6


@pytest.mark.parametrize(
    "length", ["", "+{}", "-{}", "0{}", "{} ", "{},{}", "{}e0", "0x{}", "99999999999999999999", "{}\r\nX: y"]
)
async def test_an_unusual_length_is_read_behind_a_known_head_as_at_first(
    served: Served, tmp_path: Path, length: str
) -> None:
    body = modern("tools/call", {"name": "nap", "arguments": {"moment": 1, "trace": str(tmp_path / "t")}})
    content = orjson.dumps(body | {"id": 77})
    told: list[bytes] = []
    with anyio.fail_after(60):
        for is_warm in (False, True):
            async with Connection(served.url) as connection:
                if is_warm:
                    await warm(connection, tmp_path / "trace")
                fields = {**HEADERS, **headers_of(body), "Host": served.url.rpartition("/")[2]}
                lines = [f"{name}: {value}" for name, value in fields.items()]
                size = f"Content-Length: {length.format(len(content), len(content))}"
                head = "\r\n".join(("POST /mcp HTTP/1.1", *lines, size)).encode()
                await connection.send(head + b"\r\n\r\n" + content)
                told.append(bytes(await connection.read_until(b"\r\n"))[:12])
    assert told[0] == told[1]


async def test_a_call_that_takes_long_is_answered_once_and_connections_go_on(
    served: Served, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    with anyio.fail_after(60):
        async with Connection(served.url) as connection:
            await warm(connection, trace)
            before = trace.read_text().count("began")
            await send(connection, 91, trace, 30)
            await send(connection, 10, trace, 31)
            said = bytes(await connection.read_until(b'"id":31'))
            connection.received.clear()
            await send(connection, 10, trace, 32)
            await connection.read_until(b'"id":32')
    assert b"slept 91" in said[: said.index(b'"id":31')]
    assert said.count(b'"id":30') == 1
    assert trace.read_text().count("began") == before + 3


@pytest.mark.parametrize("is_taken", [False, True], ids=["at_once", "handed_over"])
async def test_a_run_is_stopped_when_its_client_leaves(
    served: Served, tmp_path: Path, is_taken: bool
) -> None:
    trace, second = tmp_path / "trace", tmp_path / "twice"
    with anyio.fail_after(60):
        async with Connection(served.url) as connection:
            await warm(connection, trace)
            trace.unlink()
            await send(connection, 99, trace, 40)
            await noted(trace, "began")
            if is_taken:  # another connection's call, which takes longer than the lane waits
                async with Connection(served.url) as other:
                    await send(other, 91, second, 41)
                    await other.read_until(b'"id":41')
        await noted(trace, "stopped")


async def test_a_first_key_counts_on_connections_that_are_open(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with anyio.fail_after(100):
        async with serve(folder) as served, Connection(served.url) as connection:
            await warm(connection, trace)
            make = [*command(folder, served.state)[:3], "keys", "create", "ci", "--scope", "run"]
            await anyio.run_process([*make, "--state", str(served.state)])

            async def is_asked_for() -> bool:
                connection.received.clear()
                await send(connection, 10, trace, 50)
                said = bytes(await connection.read_until(b"\r\n\r\n"))
                if said.startswith(b"HTTP/1.1 200"):
                    await connection.read_until(b'"id":50')
                return said.startswith(b"HTTP/1.1 401")

            await until(is_asked_for, 30)


@pytest.fixture(scope="module")
async def keyed(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Served, dict[str, str]]]:
    """A server, and keys by their names."""
    state = tmp_path_factory.mktemp("state")
    keys = dict[str, str]()
    for name, flags in {"counted": ("--per-hour", "9"), "taken": ()}.items():
        make = [*command(folder, state)[:3], "keys", "create", name, *flags, "--json", "--state", str(state)]
        keys[name] = json.loads((await anyio.run_process(make)).stdout)["key"]
    async with serve(folder, state=state) as running:
        yield running, keys


def caller(served: Served, key: str) -> httpx.AsyncClient:
    """A client with one connection, which sends a head and its body one after the other."""
    return httpx.AsyncClient(
        base_url=served.url,
        headers={"Authorization": f"Bearer {key}"},
        limits=httpx.Limits(max_connections=1),
        trust_env=False,
        timeout=30,
    )


async def called(http: httpx.AsyncClient, moment: int, trace: Path) -> httpx.Response:
    body = modern("tools/call", {"name": "nap", "arguments": {"moment": moment, "trace": str(trace)}})
    return await http.post("/mcp", json=body, headers=HEADERS | headers_of(body))


async def test_calls_with_a_key_are_counted_once_each(
    keyed: tuple[Served, dict[str, str]], tmp_path: Path
) -> None:
    served, keys = keyed
    async with caller(served, keys["counted"]) as http:
        for left, moment in zip(range(8, -1, -1), (10, 10, 10, 10, 91, 10, 91, 10, 10), strict=True):
            answer = await called(http, moment, tmp_path / "trace")
            assert answer.status_code == 200 and f"slept {moment}" in answer.text
            assert answer.headers["x-ratelimit-remaining"] == str(left)
        refused = await called(http, 10, tmp_path / "trace")
        assert refused.status_code == 429 and "retry-after" in refused.headers


async def test_a_revoked_key_is_refused_on_a_connection_that_knew_it(
    keyed: tuple[Served, dict[str, str]], tmp_path: Path
) -> None:
    served, keys = keyed
    async with caller(served, keys["taken"]) as http:
        for _ in range(WARM):
            assert (await called(http, 10, tmp_path / "trace")).status_code == 200
        revoke = [*command(served.folder, served.state)[:3], "keys", "revoke", "taken"]
        await anyio.run_process([*revoke, "--state", str(served.state)])

        async def is_refused() -> bool:
            return (await called(http, 10, tmp_path / "trace")).status_code == 401

        await until(is_refused, 30)


async def test_an_expired_key_is_refused_at_its_next_call_on_a_connection_that_knew_it(
    keyed: tuple[Served, dict[str, str]], tmp_path: Path
) -> None:
    served, _ = keyed
    secret, digest = new_secret()
    now, rows = time.time(), Keys(served.state / "state.db")
    rows.add(
        Key(id="soon", name="soon", digest=digest, scopes=("run",), created=now, changed=now, expires=now + 4)
    )
    rows.close()
    good = 0
    with anyio.fail_after(60):
        async with caller(served, f"mcp_soon_{secret}") as http:
            while True:
                is_good = time.time() < now + 4
                answer = await called(http, 10, tmp_path / "trace")
                assert is_good or answer.status_code == 401
                if answer.status_code == 401:
                    break
                good += 1
    assert good > WARM and time.time() >= now + 4


async def test_a_call_that_has_its_place_keeps_it_when_it_takes_long(folder: Path, tmp_path: Path) -> None:
    trace, second = tmp_path / "trace", tmp_path / "second"
    with anyio.fail_after(100):
        async with (
            serve(folder, "--max-calls", "1") as served,
            Connection(served.url) as connection,
            Connection(served.url) as other,
        ):
            message = modern("tools/call", {"name": "nap", "arguments": {"moment": 92, "trace": str(second)}})
            body = orjson.dumps(message)
            await warm(connection, trace)
            await other.send(other.head("/mcp", body, headers_of(message)))  # it takes its place later
            for number in range(3):  # it was read by then
                await connection.get(f"/live?{number}", {})
                await connection.read_until(b"}")
                connection.received.clear()
            await send(connection, 91, trace, 60)
            await noted(trace, "began " * (WARM + 1))
            await other.send(body)
            said = bytes(await connection.read_until(b"\r\n\r\n"))
            await other.read_until(b"slept 92")
    assert said.startswith(b"HTTP/1.1 200")


async def test_a_client_that_leaves_while_it_is_answered_gives_its_place_back(
    folder: Path, tmp_path: Path
) -> None:
    places, trace = 4, tmp_path / "trace"
    async with serve(folder, "--max-calls", str(places)) as served:

        async def leaves(number: int) -> None:
            async with Connection(served.url) as connection:
                await warm(connection, trace)
                await send(connection, 30, trace, 70)
                await anyio.sleep(0.028 + number * 0.0003)

        with anyio.fail_after(100):
            for first in range(0, 24, places):
                async with anyio.create_task_group() as group:
                    for number in range(first, first + places):
                        group.start_soon(leaves, number)
            async with AsyncExitStack() as stack:
                all_ = [await stack.enter_async_context(Connection(served.url)) for _ in range(places)]
                for each in all_:
                    await send(each, 91, trace, 80)
                for each in all_:
                    assert b"slept 91" in await each.read_until(b"slept 91")
