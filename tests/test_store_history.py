"""History on every kind of database: what is recorded, what lasts, what is given up, what makes room."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import Engine, create_engine, event, text

from mcp_server.errors import Conflict, Unavailable
from mcp_server.models import Artifact, Caller, Fault, Question, Result, Run
from mcp_server.store import Bound, Filter, Place, Retention
from mcp_server.store.changes import EDGES, RunRow, bucket, changed, new_id
from mcp_server.store.counting import Slot, buckets
from mcp_server.store.errands import Errand, Errands
from mcp_server.store.history import History
from mcp_server.store.plain_rows import COLUMNS, SAME, durations, plain
from mcp_server.store.run_tables import counters, runs
from mcp_server.store.steps import Steps

pytestmark = pytest.mark.anyio

BOUND = 30.0
RESULT = Result(content=b'[{"type":"text","text":"hello"}]', structured=b'{"result":"hello"}')
ENDED = {"status": "done", "result": RESULT, "finished": 1000.5}


def run(**given: object) -> Run:
    """A run that began at second 1000; `given` says what is different."""
    plain = {
        "id": new_id(),
        "pipeline": "p",
        "version": 3,
        "digest": "d",
        "inputs": {"text": "hi", "n": 1},
        "caller": Caller(name="ada", origin="rest"),
        "timeout": 10.0,
        "started": 1000.0,
    }
    return Run.model_validate(plain | given)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


@pytest.fixture(params=["file", "memory", "postgresql"])
def place(request: pytest.FixtureRequest, path: Path) -> Place:
    """A new database of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("cluster").database()
    return path if request.param == "file" else None


@pytest.fixture(params=["file", "postgresql"])
def shared(request: pytest.FixtureRequest, path: Path) -> Path | str:
    """A new database of each kind that several servers can open."""
    return path if request.param == "file" else request.getfixturevalue("cluster").database()


@pytest.fixture
async def history(place: Place) -> AsyncIterator[History]:
    with anyio.fail_after(BOUND):
        async with History(place) as opened:
            yield opened


async def test_a_recorded_run_is_found_as_it_was(history: History) -> None:
    fault = Fault(code=-32000, message="no", data={"a": 1})
    failed = Result(content=b'[{"type":"text","text":"no"}]', is_error=True, fault=fault, partial=True)
    for each in (
        run(),
        run(**ENDED),
        run(status="waiting", question=Question(number=2, requests={"a": {"method": "roots/list"}})),
        run(status="failed", result=failed, error="no", finished=1001.0),
        run(**ENDED, parent="other", step="2", usage={"tokens": 4}),
        run(**ENDED, inputs={"text": "\ud800", "big": 2**70}),
    ):
        history.record(each)
        assert await history.find(each.id) == each
    assert await history.find("none") is None


async def test_what_a_run_is_now_replaces_what_it_was_until_it_has_ended(history: History) -> None:
    begun = run()
    await history.commit(begun)
    history.record(begun.model_copy(update={"status": "waiting"}))
    history.record(begun.model_copy(update=ENDED))
    history.record(begun.model_copy(update={"status": "running"}))
    found = await history.find(begun.id)
    assert found is not None
    assert (found.status, found.result) == ("done", RESULT)


async def test_runs_are_listed_by_all_that_is_known_of_them(history: History) -> None:
    old, new = (run(id=f"{second * 1000:012x}{'0' * 20}", started=float(second)) for second in (1000, 2000))
    other = run(version=4, parent=old.id, status="waiting", caller=Caller(name="ada", origin="mcp"))
    for each in (old, new, other):
        history.record(each)

    async def found(**wanted: object) -> list[str]:
        return [each.id for each in (await history.listed(Filter(**wanted))).runs]  # type: ignore[arg-type]

    assert await found(version=3, caller="ada") == [new.id, old.id]
    assert await found(origin="rest", since=1000.0) == [new.id, old.id]
    assert await found(since=1000.001, until=2000.0) == []
    assert await found(since=1000.0, until=2000.0) == [old.id]
    assert await found(parent=old.id) == await found(origin="mcp") == await found(version=4) == [other.id]
    assert await found(parent=old.id, until=3000.0) == []


async def test_what_a_server_is_asked_goes_with_the_server_that_asks(shared: Path | str) -> None:
    asked, answered, others = run(), run(), run()
    async with History(shared) as owner:
        for each in (asked, answered):
            await owner.commit(each)
        mine = Errands(owner)
        async with History(shared) as asker:
            await asker.commit(others)
            errands = Errands(asker)
            wanted = [
                Errand(new_id(), asked.id),
                Errand(new_id(), answered.id, 2, {"name": {"action": "decline"}}),
            ]
            for each in (*wanted, Errand(new_id(), others.id)):
                await errands.put(each)
            assert sorted(await mine.mine(), key=wanted.index) == wanted
            assert [await mine.remove(wanted[0]) for _ in range(2)] == [True, False]
            assert [*await mine.mine()] == wanted[1:]
        await owner.recover()
        assert [*await mine.mine()] == []


async def test_a_run_that_waits_as_a_row_is_nobody_s_until_its_last_answer_and_then_one_server_s(
    shared: Path | str,
) -> None:
    wanted = {key: {"method": "roots/list"} for key in ("a", "b")}
    question = Question(number=2, requests=wanted, mark="agent.(question)@abc")
    begun = run()
    async with History(shared) as first:
        await first.commit(begun)
        await first.park(begun, question)
        first.record(begun.model_copy(update={"status": "running"}))  # it has let go
    async with History(shared) as second, History(shared) as third:
        await second.recover()
        assert second.taken.empty(), "what waits is not begun again"
        parked = await second.find(begun.id)
        assert parked is not None and parked.parked and parked.question == question
        steps, others = Steps(second), Steps(third)
        with pytest.raises(Conflict):
            await steps.answer(parked, 1, {"a": {}}, continues=True)
        assert await others.answer(parked, 2, {"a": {"roots": []}, "z": {}}, continues=True) is None
        left = await second.find(begun.id)
        assert left is not None and left.question is not None and [*left.question.requests] == ["b"]
        mine = await steps.answer(left, 2, {"b": {}}, continues=True)
        assert mine is not None and (mine.status, mine.parked, mine.question) == ("running", False, None)
        assert (await steps.line(mine)).changes == {question.mark: {"a": {"roots": []}, "b": {}}}
        with pytest.raises(Conflict):
            await others.take(left)
        third.record(mine.model_copy(update={"status": "waiting"}))
        await second.commit(mine.model_copy(update=ENDED))
        ended = await third.find(begun.id)
        assert ended is not None and ended.status == "done"


async def test_a_run_whose_id_was_given_away_is_kept_for_a_day_whatever_makes_room(
    shared: Path | str,
) -> None:
    async with History(shared, Retention(Bound(number=0, bytes=0))) as history:
        now = time.time()
        begun = run(started=now)
        await history.commit(begun)
        promised = begun.model_copy(update=ENDED | {"finished": now + 1})
        history.record(promised, promised=True)
        plain, old = run(**ENDED | {"finished": now}, started=now - 1), run(**ENDED, started=now - 90_000)
        history.record(plain)
        await history.commit(old)
        await history.commit(run(started=now))  # the newest one, which counts but goes on
        await history.trim()
        found = [await history.find(each.id) is not None for each in (promised, plain, old)]
        assert found == [True, False, False]


async def test_meta_keeps_no_inputs_and_results_and_none_keeps_only_the_count(history: History) -> None:
    meta, none = run(**ENDED, error="secret"), run(**ENDED)
    history.record(meta, "meta")
    history.record(none, "none")
    found = await history.find(meta.id)
    assert found is not None
    assert (found.inputs, found.has_inputs, found.result, found.error) == ({}, False, None, None)
    assert found.status == "done"
    assert await history.find(none.id) is None
    assert (await history.statistics("p")).whole.total == 2


async def test_runs_are_listed_page_by_page_the_newest_first(history: History) -> None:
    made = [
        run(pipeline="pq"[n % 2], status=("done", "failed")[n % 3 == 0], finished=1.0) for n in range(150)
    ]
    made = [each.model_copy(update={"id": f"{n:032x}"}) for n, each in enumerate(made)]
    for each in made:
        history.record(each)
    seen: list[str] = []
    cursor = None
    while True:
        page = await history.listed(Filter(pipeline="p", status="done"), 20, cursor)
        seen += [each.id for each in page.runs]
        assert all(each.inputs == {} for each in page.runs)
        if (cursor := page.next) is None:
            break
    assert seen == [each.id for each in reversed(made) if (each.pipeline, each.status) == ("p", "done")]
    assert (await history.listed(Filter(caller="bob"))).runs == ()


async def test_runs_of_any_number_at_once_are_all_written_with_few_different_statements(
    history: History,
) -> None:
    told: set[str] = set()

    def hear(*given: Any) -> None:
        if given[2].startswith("INSERT INTO runs"):
            told.add(given[2])

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        for number in range(1, 70):
            made = [run(**ENDED) for _ in range(number)]
            for each in made:
                history.record(each)
            page = await history.listed(Filter(), number)  # what was recorded before is written by then
            assert {each.id for each in page.runs} == {each.id for each in made}
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    assert 1 < len(told) <= 12, "each is kept prepared"


async def test_a_key_begins_one_run_only_and_gives_that_one_again(history: History) -> None:
    first, second = run(key="k"), run(key="k", inputs={"n": 1, "text": "hi"})
    assert await history.claim(first, "none") is None
    assert await history.find(second.id) is None
    history.record(first.model_copy(update=ENDED), "none")
    again = await history.claim(second)
    assert again is not None
    assert (again.id, again.result) == (first.id, RESULT)
    with pytest.raises(Conflict, match="other arguments"):
        await history.claim(run(key="k", inputs={"text": "other"}))
    assert await history.claim(run(key="k", caller=Caller(name="bob"))) is None


async def test_of_servers_that_claim_a_key_at_once_one_begins_the_run(shared: Path | str) -> None:
    got: list[Run | None] = []

    async def claim(history: History) -> None:
        for number in range(20):
            got.append(await history.claim(run(key=str(number))))

    with anyio.fail_after(BOUND):
        async with History(shared) as one, History(shared) as two, anyio.create_task_group() as tasks:
            tasks.start_soon(claim, one)
            tasks.start_soon(claim, two)
    assert len([each for each in got if each is None]) == 20
    assert len({each.id for each in got if each}) == 20


async def test_statistics_count_calls_of_each_day_and_know_their_percentiles(history: History) -> None:
    noon = datetime(2026, 5, 4, 12, tzinfo=UTC).timestamp()
    for day, seconds in [(0, n / 100) for n in range(1, 101)] + [(1, 5.0)] * 10:
        begun = noon + day * 86400
        status = "failed" if day else "done"
        history.record(run(started=begun, finished=begun + seconds, status=status, result=RESULT))
    history.record(run(status="cancelled", finished=noon))
    history.record(run(pipeline="q", status="done", finished=noon))
    figures = await history.statistics("p")
    assert (figures.whole.total, figures.whole.failed) == (110, 10)
    assert [day.isoformat() for day in figures.days] == ["2026-05-05", "2026-05-04"]
    first, last = figures.days.values()
    assert (first.total, first.failed, first.mean) == (10, 10, pytest.approx(5.0))
    assert (last.mean, last.p50, last.p95) == (
        pytest.approx(0.505),
        pytest.approx(0.5, rel=0.15),
        pytest.approx(0.95, rel=0.15),
    )
    assert (await history.statistics("none")).whole.p50 is None


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        (Bound(number=3), 3),
        (Bound(days=2.5), 2),
        (Bound(bytes=4 * 69), 4),
        (Bound(), 10),
        (Bound(number=0), 0),
    ],
)
async def test_what_is_too_much_goes_the_oldest_first(place: Place, kept: Bound, left: int) -> None:
    now = time.time()
    with anyio.fail_after(BOUND):
        async with History(place, Retention(kept)) as history:
            made = [
                run(**ENDED, id=f"{int((now - days * 86400) * 1000):012x}{new_id()[12:]}")
                for days in range(10, 0, -1)
            ]
            for each in made:
                history.record(each)
            await history.trim()
            found = (await history.listed(Filter())).runs
            assert [each.id for each in found] == [each.id for each in reversed(made[10 - left :])]
            assert (await history.statistics("p")).whole.total == 10


async def test_what_goes_on_and_what_others_were_made_from_stays(place: Place) -> None:
    with anyio.fail_after(BOUND):
        async with History(place, Retention(Bound(number=1))) as history:
            going, parent = run(id="1"), run(**ENDED, id="2")
            alone, child = run(**ENDED, id="3"), run(**ENDED, id="4", parent=parent.id)
            for each in (going, parent, alone, child):
                history.record(each)
            await history.trim()
            left = {each.id for each in (await history.listed(Filter())).runs}
            assert left == {going.id, parent.id, child.id}
            assert [each.id for each in await history.children(parent.id)] == [child.id]


async def test_artifacts_are_kept_and_the_large_ones_of_a_file_are_files(place: Place) -> None:
    small = Artifact(name="a b.txt", mime_type="text/plain", content=b"small")
    large = Artifact(name="large", mime_type="image/png", content=b"x" * 300_000)
    result = RESULT.model_copy(update={"artifacts": (small, large)})
    with anyio.fail_after(BOUND):
        async with History(place) as history:
            made = run(status="done", result=result, finished=1.0)
            history.record(made)
            await history.commit(run(status="done", result=result, finished=1.0))
            for artifact in (small, large):
                assert await history.artifact(made.id, artifact.name) == artifact
            assert await history.artifact(made.id, "none") is None
            if isinstance(place, Path):
                assert [file.stat().st_size for file in (place.parent / "artifacts").iterdir()] == [300_000]


async def test_files_of_artifacts_go_with_their_last_run(path: Path) -> None:
    artifact = Artifact(name="a", mime_type="image/png", content=b"x" * 300_000)
    result = RESULT.model_copy(update={"artifacts": (artifact,)})
    with anyio.fail_after(BOUND):
        async with History(path, Retention(Bound(number=0))) as history:
            await history.commit(run(status="done", result=result, finished=1.0))
            (file,) = (path.parent / "artifacts").iterdir()
            await history.sweep()
            assert file.exists()
            await history.trim()
            await history.sweep()
            assert file.exists()  # it may be that of a run that is just being recorded
            age(file)
            await history.sweep()
            assert not file.exists()


def age(file: Path) -> None:
    """Make a file look two hours old."""

    os.utime(file, (time.time() - 7200,) * 2)


async def test_a_run_that_cannot_be_written_fails_by_itself(shared: Path | str) -> None:
    with anyio.fail_after(BOUND):
        async with History(shared) as history:
            good, bad = [run(**ENDED) for _ in range(5)], run(**ENDED, timeout=1.0)
            bad = bad.model_copy(update={"version": 2**70})
            for each in (*good[:3], bad, *good[3:]):
                history.record(each)
            assert len((await history.listed(Filter())).runs) == 5
            assert history.lost == 1
            assert history.fault is None
            with pytest.raises(Unavailable, match="cannot be written"):
                await history.commit(bad)


SERVER = """
import sys
import tempfile
import anyio
from pathlib import Path
from mcp_server.models import Run
from mcp_server.store.history import History

async def main():
    place = sys.argv[1]
    async with History(place if "://" in place else Path(place)) as history:
        for identity in sys.argv[2:]:
            await history.commit(
                Run(id=identity, pipeline="p", version=1, digest="d", inputs={}, timeout=1.0)
            )
        print("committed", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""
"""A server that began runs and does not end them."""


async def test_runs_of_a_killed_server_are_interrupted_and_those_of_a_live_one_are_not(path: Path) -> None:
    gone, live = new_id(), new_id()
    with anyio.fail_after(BOUND):
        first = await create_subprocess_exec(sys.executable, "-c", SERVER, str(path), gone, stdout=PIPE)
        second = await create_subprocess_exec(sys.executable, "-c", SERVER, str(path), live, stdout=PIPE)
        try:
            for process in (first, second):
                assert process.stdout is not None
                assert await process.stdout.readline() == b"committed\n"
            first.send_signal(signal.SIGKILL)
            await first.wait()
            async with History(path) as history:
                lost, kept = await history.find(gone), await history.find(live)
                assert lost is not None and kept is not None
                assert (lost.status, lost.error) == ("failed", "interrupted")
                assert (kept.status, kept.error) == ("running", None)
                second.send_signal(signal.SIGKILL)
                await second.wait()
                await history.recover()
                lost = await history.find(live)
                assert lost is not None and lost.error == "interrupted"
                assert (await history.statistics("p")).whole.failed == 2
                assert len([*(path.parent / "instances").iterdir()]) == 1
        finally:
            for process in (first, second):
                if process.returncode is None:
                    process.kill()
                    await process.wait()


async def test_who_was_given_up_can_no_longer_write(cluster: object) -> None:
    url: str = cluster.database()  # type: ignore[attr-defined]
    begun = run()
    with anyio.fail_after(BOUND):
        async with History(url) as paused, History(url) as other:
            await paused.commit(begun)
            await other.recover()
            assert (await other.find(begun.id)) == begun
            engine = create_engine(url)
            with engine.begin() as connection:
                connection.execute(
                    text("UPDATE instances SET lease = 1 WHERE id = :id"), {"id": paused.instance}
                )
            engine.dispose()
            await other.recover()
            await paused.commit(begun.model_copy(update=ENDED))
            found = await paused.find(begun.id)
            assert found is not None
            assert (found.status, found.error) == ("failed", "interrupted")


async def test_a_place_that_cannot_be_used_is_told_and_history_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with anyio.fail_after(BOUND):
        async with History(tmp_path / "file" / "state.db") as history:
            made = run(**ENDED)
            history.record(made)
            assert await history.find(made.id) == made
            assert history.fault is not None
            assert str(tmp_path) not in history.fault
            with pytest.raises(Unavailable, match="Nothing can be saved"):
                await history.commit(made)


FULL = """
import resource, signal, sys
from pathlib import Path
import anyio
from mcp_server.errors import Unavailable
from mcp_server.models import Run
from mcp_server.store.changes import new_id
from mcp_server.store.history import History

def run(size=10):
    return Run(id=new_id(), pipeline="p", version=1, digest="d", inputs={"a": "x" * size}, timeout=1.0)

async def main():
    async with History(Path(sys.argv[1])) as history:
        kept = run()
        await history.commit(kept)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        history.record(run(400_000))
        try:
            await history.commit(run(400_000))
        except Unavailable as refused:
            assert sys.argv[1] not in str(refused)
        else:
            raise AssertionError("it was acknowledged")
        assert history.lost == 1  # `fault` may be over again: small writes still fit
        assert await history.find(kept.id) == kept
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await history.commit(run(400_000))
        assert history.fault is None

anyio.run(main)
"""
"""A server whose disk takes no more than 300 KB in a file."""


async def test_a_full_disk_is_counted_and_told_and_breaks_nothing(path: Path) -> None:
    pytest.importorskip("resource")
    with anyio.fail_after(BOUND):
        ended = await anyio.run_process([sys.executable, "-c", FULL, str(path)], check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stderr.decode().count("Runs are not recorded") == 1


async def test_recording_waits_for_nothing_and_what_was_recorded_is_there_at_the_end(path: Path) -> None:
    made = [run(**ENDED) for _ in range(500)]
    with anyio.fail_after(BOUND):
        async with History(path) as history:
            for each in made:
                history.record(each)
        async with History(path) as history:
            assert len((await history.listed(Filter(), 1000)).runs) == 500


async def test_what_holds_much_is_written_piece_by_piece(path: Path) -> None:
    text = b'[{"type":"text","text":"%b"}]' % (b"x" * 1_000_000)
    sizes: list[int] = []

    def hear(*given: Any) -> None:
        if given[2].startswith("INSERT INTO runs"):
            sizes.append(sum(len(each) for each in given[3] if isinstance(each, bytes | bytearray)))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        async with History(path) as history:
            for _ in range(30):
                history.record(run(**ENDED | {"result": RESULT.model_copy(update={"content": text})}))
            assert len((await history.listed(Filter(), 1000)).runs) == 30
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    assert sum(sizes) > 30_000_000
    assert max(sizes) < 10_000_000, "the driver copies what it is given"


def test_rows_have_the_columns_of_their_tables() -> None:
    assert RunRow._fields == tuple(runs.c.keys())
    assert Slot._fields == tuple(counters.c.keys())


def test_a_plain_call_leaves_the_row_that_any_run_leaves() -> None:
    given = run(**ENDED)
    row, whole = plain(given, "full", "here"), changed(given, "full", "here").row
    assert row is not None and whole is not None
    left = {name: value for name, value in whole._asdict().items() if value is not None}
    meant = {"'done'": "done", "FALSE": False}
    same = {name: meant[value] for name, value in SAME}
    assert {**dict(zip(COLUMNS, row, strict=True)), **same} == left
    count = changed(given, "full", "here").count
    assert count is not None
    assert durations([row]) == {count[:3]: [count.seconds]}
    assert [*buckets([count.seconds])] == [(count.bucket, 1, 0, count.seconds)]


def test_the_buckets_of_many_are_those_of_each() -> None:
    took = [-0.5, 0.0, *EDGES[:3], EDGES[-1], EDGES[-1] + 1, 7 * EDGES[-1], *(n / 7 for n in range(100))]
    found = {at: (many, seconds) for at, many, _, seconds in buckets(took)}
    every = Counter(map(bucket, took))
    assert {at: many for at, (many, _) in found.items()} == every
    for at, (_, seconds) in found.items():
        assert seconds == pytest.approx(max(0.0, sum(each for each in took if bucket(each) == at)))


@pytest.mark.parametrize(
    "more",
    [
        {"error": "no", "status": "failed"},
        {"usage": {"input_tokens": 1}},
        {"parent": "0"},
        {"step": "1"},
        {"key": "mine"},
        {"events": ({"time": 1},)},
        {"recorded": 7},
        {"continues": True},
        {"status": "running", "result": None},
        {"verb": "read"},
        {"result": RESULT.model_copy(update={"fault": Fault(code=1, message="no")})},
        {"result": RESULT.model_copy(update={"artifacts": (Artifact(name="a", mime_type="b"),)})},
        {"result": RESULT.model_copy(update={"partial": True})},
    ],
)
def test_what_has_more_to_say_is_no_plain_call(more: dict[str, object]) -> None:
    assert plain(run(**ENDED | more), "full", "here") is None
    assert plain(run(**ENDED), "meta", "here") is None


def test_history_is_light_to_import() -> None:
    import subprocess

    code = "import sys, mcp_server.store.history; assert 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


async def test_what_a_server_did_not_end_is_given_up_when_it_leaves(shared: Path | str) -> None:
    begun = run()
    with anyio.fail_after(BOUND):
        async with History(shared) as history, History(shared) as other:
            await history.commit(begun)
            await other.recover()
            assert await other.find(begun.id) == begun
        async with History(shared) as history:
            found = await history.find(begun.id)
            assert found is not None
            assert (found.status, found.error) == ("failed", "interrupted")


STRANGER = """
import os, sys
from pathlib import Path
import anyio
from mcp_server.store.history import History

async def main():
    async with History(None) as history:  # what it imports late may lie where nobody else may look
        await history.find("")
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    async with History(Path(sys.argv[1])) as history:
        await history.recover()
        run = await history.find(sys.argv[2])
        print(history.fault or (run and run.status))

anyio.run(main)
"""
"""A server of the user nobody."""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root has several users")
@pytest.mark.parametrize(
    ("owner", "told"), [(0, "The state folder cannot be used: permission denied."), (65534, "running")]
)
async def test_a_server_of_another_user_is_refused_or_shares_and_takes_nothing(owner: int, told: str) -> None:
    going = run(continues=True)
    with tempfile.TemporaryDirectory() as place, anyio.fail_after(60):
        Path(place).chmod(0o711)
        state = Path(place) / "state"
        path = state / "state.db"
        async with History(path) as history:
            await history.find("")
        for each in (state, *state.rglob("*")):
            os.chown(each, owner, owner)

        async def said() -> str:
            ended = await anyio.run_process([sys.executable, "-c", STRANGER, str(path), going.id])
            return ended.stdout.decode().strip()

        async with History(path) as history:
            await history.commit(going)
            assert await said() == told
            await history.commit(going.model_copy(update=ENDED))
            found = await history.find(going.id)
            assert found is not None and (found.status, found.attempt) == ("done", 1)
            assert history.fault is None
        modes = {each.name: each.stat().st_mode & 0o777 for each in state.rglob("*")}
        assert {0o600, 0o700} >= {*modes.values()}, modes
