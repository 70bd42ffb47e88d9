"""The running call, seen from a pipeline: questions from threads and from the loop, and how they end."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import anyio
import anyio.to_thread
import pytest

from mcp_server.models import Caller, Client, Event, Json, Log
from mcp_server.pipelines.context import MISSING_CAPABILITY, Context, ProtocolError, Stopped

pytestmark = pytest.mark.anyio

FORM: Json = {"type": "object", "properties": {"city": {"type": "string"}}}
ROME = {"answer": {"action": "accept", "content": {"city": "Rome"}}}


class Desk:
    """Where questions arrive; they stay open until they are settled here."""

    def __init__(self) -> None:
        self.future: Future[Mapping[str, Json]] = Future()
        self.arrived = threading.Event()

    def ask(self, requests: Mapping[str, Json], *, parks: bool = False) -> Future[Mapping[str, Json]]:
        self.arrived.set()
        return self.future


def context(desk: Desk | None = None, **client: Any) -> Context:
    return Context("run", Caller(), lambda event: None, Client(**client), desk and desk.ask)


async def settled(desk: Desk) -> None:
    """Answer once the question has arrived."""
    assert await anyio.to_thread.run_sync(desk.arrived.wait, 5)
    desk.future.set_result(ROME)


@pytest.fixture(autouse=True)
async def bounded() -> Any:
    with anyio.fail_after(10):
        yield


async def test_a_thread_waits_for_its_answer() -> None:
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(settled, desk)
        answer = await anyio.to_thread.run_sync(lambda: context(desk).ask("Where to?", FORM))
    assert answer.content == {"city": "Rome"}


async def test_the_loop_awaits_its_answer() -> None:
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(settled, desk)
        assert (await context(desk).ask("Where to?", FORM)).content == {"city": "Rome"}


async def test_a_thread_that_waits_is_stopped_with_its_run() -> None:
    desk = Desk()

    def wait() -> str:
        try:
            context(desk).ask("Where to?", FORM)
        except Stopped:
            return "stopped"
        return "answered"

    async def stop() -> None:
        assert await anyio.to_thread.run_sync(desk.arrived.wait, 5)
        desk.future.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop)
        assert await anyio.to_thread.run_sync(wait) == "stopped"


async def test_a_stopped_run_asks_nobody() -> None:
    desk = Desk()
    stopped = context(desk)
    stopped.stop()
    assert stopped.cancelled
    with pytest.raises(Stopped):
        stopped.ask("Where to?", FORM)
    with pytest.raises(Stopped):
        stopped.chunk("more")
    assert not desk.arrived.is_set()


async def test_where_nobody_can_be_asked_that_is_said() -> None:
    with pytest.raises(RuntimeError, match="nobody can be asked"):
        context().ask("Where to?", FORM)


async def test_what_a_client_can_do_is_known_and_may_be_required() -> None:
    able = context(capabilities={"elicitation": {}})
    assert able.can("elicitation") and not able.can("sampling")
    able.require("elicitation")
    with pytest.raises(ProtocolError, match="sampling") as missing:
        able.require("sampling")
    assert missing.value.code == MISSING_CAPABILITY == -32021
    assert missing.value.data == {"requiredCapabilities": {"sampling": {}}}


async def test_a_log_line_is_sent_even_by_a_run_that_is_to_stop() -> None:
    heard: list[Event] = []
    ending = Context("run", Caller(), heard.append)
    ending.stop()
    ending.log("info", "cleaned up")
    assert heard == [Log(level="info", data="cleaned up")]
