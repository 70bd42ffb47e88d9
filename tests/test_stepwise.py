"""The life of a step-wise run, on real databases and a real engine in this process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import Connection, update

from mcp_server.catalog import Catalog
from mcp_server.engines.routing import RoutingEngine
from mcp_server.errors import Conflict, Invalid, NotFound, ServerError, Unanswered
from mcp_server.models import Caller, Response
from mcp_server.settings import Settings
from mcp_server.stepwise import Choice, Stepwise, Wish
from mcp_server.stepwise.exporting import bring, exported
from mcp_server.stepwise.moves import Stands, begun
from mcp_server.store.history import History
from mcp_server.store.retention import remove
from mcp_server.store.run_tables import runs
from mcp_server.store.tree import Execution, Kept, Tree, Walk

pytestmark = pytest.mark.anyio

LIMIT = 20.0
MONTH = 30 * 86400.0
ADA, BOB = Caller(name="ada"), Caller(name="bob")
MOCK = "haystack.components.generators.chat.mock.MockChatGenerator"
ARTICLE = f"""
inputs: {{topic: What to write about.}}
models:
  echo: {{type: {MOCK}, price: {{input: 1000000, output: 1000000}}}}
  fixed:
    type: {MOCK}
    init_parameters: {{responses: [{{role: assistant, content: [{{text: always this}}]}}]}}
steps:
  - {{name: angles, models: [echo, fixed], template: "Angles on {{topic}}"}}
  - {{name: outline, models: echo, template: "Outline of {{angles_output}}"}}
  - {{name: draft, models: echo, template: "Draft of {{outline_output}}"}}
"""


@dataclass(frozen=True)
class Site:
    """What outlasts a server: its folders and its database."""

    root: Path
    database: Path | str


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if request.param == "postgresql":
        return Site(tmp_path, request.getfixturevalue("cluster").database())
    return Site(tmp_path, tmp_path / "state" / "state.db")


@dataclass
class Opened:
    """One server's step-wise runs."""

    stepwise: Stepwise
    tree: Tree
    history: History

    async def start(self, caller: Caller = ADA) -> Walk:
        return await self.stepwise.start(caller, "article", {"topic": "tea"})

    async def step(self, run: str, **wish: Any) -> Walk:
        """Execute the current step to its end."""
        going = await self.stepwise.execute(ADA, run, Wish(**wish))
        with anyio.fail_after(LIMIT):
            await going.ended()
        return await self.find(run)

    async def select(self, run: str, *ids: str, **more: str) -> Walk:
        return await self.stepwise.select(ADA, run, Choice(ids, **more))

    async def find(self, run: str) -> Walk:
        return await self.stepwise.find(ADA, run)

    async def through(self, run: str, steps: int) -> Walk:
        """Execute and choose the first response, so many times."""
        walk = await self.find(run)
        for _ in range(steps):
            walk = await self.step(run)
            assert walk.head is not None
            walk = await self.select(run, walk.head.responses[0].id)
        return walk


@asynccontextmanager
async def opened(site: Site, article: str = ARTICLE) -> AsyncIterator[Opened]:
    """A server's parts on what outlasts it."""
    folder = site.root / "pipelines"
    folder.mkdir(exist_ok=True)
    (folder / "article.yml").write_text(article)
    settings = Settings.model_validate({"folder": folder, "state": site.root / "state", "engine": "local"})
    async with (
        History(site.database) as history,
        RoutingEngine(settings) as engine,
        Catalog(settings, engine) as catalog,
    ):
        tree = Tree(history)
        await catalog.ready(LIMIT)
        async with Stepwise(catalog, engine, settings, tree) as stepwise:
            yield Opened(stepwise, tree, history)


def texts(walk: Walk) -> dict[str, str | None]:
    assert walk.head is not None
    return {kept.id: kept.response.text for kept in walk.head.responses}


async def test_a_run_goes_step_by_step_to_its_end(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.start()
        assert (walk.status, walk.position) == ("queued", 0)
        walk = await here.step(walk.id)
        assert walk.status == "waiting"
        assert texts(walk) == {"resp-001": "Angles on tea", "resp-002": "always this"}
        walk = await here.select(walk.id, "resp-002", feedback="Be brief.")
        assert (walk.status, walk.position) == ("waiting", 1)
        walk = await here.step(walk.id)
        (outline,) = texts(walk).values()
        assert outline is not None
        assert outline.startswith("Outline of always this") and "Be brief." in outline
        await here.select(walk.id, "resp-003")
        walk = await here.through(walk.id, 1)
        assert walk.status == "done" and walk.finished is not None
        assert walk.head is not None and walk.head.output.startswith("Draft of Outline of always this")
        with pytest.raises(Conflict, match="All steps of this run are done"):
            await here.step(walk.id)


async def test_a_run_is_found_as_it_was_after_the_server_ended(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.step((await here.start()).id)
    async with opened(site) as again:
        assert await again.find(walk.id) == walk
        assert (await again.select(walk.id, "resp-001")).position == 1


async def test_a_run_belongs_to_its_caller(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.start()
        with pytest.raises(NotFound):
            await here.stepwise.find(BOB, walk.id)
        with pytest.raises(NotFound):
            await here.stepwise.execute(BOB, walk.id, Wish())


async def test_inputs_that_do_not_fit_start_nothing(site: Site) -> None:
    async with opened(site) as here:
        with pytest.raises(Invalid, match="topic"):
            await here.stepwise.start(ADA, "article", {})
        with pytest.raises(NotFound):
            await here.stepwise.start(ADA, "nothing", {})


async def test_a_step_with_responses_is_executed_again_only_on_demand(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.step((await here.start()).id)
        with pytest.raises(Conflict, match="regenerate"):
            await here.step(walk.id)
        again = await here.step(walk.id, regenerate=True, feedback="Other ones.")
        assert list(texts(again)) == ["resp-003", "resp-004"]
        assert len(again.path) == 1
        assert [each.step for each in await here.tree.history(walk.id)] == ["angles", "angles"]
        with pytest.raises(Invalid, match="resp-001 is no response"):
            await here.select(walk.id, "resp-001")


async def test_two_executions_at_once_are_refused(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.start()
        told: list[Exception] = []

        async def execute() -> None:
            try:
                await here.stepwise.execute(ADA, walk.id, Wish())
            except Conflict as error:
                told.append(error)

        async with anyio.create_task_group() as together:
            for _ in range(5):
                together.start_soon(execute)
        assert len(told) == 4
        walk = await here.select(walk.id, "resp-001")  # waits for the one that goes on
        assert walk.position == 1


async def test_a_step_out_of_turn_or_without_a_name_is_refused(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.start()
        with pytest.raises(Conflict, match="stands at the step angles"):
            await here.stepwise.execute(ADA, walk.id, Wish(step="draft"))
        with pytest.raises(Invalid, match="There is no step nothing; there are angles, outline, draft"):
            await here.stepwise.execute(ADA, walk.id, Wish(step="nothing"))
        with pytest.raises(Conflict, match="execute it first"):
            await here.select(walk.id, "resp-001")


async def test_several_responses_are_joined_or_merged_by_a_model(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.step((await here.start()).id)
        joined = await here.select(walk.id, "resp-001", "resp-002")
        assert joined.head is not None and joined.head.output == "Angles on tea\n\nalways this"
        back, _ = await here.stepwise.rewind(ADA, walk.id, "angles")
        merged = await here.select(back.id, "resp-001", "resp-002", merge="Keep both.")
        assert merged.head is not None
        assert all(part in merged.head.output for part in ("Keep both.", "Angles on tea", "always this"))
        assert await here.find(walk.id) == merged
        assert merged.head.responses[-1].id == "merged-001"


async def test_rewinding_goes_back_and_keeps_what_was(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.through((await here.start()).id, 3)
        assert walk.status == "done"
        back, later = await here.stepwise.rewind(ADA, walk.id, "angles")
        assert (back.status, back.position, later) == ("waiting", 0, ("outline", "draft"))
        assert back.finished is None
        assert list(texts(back)) == ["resp-001", "resp-002"]
        await here.select(walk.id, "resp-002")
        other = await here.step(walk.id)
        assert texts(other) == {"resp-005": "Outline of always this"}
        names = [each.step for each in await here.tree.history(walk.id)]
        assert names == ["angles", "outline", "draft", "angles", "outline"]
        with pytest.raises(Conflict, match="not passed the step draft"):
            await here.stepwise.rewind(ADA, walk.id, "draft")


async def test_a_cancelled_run_stands_still_until_it_is_rewound_or_forked(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.through((await here.start()).id, 1)
        await here.stepwise.execute(ADA, walk.id, Wish())
        gone = await here.stepwise.cancel(ADA, walk.id)
        assert gone.status == "cancelled" and gone.finished is not None
        with pytest.raises(Conflict, match="was cancelled"):
            await here.step(walk.id)
        assert (await here.stepwise.fork(ADA, walk.id, "resp-002")).position == 1
        back, _ = await here.stepwise.rewind(ADA, walk.id, "angles")
        assert (back.status, back.finished) == ("waiting", None)


async def test_a_fork_shares_the_past_and_goes_its_own_way(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.through((await here.start()).id, 2)
        fork = await here.stepwise.fork(ADA, walk.id, "resp-002", "other")
        assert (fork.parent, fork.branch, fork.position, fork.status) == (walk.id, "angles", 1, "waiting")
        assert texts(await here.step(fork.id)) == {"resp-003": "Outline of always this"}
        assert await here.find(walk.id) == walk
        same = await here.stepwise.fork(ADA, walk.id)
        assert (same.position, [each.output for each in same.path]) == (
            2,
            [each.output for each in walk.path],
        )
        with pytest.raises(NotFound):
            await here.stepwise.fork(ADA, walk.id, "resp-099")


async def test_a_fork_with_a_key_is_made_once(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.through((await here.start()).id, 1)
        fork = await here.stepwise.fork(ADA, walk.id, "resp-002", "other", key="f")
        moved = await here.step(fork.id)
        assert await here.stepwise.fork(ADA, walk.id, "resp-002", "other", key="f") == moved
        with pytest.raises(Conflict, match="idempotency key"):
            await here.stepwise.fork(ADA, walk.id, "resp-001", "other", key="f")


async def test_of_many_executions_at_once_one_is_made_and_the_others_hear_how_the_run_stands(
    site: Site,
) -> None:
    async with opened(site) as here:
        walk = await here.start()
        refused: list[Stands] = []

        async def execute() -> None:
            try:
                await here.stepwise.execute(ADA, walk.id, Wish())
            except Stands as stands:
                refused.append(stands)

        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(execute)
        assert len(refused) == 4
        for each in refused:  # what it says is how the run stood then, be the step still going on or not
            goes_on = "already being executed" in str(each)
            assert goes_on == (each.walk.status == "running") and goes_on != ("has responses" in str(each))


async def test_a_model_that_is_not_declared_is_refused_and_changes_nothing(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.start()
        with pytest.raises(Invalid, match="no model other; there are echo, fixed"):
            await here.stepwise.execute(ADA, walk.id, Wish(models=("echo", "other")))
        assert await here.find(walk.id) == walk
        assert texts(await here.step(walk.id, models=("fixed",))) == {"resp-001": "always this"}


async def test_a_change_decided_upon_an_older_state_is_refused(site: Site) -> None:
    async with opened(site) as here:
        old = await here.start()
        await here.step(old.id)
        with pytest.raises(Conflict, match="changed meanwhile"):
            await here.tree.change(old)


async def test_a_write_of_an_attempt_that_lost_its_claim_is_refused(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.step((await here.start()).id)
        assert walk.head is not None
        late = Kept(
            "resp-009", Response(index=0, asked="echo", model="echo", prompt="", text="", seconds=0), 0.0
        )
        with pytest.raises(Conflict, match="another attempt"):
            await here.tree.put(walk.head, late)
        with pytest.raises(Conflict, match="another attempt"):
            await here.tree.end(walk.head, "failed")
        assert await here.find(walk.id) == walk


async def test_a_step_that_was_interrupted_is_continued_with_what_is_missing(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.start()
        stuck = await here.tree.change(begun_by(walk, "a server that is gone"))
        assert stuck.head is not None
        first = Response(index=0, asked="echo", model="echo", prompt="", text="said before", seconds=1)
        await here.tree.put(stuck.head, Kept("resp-001", first, 1.0))
        await here.stepwise.recover()
        going = here.stepwise.going(walk.id)
        assert going is not None
        with anyio.fail_after(LIMIT):
            await going.ended()
        found = await here.find(walk.id)
        assert found.status == "waiting"
        assert texts(found) == {"resp-001": "said before", "resp-002": "always this"}


def begun_by(walk: Walk, instance: str) -> Walk:
    """The run with its first step begun by another server."""
    plan = [{"name": name, "models": ["echo", "fixed"]} for name in ("angles", "outline", "draft")]
    return begun(walk, plan, Wish(), instance, 1)


async def test_the_stream_of_a_step_can_be_followed_from_its_beginning_after_its_end(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.step((await here.start()).id)
        going = here.stepwise.going(walk.id)
        assert going is not None
        pieces = [(said.index, said.text) async for said in going.follow()]
        assert "".join(text for index, text in pieces if index == 0) == "Angles on tea"
        assert "".join(text for index, text in pieces if index == 1) == "always this"
        assert len(pieces) == 5


UNREACHABLE = """
models:
  echo: {type: haystack.components.generators.chat.mock.MockChatGenerator}
  real:
    type: haystack.components.generators.chat.openai.OpenAIChatGenerator
    init_parameters:
      api_key: {type: env_var, env_vars: [OPENAI_API_KEY], strict: true}
      api_base_url: http://127.0.0.1:9/v1
      max_retries: 0
retries: 0
inputs: {topic: ""}
steps:
  - {name: only, models: real, template: "{topic}"}
"""


async def test_a_step_whose_models_all_fail_can_be_executed_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    async with opened(site, UNREACHABLE) as here:
        walk = await here.start()
        failed = await here.step(walk.id)
        assert failed.status == "failed"
        assert failed.error is not None and failed.error.startswith("real: APIConnectionError")
        with pytest.raises(Conflict, match="no responses yet"):
            await here.select(walk.id, "resp-001")
        again = await here.step(walk.id, models=("echo",))
        assert (again.status, texts(again)) == ("waiting", {"resp-002": "tea"})


async def test_a_merge_that_no_model_answers_changes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    article = UNREACHABLE.replace("models: real", "models: [echo, other]").replace(
        "  real:", "  other: {type: haystack.components.generators.chat.mock.MockChatGenerator}\n  real:"
    )
    async with opened(site, article + "merge: real\n") as here:
        walk = await here.step((await here.start()).id)
        with pytest.raises(Unanswered, match="could not be merged: real: APIConnectionError"):
            await here.select(walk.id, "resp-001", "resp-002", merge="Keep both.")
        assert await here.find(walk.id) == walk


async def test_a_run_goes_on_with_the_version_it_began_with(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.through((await here.start()).id, 1)
    renamed = ARTICLE.replace("name: angles", "name: ideas").replace("angles_output", "ideas_output")
    async with opened(site, renamed) as again:
        assert texts(await again.step(walk.id)) == {"resp-003": "Outline of Angles on tea"}
        new = await again.step((await again.start()).id)
        assert [each.step for each in new.path] == ["ideas"]


async def test_an_exported_run_is_imported_as_it_was_and_goes_on(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.through((await here.start()).id, 1)
        walk, _ = await here.stepwise.rewind(ADA, walk.id, "angles")
        walk = await here.select(walk.id, "resp-001", "resp-002", merge="Keep both.", feedback="Be brief.")
        walk = await here.step(walk.id)
        text = exported(walk, await here.tree.history(walk.id))
        copy = await bring(here.stepwise, BOB, text.encode())
        assert (copy.caller, copy.status, copy.position) == ("bob", walk.status, walk.position)
        assert copy.id != walk.id
        assert [like(each) for each in copy.path] == [like(each) for each in walk.path]
        done = await here.stepwise.select(BOB, copy.id, Choice(("resp-003",)))
        assert done.position == 2


def like(execution: Execution) -> tuple[Any, ...]:
    """What an export keeps of an execution."""
    said = [(kept.id, kept.response) for kept in execution.responses]
    return execution.step, execution.selected, execution.feedback, execution.merge, execution.output, said


async def test_a_done_run_is_imported_as_done(site: Site) -> None:
    async with opened(site) as here:
        walk = await here.through((await here.start()).id, 3)
        copy = await bring(here.stepwise, ADA, exported(walk, walk.path).encode())
        assert copy.status == "done" and copy.head is not None and walk.head is not None
        assert copy.head.output == walk.head.output
        again = await bring(here.stepwise, ADA, exported(walk, walk.path, with_history=False).encode())
        assert (again.status, again.position) == ("queued", 0), "without history only the inputs are left"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("configuration: article", "configuration: nothing", "no pipeline named nothing"),
        ("  angles:\n", "  ideas:\n", "were changed"),
        ("user_selection: 0", "user_selection: 7", "none of its responses"),
        ("inputs:\n    topic: tea", "inputs: {}", "topic"),
        ("metadata:", "other:", "no export of a step-wise run: metadata"),
        ("id: resp-001", "id: x", "no export of a step-wise run: pipeline_history.angles.responses.0.id"),
    ],
)
async def test_a_text_that_is_no_export_makes_no_run(site: Site, old: str, new: str, told: str) -> None:
    async with opened(site) as here:
        walk = await here.through((await here.start()).id, 1)
        text = exported(walk, walk.path)
        assert old in text
        with pytest.raises(ServerError, match=told):
            await bring(here.stepwise, ADA, text.replace(old, new, 1).encode())


async def test_a_run_that_nobody_moves_any_more_goes_as_old_ones_do(site: Site) -> None:
    async with opened(site) as server:
        walks = [await server.start() for _ in range(3)]
        forgotten, moved, young = (walk.id for walk in walks)
        await server.step(moved)

        def age(connection: Connection) -> None:
            for run in (forgotten, moved):
                connection.execute(
                    update(runs).where(runs.c.id == run).values(started=time.time() - 2 * MONTH)
                )

        await server.history.change(age)
        for days, left in ((90, {forgotten, moved, young}), (30, {moved, young})):
            journal = server.history
            newest = young + "f"
            while await journal.change(lambda connection: remove(connection, "runs", newest, days)):  # noqa: B023
                pass
            assert {walk for walk in (forgotten, moved, young) if await journal.find(walk)} == left
