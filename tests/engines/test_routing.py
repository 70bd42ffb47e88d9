"""Routing by version: several sources of a name serve side by side, and none loses a call when displaced."""

from __future__ import annotations

from pathlib import Path

import anyio
import orjson
import pytest

from mcp_server.engines import Generation
from mcp_server.errors import NotFound
from mcp_server.models import Group, Member, Result

from .conftest import Bench, nothing, until

pytestmark = pytest.mark.anyio

ANSWER = "async def run_api(self, wait: float = 0) -> int:\n    await asyncio.sleep(wait)\n    return {}"


def value(result: Result) -> object:
    assert not result.is_error, result.content
    assert result.structured is not None
    return orjson.loads(result.structured)["result"]


async def adopted(bench: Bench, member: Member, group: str) -> Generation:
    await bench.serve(member, group=group)
    return bench.engine._routes[member.name, member.digest]


async def call(bench: Bench, member: Member, **inputs: object) -> object:
    """What this very version answers."""
    run = bench.run(member.name, inputs).model_copy(update={"digest": member.digest})
    return value(await bench.engine.run(run, nothing))


async def test_versions_of_one_name_answer_side_by_side(bench: Bench) -> None:
    one, two = (bench.member("p", ANSWER.format(number)) for number in (1, 2))
    await bench.serve(one, group="main")
    await bench.serve(two, group="version.p.2")
    assert [await call(bench, each) for each in (one, two, one)] == [1, 2, 1]


async def test_a_version_that_nobody_serves_is_refused(bench: Bench) -> None:
    one = bench.member("p", ANSWER.format(1))
    await bench.serve(one)
    with pytest.raises(NotFound, match="call it again"):
        await call(bench, bench.member("p", ANSWER.format(2)))


async def test_a_displaced_version_still_takes_the_calls_that_had_chosen_it(bench: Bench) -> None:
    one, two = (bench.member("p", ANSWER.format(number)) for number in (1, 2))
    await bench.serve(one)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.serve, two)
        await until(lambda: ("p", two.digest) in bench.engine._routes)
        assert await call(bench, one) == 1, "chosen before, begun after"
    assert await call(bench, two) == 2

    async def gone() -> bool:
        try:
            await call(bench, one)
        except NotFound:
            return True
        return False

    with anyio.fail_after(10):
        while not await gone():
            await anyio.sleep(0.05)
    assert await call(bench, two) == 2


async def test_a_released_version_still_takes_the_calls_that_had_chosen_it(bench: Bench) -> None:
    one, two = (bench.member("p", ANSWER.format(number)) for number in (1, 2))
    await bench.serve(one)
    await bench.serve(two, group="version.p.2")
    bench.engine.release("p", two.digest)
    assert await call(bench, two, wait=0.2) == 2
    await until(lambda: ("p", two.digest) not in bench.engine._routes)
    assert await call(bench, one) == 1


async def test_a_version_that_moves_to_another_group_answers_from_there(bench: Bench, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    body = ANSWER.format(1) + f"\ndef teardown(self):\n    open({str(closed)!r}, 'w').close()"
    one = bench.member("p", body)
    stays = bench.member("q", ANSWER.format(7))
    await bench.serve(one, stays, group="main")
    there = await adopted(bench, one, "upload.p")
    bench.engine.release("p", "another digest")
    await until(closed.exists)
    assert bench.engine._routes["p", one.digest] is there
    assert await call(bench, one) == 1 and await call(bench, stays) == 7


async def test_what_comes_back_right_after_its_release_stays(bench: Bench) -> None:
    one = bench.member("p", ANSWER.format(1))
    first = await adopted(bench, one, "version.p.1")
    bench.engine.release("p", one.digest)
    second = await adopted(bench, one, "version.p.1")
    assert first is not second
    await until(lambda: first not in bench.engine._leaving)
    assert await call(bench, one) == 1
    assert not bench.engine._leaving


async def test_a_recovered_host_loads_the_source_where_it_lies_then(hosts: Bench, tmp_path: Path) -> None:
    """An edit of the folder that nobody asked to be served does not come in by the back door."""
    body = "def run_api(self, die: bool = False) -> int:\n    die and os._exit(3)\n    return {}"
    member = hosts.member("p", body.format(1))
    copy = hosts.member("p", body.format(1)).root

    async def locate(asked: Member) -> Path:
        assert asked.digest == member.digest
        return copy

    generation = hosts.engine.open(Group(name="main", members=(member,)))
    await generation.settled()
    hosts.engine.adopt(generation, lambda name, outcome: None, locate)
    hosts.digests["p"] = member.digest
    code = (member.root / "pipeline_wrapper.py").read_text()
    (member.root / "pipeline_wrapper.py").write_text(code.replace("return 1", "return 2"))
    assert (await hosts.call("p", die=True)).is_error
    assert value(await hosts.call("p")) == 1


async def test_a_source_that_is_nowhere_any_more_is_not_loaded_again(hosts: Bench) -> None:
    member = hosts.member("p", "def run_api(self) -> int:\n    os._exit(3)")

    async def nowhere(asked: Member) -> None:
        return None

    generation = hosts.engine.open(Group(name="main", members=(member,)))
    await generation.settled()
    hosts.engine.adopt(generation, lambda name, outcome: None, nowhere)
    hosts.digests["p"] = member.digest
    assert (await hosts.call("p")).is_error
    again = await hosts.call("p")
    assert again.is_error and b"no copy of them is left" in again.content
