"""Slots: who runs, who waits, whose turn is next, and who is refused."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx
import pytest
from clients import loaded, serve
from surfaces.conftest import wrapper

from mcp_server.errors import Overloaded
from mcp_server.limits.slots import Slots
from mcp_server.models import Answers, Caller, Event, Options, Question, Run
from mcp_server.runs import new_id
from mcp_server.settings import Settings

pytestmark = pytest.mark.anyio
LIMIT = 20.0
NARROW = Options(concurrency=1)


def run(caller: str, pipeline: str = "p") -> Run:
    """A run that somebody wants."""
    return Run(
        id=new_id(),
        pipeline=pipeline,
        version=1,
        digest="d",
        inputs={},
        caller=Caller(name=caller),
        timeout=9,
    )


async def order(slots: Slots, runs: list[Run], options: Options = NARROW) -> list[str]:
    """Reserve for all of these, then let them take their turns; gives the callers as they came to it."""
    took: list[str] = []

    async def take(wanted: Run) -> None:
        async with slots.turn(wanted, options, None):
            took.append(wanted.caller.name)
            await anyio.lowlevel.checkpoint()

    for each in runs:
        slots.reserve(each, options, None)
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            for each in runs:
                tasks.start_soon(take, each)
    return took


async def test_callers_take_turns_however_much_one_of_them_asks_for() -> None:
    wanted = [*(run("much") for _ in range(5)), run("little"), run("less"), run("little")]
    took = await order(Slots(Settings()), wanted)
    assert took == ["much", "much", "little", "less", "much", "little", "much", "much"]


async def test_what_does_not_fit_the_queue_is_refused_at_once_and_the_rest_is_served() -> None:
    slots = Slots(Settings(waiting_calls=3))
    held = [run("anyone") for _ in range(4)]
    for each in held:
        slots.reserve(each, NARROW, None)
    with pytest.raises(Overloaded) as refused:
        slots.reserve(run("anyone"), NARROW, None)
    assert refused.value.after > 0
    slots.drop(held[2])  # it never came to its turn
    slots.reserve(late := run("anyone"), NARROW, None)
    for each in (held[0], held[1], held[3], late):
        with anyio.fail_after(LIMIT):
            async with slots.turn(each, NARROW, None):
                pass
    assert slots.idle


async def test_one_caller_leaves_half_of_the_queue_to_others() -> None:
    slots = Slots(Settings(waiting_calls=4))
    for _ in range(3):  # one runs, two wait
        slots.reserve(run("much"), NARROW, None)
    with pytest.raises(Overloaded):
        slots.reserve(run("much"), NARROW, None)
    slots.reserve(run("little"), NARROW, None)


async def test_a_caller_with_all_it_may_have_waits_and_others_pass_it() -> None:
    slots = Slots(Settings(caller_calls=2))
    wide = Options(concurrency=50)
    async with AsyncExitStack() as held:
        for _ in range(2):
            await held.enter_async_context(slots.turn(run("greedy", "a"), wide, None))
        waiting = run("greedy", "b")
        slots.reserve(waiting, wide, None)
        async with slots.turn(run("modest", "b"), wide, None):
            pass
        with anyio.move_on_after(0.05) as waited:
            async with slots.turn(waiting, wide, None):
                raise AssertionError("it has all it may have")
        assert waited.cancelled_caught
        last = run("greedy", "b")
        slots.reserve(last, wide, None)
    with anyio.fail_after(LIMIT):  # what ended elsewhere lets it run
        async with slots.turn(last, wide, None):
            pass
    assert slots.idle


async def test_a_run_that_asks_lends_its_slot_and_takes_another_when_it_is_answered() -> None:
    slots = Slots(Settings())
    asked, answered = anyio.Event(), anyio.Event()

    async def emit(event: Event) -> Answers | None:
        asked.set()
        await answered.wait()
        return {}

    async def ask() -> None:
        async with slots.turn(run("ada"), NARROW, None) as turn:
            await turn.lending(emit)(Question(number=1, requests={}))

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await asked.wait()
            async with slots.turn(run("bob"), NARROW, None):
                answered.set()
                await anyio.sleep(0.01)
    assert slots.idle


SLOW = '''
    concurrency = 2

    async def run_api_async(self, path: str) -> str:
        """Waits until the file is there."""
        while path and not os.path.exists(path):
            await asyncio.sleep(0.02)
        return "done"
'''


async def test_overload_is_refused_fast_on_every_surface_and_what_was_taken_is_answered(
    tmp_path: Path,
) -> None:
    go, folder = tmp_path / "go", tmp_path / "pipelines"
    (folder / "slow").mkdir(parents=True)
    (folder / "slow" / "pipeline_wrapper.py").write_text(wrapper(SLOW))
    chat = {"model": "slow", "messages": [{"role": "user", "content": str(go)}]}
    answers: list[int] = []

    async with (
        serve(folder, "--waiting-calls", "4") as narrow,
        httpx.AsyncClient(base_url=narrow.url, trust_env=False, timeout=LIMIT) as http,
    ):
        await loaded(narrow.url)

        async def call() -> None:
            answers.append((await http.post("/slow/run", json={"path": str(go)})).status_code)

        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(call)
                while len(answers) < 14:
                    await anyio.sleep(0.02)
                began = time.monotonic()
                refused = await http.post("/slow/run", json={"path": str(go)})
                assert time.monotonic() - began < 1  # at once, not when a slot is free
                assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
                assert "try again" in refused.json()["detail"]
                spoken = await http.post("/v1/chat/completions", json=chat)
                assert spoken.status_code == 503 and spoken.json()["error"]["code"] == "overloaded"
                started = await http.post("/runs", json={"name": "slow", "arguments": {"path": str(go)}})
                assert started.status_code == 503
                async with narrow.client() as client:
                    told = await client.call_tool("slow", {"path": str(go)})
                assert told.is_error and told.meta and told.meta["haystack-mcp-server/retry-after"] == 1
                go.touch()
    assert sorted(answers) == [200] * 6 + [503] * 14
