"""A run followed over server-sent events on a real server, with breaks, late, and to the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import Served, serve, until

from .conftest import WRAPPERS, wrapper
from .test_rest_managing import ASK, ended

pytestmark = pytest.mark.anyio

LIMIT = 60.0
FLOOD = '''
def run_api(self, count: int) -> str:
    """Streams as fast as it can."""
    for number in range(count):
        yield f"{number} "
'''


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    for name, body in {
        "ask": ASK,
        "flood": FLOOD,
        "words": WRAPPERS["words"],
        "wait": WRAPPERS["wait"],
    }.items():
        (made / name).mkdir()
        (made / name / "pipeline_wrapper.py").write_text(wrapper(body))
    return made


@pytest.fixture(scope="module")
async def served(folder: Path) -> AsyncIterator[Served]:
    async with serve(folder) as running:
        yield running


@pytest.fixture(scope="module")
async def http(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as client:
        yield client


async def begun(http: httpx.AsyncClient, name: str, **arguments: Any) -> str:
    return (await http.post("/runs", json={"name": name, "arguments": arguments})).json()["run_id"]


async def following(
    http: httpx.AsyncClient, run: str, after: str | None = None
) -> AsyncGenerator[tuple[str, str, Any]]:
    """Id, kind and data of the events, as they come."""
    headers = {"Last-Event-ID": after} if after else {}
    async with http.stream("GET", f"/runs/{run}/events", headers=headers) as response:
        assert response.status_code == 200
        event: dict[str, str] = {}
        async for line in response.aiter_lines():
            key, _, value = line.partition(": ")
            event[key] = value
            if not line and "event" in event:
                yield event["id"], event["event"], json.loads(event["data"])
                event = {}


async def followed(
    http: httpx.AsyncClient, run: str, after: str | None = None, most: int = 10**6
) -> list[tuple[str, str, Any]]:
    """The same in a list, at most so many."""
    told: list[tuple[str, str, Any]] = []
    with anyio.fail_after(LIMIT):
        async with aclosing(following(http, run, after)) as events:
            async for each in events:
                told.append(each)
                if len(told) == most:
                    break
    return told


async def test_a_run_is_followed_to_its_end_over_a_break(http: httpx.AsyncClient) -> None:
    run = await begun(http, "words", count=60)
    first = await followed(http, run, most=3)
    rest = await followed(http, run, after=first[-1][0])
    assert [int(identity) for identity, _, _ in first + rest] == [*range(1, 62)]
    assert "".join(data["text"] for _, kind, data in first + rest if kind == "chunk") == "".join(
        f"word{number} " for number in range(60)
    )
    identity, kind, data = rest[-1]
    assert (kind, data["run_id"], data["status"]) == ("end", run, "done")
    over = await http.get(f"/runs/{run}/events", headers={"Last-Event-ID": identity})
    assert (over.status_code, over.content) == (204, b"")


async def test_an_ended_run_is_told_again(http: httpx.AsyncClient) -> None:
    run = await begun(http, "words", count=3)
    await ended(http, run)
    told = await followed(http, run)
    assert [kind for _, kind, _ in told] == ["chunk", "chunk", "chunk", "end"]


async def test_a_run_that_says_much_is_kept_within_bounds(http: httpx.AsyncClient) -> None:
    run = await begun(http, "flood", count=2000)
    await ended(http, run)
    told = await followed(http, run)
    assert len(told) <= 501
    assert told[-1][2]["result"]["result"] == "".join(f"{number} " for number in range(2000))


async def test_a_question_is_told_and_its_answer_ends_the_run(http: httpx.AsyncClient) -> None:
    run = await begun(http, "ask")
    first = await followed(http, run, most=1)
    assert first[0][1] == "question"
    key = next(iter(first[0][2]["requests"]))
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(followed(http, run, after=first[0][0]))
        await http.post(f"/runs/{run}/answer", json={"answers": {key: {"ok": True}}})
    assert following.result()[-1][2]["result"] == {"result": "accept"}


async def test_what_makes_no_sense_is_refused(http: httpx.AsyncClient) -> None:
    run = await begun(http, "words", count=0)
    assert (await http.get("/runs/0a/events")).status_code == 404
    assert (await http.get(f"/runs/{run}/events", headers={"Last-Event-ID": "x"})).status_code == 400
    assert (await http.post(f"/runs/{run}/events")).status_code == 405
    head = await http.head(f"/runs/{run}/events")
    assert (head.status_code, head.content) == (200, b"")


async def test_a_stopping_server_ends_the_streams_and_the_next_one_tells_the_end(
    folder: Path, tmp_path: Path
) -> None:
    files = {"started": str(tmp_path / "started"), "stopped": str(tmp_path / "stopped")}
    state = tmp_path / "state"
    async with (
        serve(folder, "--drain-timeout", "0", state=state) as first,
        httpx.AsyncClient(base_url=first.url, trust_env=False, timeout=LIMIT) as client,
    ):
        run = await begun(client, "wait", **files)
        await until(anyio.Path(tmp_path / "started").exists, LIMIT)
        async with client.stream("GET", f"/runs/{run}/events") as response:
            assert response.status_code == 200
            first.process.terminate()
            with anyio.fail_after(LIMIT):
                await response.aread()
    async with (
        serve(folder, state=state) as second,
        httpx.AsyncClient(base_url=second.url, trust_env=False, timeout=LIMIT) as client,
    ):
        told = await followed(client, run)
    assert [(kind, data["status"]) for _, kind, data in told] == [("end", "failed")]
