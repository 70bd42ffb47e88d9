"""Questions a run asks on its way, over all engines."""

from __future__ import annotations

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
