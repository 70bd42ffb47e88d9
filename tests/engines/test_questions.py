"""Questions a run asks on its way, over all engines."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from mcp_server.models import Answers, Emit, Event, Question

from .conftest import Bench
from .test_contract import reason, value

pytestmark = pytest.mark.anyio

FORM = '{"type": "object", "properties": {"word": {"type": "string"}}}'


def said(word: str) -> Answers:
    return {"answer": {"action": "accept", "content": {"word": word}}}


@pytest.mark.parametrize(("method", "wait"), [("def", ""), ("async def", "await ")])
async def test_a_run_asks_and_goes_on_with_the_answer(bench: Bench, method: str, wait: str) -> None:
    body = f"""
        {method} run_api(self, context: Context) -> str:
            first = {wait}context.ask("First?", {FORM})
            second = {wait}context.ask("Second?", {FORM})
            return first.value["word"] + second.value["word"]
    """
    await bench.serve(bench.member("asks", body))

    async def answer(event: Event) -> Answers | None:
        assert isinstance(event, Question)
        return said(event.requests["answer"]["params"]["message"])

    assert value(await bench.call("asks", answer)) == "First?Second?"


async def test_two_threads_of_a_run_each_get_their_own_answer(bench: Bench) -> None:
    body = f"""
        def run_api(self, context: Context) -> list[str]:
            from concurrent.futures import ThreadPoolExecutor
            def ask(number):
                return context.ask(str(number), {FORM}).value["word"]
            with ThreadPoolExecutor(8) as pool:
                return list(pool.map(ask, range(8)))
    """
    await bench.serve(bench.member("asks", body))

    async def answer(event: Event) -> Answers | None:
        assert isinstance(event, Question)
        return said(event.requests["answer"]["params"]["message"])

    assert value(await bench.call("asks", answer)) == [str(number) for number in range(8)]


async def test_waiting_for_an_answer_does_not_use_up_the_timeout(bench: Bench) -> None:
    body = f"""
        def run_api(self, context: Context) -> str:
            word = context.ask("?", {FORM}).value["word"]
            time.sleep(60 if word == "slow" else 0)
            return word
    """
    await bench.serve(bench.member("asks", body))

    def after(word: str) -> Emit:
        async def answer(event: Event) -> Answers | None:
            await anyio.sleep(1.0)
            return said(word)

        return answer

    assert value(await bench.call("asks", after("late"), timeout=0.6)) == "late"
    assert "timeout" in reason(await bench.call("asks", after("slow"), timeout=0.6))


async def test_a_run_that_asks_lends_its_slot_and_takes_it_back(bench: Bench) -> None:
    body = f"""
        def setup(self):
            self.now = self.most = 0
        async def run_api(self, asks: bool, context: Context) -> int:
            if asks:
                await context.ask("?", {FORM})
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.02)
            self.now -= 1
            return self.most
    """
    await bench.serve(bench.member("narrow", body, concurrency=1))
    most: list[object] = []

    async def answer(event: Event) -> Answers | None:
        assert isinstance(event, Question)
        most.append(value(await bench.call("narrow", asks=False)))
        return said("go on")

    async def ask() -> None:
        most.append(value(await bench.call("narrow", answer, asks=True)))

    async def leave() -> None:
        asked = anyio.Event()

        async def wait(event: Event) -> Answers | None:
            asked.set()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as caller:
            caller.start_soon(partial(bench.call, "narrow", wait, asks=True))
            await asked.wait()
            caller.cancel_scope.cancel()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for each in (ask, leave, ask, ask):
                tasks.start_soon(each)
    assert most == [1] * 6


async def test_a_run_that_waits_ends_with_its_host(hosts: Bench) -> None:
    body = f"""
        def run_api(self, context: Context) -> str:
            return str(context.ask("?", {FORM}))
    """
    leave = "def run_api(self) -> str:\n    os._exit(3)"
    await hosts.serve(hosts.member("asks", body), hosts.member("leaves", leave))
    asked, told = anyio.Event(), anyio.Event()
    reasons: list[str] = []

    async def wait(event: Event) -> Answers | None:
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            told.set()

    async def call() -> None:
        reasons.append(reason(await hosts.call("asks", wait)))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await asked.wait()
            reasons.append(reason(await hosts.call("leaves")))
    assert told.is_set()
    assert all("exit code 3" in each for each in reasons) and len(reasons) == 2
