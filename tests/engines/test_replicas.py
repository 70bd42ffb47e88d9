"""A pipeline in several hosts: they share the calls, and one that dies is replaced while the others serve."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from mcp_server.engines.hosts.replicas import ReplicatedGeneration
from mcp_server.models import Answers, Event, Group, Manifest, Problem, Question, Result

from .conftest import Bench, until

pytestmark = pytest.mark.anyio

WHERE = """
    def run_api(self, wait_for: str = "") -> int:
        while wait_for and not os.path.exists(wait_for):
            time.sleep(0.01)
        return os.getpid()
"""


def value(result: Result) -> Any:
    assert not result.is_error, result.content
    return orjson.loads(result.structured or b"")["result"]


async def serve(hosts: Bench, body: str, replicas: int = 2, **options: object) -> ReplicatedGeneration:
    member = hosts.member("p", body, replicas=replicas, **options)
    hosts.digests["p"] = member.digest
    generation = hosts.engine.open(Group(name="main", members=(member,), replicas=replicas))
    assert isinstance(generation, ReplicatedGeneration)
    hosts.engine.adopt(generation, lambda name, outcome: hosts.reports.append((name, outcome)))
    assert isinstance((await generation.settled())["p"], Manifest)
    return generation


def counts(hosts: Bench) -> dict[str, int] | None:
    found = hosts.engine.replicas("p", hosts.digests["p"])
    return dict(found) if found else None


async def test_calls_go_to_the_replica_with_the_least_to_do(hosts: Bench, tmp_path: Path) -> None:
    generation = await serve(hosts, WHERE, 3)
    assert counts(hosts) == {"wanted": 3, "serving": 3}
    pids = set(generation.pids["p"])
    assert len(pids) == 3
    may_end = tmp_path / "may_end"
    async with asyncio.TaskGroup() as tasks:
        busy = [tasks.create_task(hosts.call("p", wait_for=str(may_end))) for _ in range(2)]
        await until(lambda: sum(each.going for each in generation._replicas) == 2)
        free = {value(await hosts.call("p")) for _ in range(5)}
        may_end.touch()
    assert len(free) == 1
    assert {value(task.result()) for task in busy} | free == pids


async def test_a_replica_that_dies_is_replaced_while_the_others_serve(hosts: Bench) -> None:
    generation = await serve(hosts, WHERE)
    before = generation.pids["p"]
    reports = len(hosts.reports)
    assert before[0] is not None
    os.kill(before[0], signal.SIGKILL)
    await until(lambda: generation.pids["p"][0] != before[0])
    assert value(await hosts.call("p")) != before[0]
    await until(lambda: counts(hosts) == {"wanted": 2, "serving": 2})
    after = generation.pids["p"]
    assert after[1] == before[1] and after[0] != before[0]
    assert {value(await hosts.call("p")) for _ in range(4)} == set(after)
    assert len(hosts.reports) == reports  # to others nothing has happened


async def test_a_run_that_asks_stays_with_its_replica(hosts: Bench) -> None:
    await serve(
        hosts,
        """
        def run_api(self, context: Context) -> list[int]:
            before = os.getpid()
            context.ask("Go on?", {"type": "object", "properties": {}})
            return [before, os.getpid()]
        """,
    )

    async def emit(event: Event) -> Answers | None:
        if not isinstance(event, Question):
            return None
        await anyio.sleep(0.05)
        return {key: {"action": "accept", "content": {}} for key in event.requests}

    answers = [value(result) for result in await asyncio.gather(*(hosts.call("p", emit) for _ in range(6)))]
    assert all(before == after for before, after in answers)
    assert len({before for before, _ in answers}) == 2


async def test_a_deploy_fails_if_one_replica_does_not_load(hosts: Bench, tmp_path: Path) -> None:
    first = tmp_path / "first"
    body = f"""
        def setup(self):
            os.mkdir({str(first)!r})  # the second cannot
        def run_api(self) -> int:
            return 1
    """
    member = hosts.member("p", body, replicas=2)
    generation = hosts.engine.open(Group(name="main", members=(member,), replicas=2))
    outcome = (await generation.settled())["p"]
    assert isinstance(outcome, Problem) and "FileExistsError" in outcome.message
    await hosts.engine.discard(generation)


async def test_releasing_it_closes_every_replica(hosts: Bench, tmp_path: Path) -> None:
    body = f"""
        def run_api(self) -> int:
            return os.getpid()
        def teardown(self):
            open({str(tmp_path)!r} + f"/closed-{{os.getpid()}}", "w").close()
    """
    generation = await serve(hosts, body)
    pids = generation.pids["p"]
    hosts.engine.release("p", hosts.digests["p"])
    await until(lambda: all((tmp_path / f"closed-{pid}").exists() for pid in pids))
    await until(lambda: counts(hosts) is None)
