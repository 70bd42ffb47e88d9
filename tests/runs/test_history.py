"""Every call is recorded, whatever becomes of it, and its caller finds it again, also after a restart."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
import pytest
from postgresql import Cluster

from mcp_server.errors import Conflict, Invalid, NotFound, Unavailable
from mcp_server.models import Answers, Artifact, Caller, Event, Question, Result, Run
from mcp_server.runs import new_id
from mcp_server.server import Server
from mcp_server.store.errands import Errands
from mcp_server.store.history import History

from .conftest import Open, attended

pytestmark = pytest.mark.anyio

ADA, BOB = Caller(name="ada"), Caller(name="bob")


async def until(path: Path) -> None:
    """Wait until a file is there."""
    while not path.exists():
        await anyio.sleep(0.01)


async def test_an_ended_call_is_found_with_inputs_and_result(serving: Open) -> None:
    async with serving() as server:
        called = await attended(server, ADA, "double", {"number": 4})
        assert await server.runs.past.run(ADA, called.id) == called.model_copy(
            update={"client": called.client}
        )
        with pytest.raises(NotFound):
            await server.runs.past.run(BOB, called.id)
    async with serving() as server:
        found = await server.runs.past.run(ADA, called.id)
        assert (found.inputs, found.result, found.status) == ({"number": 4}, called.result, "done")


async def test_a_failed_call_says_why_in_short(serving: Open) -> None:
    async with serving() as server:
        called = await attended(server, ADA, "double", {"number": -1})
        (listed,) = (await server.runs.past.list(ADA, status="failed")).runs
        assert (listed.id, listed.error) == (called.id, "ValueError: too small")


async def test_a_list_has_what_goes_on_and_what_ended_the_newest_first(serving: Open, tmp_path: Path) -> None:
    async with serving() as server:
        for number in range(5):
            await attended(server, ADA, "double", {"number": number})
            await anyio.sleep(0.002)  # ids of one millisecond have no order
        files = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}
        going = await server.runs.start(ADA, "wait", files, detached=True)
        await attended(server, BOB, "double", {"number": 1})
        first = await server.runs.past.list(ADA, limit=4)
        rest = await server.runs.past.list(ADA, limit=4, cursor=first.next)
        assert [len(first.runs), len(rest.runs), rest.next] == [4, 2, None]
        assert [run.pipeline for run in first.runs] == ["wait", "double", "double", "double"]
        ids = [run.id for run in (*first.runs, *rest.runs)]
        assert ids == sorted(set(ids), reverse=True)
        assert [run.id for run in (await server.runs.past.list(ADA, status="running")).runs] == [going.run.id]
        assert len((await server.runs.past.list(ADA, pipeline="double")).runs) == 5
        (tmp_path / "until").touch()


async def test_of_a_pipeline_that_says_so_only_the_fact_is_kept(serving: Open) -> None:
    async with serving() as server:
        called = await attended(server, ADA, "secret", {"word": "password"})
        found = await server.runs.past.run(ADA, called.id)
        assert (found.inputs, found.result, found.status) == ({}, None, "done")
        with pytest.raises(Conflict, match="not recorded"):
            await server.recorded.rerun(ADA, called.id)
    async with serving(record="none") as server:
        called = await attended(server, ADA, "double", {"number": 1})
        with pytest.raises(NotFound):
            await server.runs.past.run(ADA, called.id)
        assert (await server.runs.past.statistics("double")).whole.total == 1


async def test_a_run_goes_on_without_its_caller_and_can_be_repeated(serving: Open, tmp_path: Path) -> None:
    async with serving() as server:
        files = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}
        live = await server.runs.start(ADA, "wait", files, timeout=20, detached=True)
        assert (await server.runs.past.run(ADA, live.run.id)).status == "running"
        with anyio.move_on_after(0.05):
            await server.runs.attend(live)
        (tmp_path / "until").touch()
        await live.end()
        assert (await server.runs.past.run(ADA, live.run.id)).status == "done"
        again = await server.recorded.rerun(ADA, live.run.id)
        await again.end()
        assert (again.run.status, again.run.parent) == ("done", live.run.id)
        with pytest.raises(NotFound):
            await server.recorded.rerun(BOB, live.run.id)


async def test_a_key_repeats_and_batches_once_and_is_no_other_request_s(serving: Open) -> None:
    async with serving() as server, serving() as other:
        called = await attended(server, ADA, "double", {"number": 4})
        again = await server.recorded.rerun(ADA, called.id, "r")
        await again.end()
        assert (await other.recorded.rerun(ADA, called.id, "r")).run.id == again.run.id != called.id
        batch = await server.batches.begin(ADA, "double", [{"number": 1}, {"number": 2}], key="b")
        same = await other.batches.begin(ADA, "double", [{"number": 1}, {"number": 2}], key="b")
        assert same.id == batch.id
        for key, asked in (("r", [{"number": 4}]), ("b", [{"number": 3}])):
            with pytest.raises(Conflict, match="idempotency key"):
                await server.batches.begin(ADA, "double", asked, key=key)
        with pytest.raises(Conflict, match="idempotency key"):
            await server.runs.start(ADA, "double", {"number": 4}, key="r")
        assert (await server.batches.begin(BOB, "double", [{"number": 3}], key="b")).id != batch.id


async def test_cancelling_stops_a_run_and_leaves_an_ended_one_alone(serving: Open, tmp_path: Path) -> None:
    async with serving() as server:
        files = {"started": str(tmp_path / "started"), "until": str(tmp_path / "never")}
        live = await server.runs.start(ADA, "wait", files, detached=True)
        await until(tmp_path / "started")
        with pytest.raises(NotFound):
            await server.runs.cancel(BOB, live.run.id)
        assert (await server.runs.cancel(ADA, live.run.id)).status == "cancelled"
        called = await attended(server, ADA, "double", {"number": 1})
        assert (await server.runs.cancel(ADA, called.id)).status == "done"
    async with serving() as server:
        assert (await server.runs.past.run(ADA, live.run.id)).status == "cancelled"


async def test_a_server_that_stops_lets_its_runs_be_found_as_interrupted(
    serving: Open, tmp_path: Path
) -> None:
    files = {"started": str(tmp_path / "started"), "until": str(tmp_path / "never")}
    async with serving(drain_timeout=0.1) as server:
        live = await server.runs.start(ADA, "wait", files, detached=True)
        await until(tmp_path / "started")
    async with serving() as server:
        found = await server.runs.past.run(ADA, live.run.id)
        assert (found.status, found.error) == ("failed", "interrupted")


async def test_another_server_on_the_same_state_reads_runs_and_lets_them_go_on(
    serving: Open, tmp_path: Path
) -> None:
    files = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}
    async with serving() as one:
        live = await one.runs.start(ADA, "wait", files, detached=True)
        async with serving() as two:
            assert (await two.runs.past.run(ADA, live.run.id)).status == "running"
        (tmp_path / "until").touch()
        await live.end()
        assert live.run.status == "done"


async def test_a_server_that_does_not_hear_is_not_asked_any_more(serving: Open, tmp_path: Path) -> None:
    async with serving() as server, History(tmp_path / "state" / "state.db") as deaf:
        run = Run(id=new_id(), pipeline="wait", version=1, digest="d", inputs={}, caller=ADA, timeout=9.0)
        await deaf.commit(run)
        with pytest.raises(Unavailable, match="does not hear"):
            await server.runs.cancel(ADA, run.id)
        assert [*await Errands(deaf).mine()] == []


class Asked:
    """A call with an idempotency key."""

    def __init__(self, server: Server, key: str, tmp_path: Path) -> None:
        self._server, self._key = server, key
        self._files = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}

    async def __call__(self) -> tuple[str, str]:
        live = await self._server.runs.start(ADA, "wait", self._files, key=self._key)
        await self._server.runs.attend(live)
        return live.run.id, live.run.status


async def test_a_key_runs_once_however_often_and_wherever_it_is_given(serving: Open, tmp_path: Path) -> None:
    got: list[tuple[str, str]] = []

    async def ask(asked: Asked) -> None:
        got.append(await asked())

    async with serving() as one, serving() as two:
        async with anyio.create_task_group() as tasks:
            for server in (one, one, two, two):
                tasks.start_soon(ask, Asked(server, "k", tmp_path))
            await until(tmp_path / "started")
            (tmp_path / "until").touch()
        with pytest.raises(Conflict, match="other arguments"):
            await one.runs.start(ADA, "double", {"number": 1}, key="k")
    async with serving() as server:
        got.append(await Asked(server, "k", tmp_path)())
        assert len(set(got)) == 1 and got[0][1] == "done"
        assert (tmp_path / "started").read_text() == "once "
        assert (await server.runs.past.statistics("wait")).whole.total == 1


async def test_a_call_with_a_key_goes_on_when_its_caller_leaves(serving: Open, tmp_path: Path) -> None:
    async with serving() as server:
        with anyio.move_on_after(0.05):
            await Asked(server, "k", tmp_path)()
        (tmp_path / "until").touch()
        assert (await Asked(server, "k", tmp_path)())[1] == "done"
        assert (tmp_path / "started").read_text() == "once "


async def test_a_call_with_a_key_goes_on_when_its_caller_leaves_before_it_is_durable(
    serving: Open, tmp_path: Path
) -> None:
    async with serving() as server:
        other = sqlite3.connect(tmp_path / "state" / "state.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # nobody else writes until this ends
        with anyio.move_on_after(0.1) as left:
            await Asked(server, "k", tmp_path)()
        assert left.cancelled_caught
        other.execute("ROLLBACK")
        other.close()
        await until(tmp_path / "started")
        (tmp_path / "until").touch()
        assert (await Asked(server, "k", tmp_path)())[1] == "done"


async def test_a_waiting_run_is_durable_before_its_caller_knows_it(serving: Open) -> None:
    async with serving() as one, serving() as two:
        called = await attended(one, ADA, "ask", {})
        assert called.status == "waiting"
        assert (await two.runs.past.run(ADA, called.id)).status == "waiting"


async def test_a_batch_runs_each_item_and_one_that_fails_fails_alone(serving: Open) -> None:
    inputs = [{"number": 1}, {"number": -1}, {"number": "x"}, {"number": 4}]
    async with serving() as server:
        begun = await server.batches.begin(ADA, "double", inputs, concurrency=2)
        await server.runs.find(ADA, begun.id).end()
        batch = await server.batches.get(ADA, begun.id)
        assert batch.run.status == "done"
        assert [item and item.status for item in batch.items] == ["done", "failed", "failed", "done"]
        assert batch.run.result is not None
        assert batch.run.result.structured == b'{"items":4,"done":2,"failed":2}'
        with pytest.raises(NotFound):
            await server.batches.get(BOB, begun.id)
    async with serving() as server:
        batch = await server.batches.get(ADA, begun.id)
        results = [item.result.structured for item in batch.items if item and item.result]
        assert results == [b'{"result":2}', None, None, b'{"result":8}']


async def test_cancelling_a_batch_stops_its_items(serving: Open, tmp_path: Path) -> None:
    files = {"started": str(tmp_path / "started"), "until": str(tmp_path / "never")}
    async with serving() as server:
        begun = await server.batches.begin(ADA, "wait", [files] * 5, concurrency=2)
        await until(tmp_path / "started")
        await server.runs.cancel(ADA, begun.id)
        batch = await server.batches.get(ADA, begun.id)
        assert batch.run.status == "cancelled"
        assert {item and item.status for item in batch.items} == {"cancelled", None}


@pytest.mark.parametrize(("items", "at_once"), [(0, 1), (1001, 1), (1, 0), (1, 33)])
async def test_a_batch_is_bounded(serving: Open, items: int, at_once: int) -> None:
    async with serving() as server:
        with pytest.raises(Invalid):
            await server.batches.begin(ADA, "double", [{"number": 1}] * items, concurrency=at_once)


async def nobody(event: Event) -> Answers | None:
    return {} if isinstance(event, Question) else None


async def test_a_history_that_fails_breaks_no_call(serving: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with serving(store=f"sqlite:///{tmp_path}/file/state.db") as server:
        called = await attended(server, ADA, "ask", {}, nobody)
        assert called.status == "done"
        assert (await server.runs.past.run(ADA, called.id)).status == "done"
        assert server.history.fault is not None


async def test_servers_on_one_postgresql_share_runs_pipelines_and_keys(
    serving: Open, cluster: Cluster, tmp_path: Path
) -> None:
    url = cluster.database()
    async with serving(store=url) as one, serving(store=url, state=tmp_path / "other") as two:
        assert one.history.fault is None
        called = await attended(one, ADA, "double", {"number": 4})
        await one.runs.past.run(ADA, called.id)  # whoever reads waits for what was to be recorded there
        assert (await two.runs.past.run(ADA, called.id)).result == called.result
        first = await one.runs.start(ADA, "double", {"number": 5}, key="k")
        await first.end()
        again = await two.runs.start(ADA, "double", {"number": 5}, key="k")
        await again.end()
        assert (again.run.id, again.run.status) == (first.run.id, "done")
        assert (await two.runs.past.statistics("double")).whole.total == 2
        await one.catalog.undeploy("ask")
        while two.catalog.status("ask").status != "undeployed":
            await anyio.sleep(0.01)
    async with serving(store=url) as server:
        assert server.catalog.status("ask").status == "undeployed"
        assert len((await server.runs.past.list(ADA)).runs) == 2


async def test_a_recorded_artifact_is_its_callers_only(serving: Open) -> None:
    artifact = Artifact(name="a.txt", mime_type="text/plain", content=b"mine")
    result = Result(content=b"[]", artifacts=(artifact,))
    async with serving() as server:
        called = await attended(server, ADA, "double", {"number": 1})
        kept = called.model_copy(update={"id": "f" * 32, "result": result})
        await server.history.commit(kept)
        uri = artifact.uri(kept.id)
        assert (await server.runs.past.part(ADA, uri)).content == b"mine"
        for caller, address in ((BOB, uri), (ADA, uri + "b"), (ADA, artifact.uri(called.id))):
            with pytest.raises(NotFound, match="no artifact"):
                await server.runs.past.part(caller, address)
