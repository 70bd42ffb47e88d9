"""Servers on SQLite and on PostgreSQL do what a simple model does, whenever they are stopped or killed."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as play

from .lives import LIMIT, RUN, Life, Lives, Refused
from .model import STEPS, Model, No, Walk
from .picture import ARTICLE, adder, called, settled

T = TypeVar("T")
SLEEPER = """import asyncio
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    async def run_api_async(self) -> int:
        await asyncio.sleep(3600)
        return 0
"""
NAMES = some.sampled_from(["a", "b"])
ADDS = some.integers(1, 3)
NUMBERS = some.integers(1, 4)
STAGES = some.sampled_from(["production", "staging", "archived", "none"])
SEEDS = some.integers(0, 10**6)
MANY, FEW = (35, 10, 100), (1, 6, 50)
"""Plays, games of each and moves of each, in the long and in the short form. A play has a seed of its own."""
REST = 8
"""Moves between two ends of a server."""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_server_does_what_the_model_does(
    lives: Lives, tmp_path: Path, request: pytest.FixtureRequest, kind: str, long: bool
) -> None:
    cluster = request.getfixturevalue("cluster") if kind == "postgresql" else None
    folder = tmp_path / "pipelines"
    (folder / "sleeper").mkdir(parents=True)
    (folder / "sleeper" / "pipeline_wrapper.py").write_text(SLEEPER)
    (folder / "article.yml").write_text(ARTICLE)
    moves: Counter[str] = Counter()

    def begin() -> Game:
        state = Path(tempfile.mkdtemp(dir=tmp_path))
        return Game(lives, folder, state, cluster.database() if cluster else None, moves)

    plays, games, steps = MANY if long else FEW
    try:
        for number in range(plays):
            play(
                seed(number)(begin),
                settings=settings(
                    max_examples=games,
                    stateful_step_count=steps,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    report_multiple_bugs=False,
                    suppress_health_check=list(HealthCheck),
                ),
            )
    finally:
        print(f"{kind}: {moves.total()} moves: {dict(moves)}")


class Game(RuleBasedStateMachine):
    """One state, and the servers that serve it one after the other."""

    def __init__(
        self, lives: Lives, folder: Path, state: Path, database: str | None, moves: Counter[str]
    ) -> None:
        super().__init__()
        self.lives, self.folder, self.state, self.database, self.moves = lives, folder, state, database, moves
        self.model = Model()
        self.age = 0
        self.earlier: dict[str, tuple[Any, ...]] = {}
        """Plain calls that an earlier server recorded."""

    @initialize()
    def start(self) -> None:
        self.life = self.begin()
        for adds in (1, 2):
            self.deploy("a", adds, overwrite=True)

    @invariant()
    def the_catalog_is_the_same(self) -> None:
        details = {each["name"]: each for each in settled(self.life)}
        for name, known in self.model.pipelines.items():
            if not known.versions:
                assert name not in details
                continue
            shown = details[name]
            assert shown["status"] == ("undeployed" if known.undeployed else "running")
            if not known.undeployed:
                assert shown["version"] == str(known.production)

    @rule(name=NAMES, adds=ADDS, overwrite=some.booleans())
    def deploy(self, name: str, adds: int, overwrite: bool) -> None:
        self.both(
            lambda: self.model.pipeline(name).deploy(adds, overwrite),
            lambda: self.tool("deploy_pipeline", name=name, files=adder(adds), overwrite=overwrite),
        )
        self.versions_are_the_same(name)

    @rule(name=NAMES)
    def deploy_again(self, name: str) -> None:
        self.both(
            lambda: self.model.pipeline(name).deploy(None, overwrite=False),
            lambda: self.tool("deploy_pipeline", name=name, files={}),
        )

    @rule(name=NAMES)
    def undeploy(self, name: str) -> None:
        self.both(
            lambda: self.model.pipeline(name).undeploy(),
            lambda: self.tool("undeploy_pipeline", pipeline_name=name),
        )

    @rule(name=NAMES, number=NUMBERS)
    def delete_version(self, name: str, number: int) -> None:
        self.both(
            lambda: self.model.pipeline(name).delete(number),
            lambda: self.tool("delete_version", name=name, version=str(number)),
        )
        self.versions_are_the_same(name)

    @rule(
        name=NAMES,
        number=NUMBERS,
        stage=STAGES,
        archive=some.booleans(),
        share=some.sampled_from([None, None, 0, 1]),
    )
    def set_stage(self, name: str, number: int, stage: str, archive: bool, share: float | None) -> None:
        more = {} if share is None else {"share": share}
        self.both(
            lambda: self.model.pipeline(name).set_stage(number, stage, archive, share),
            lambda: self.tool(
                "set_stage", name=name, version=str(number), stage=stage, archive_existing=archive, **more
            ),
        )
        self.versions_are_the_same(name)

    @rule(name=NAMES, number=SEEDS)
    def call(self, name: str, number: int) -> None:
        self.called(name, number, None, None)

    @rule(name=NAMES, number=SEEDS, version=NUMBERS)
    def call_a_version(self, name: str, number: int, version: int) -> None:
        self.called(name, number, version, None)

    @rule(name=NAMES, number=SEEDS, stage=some.sampled_from(["production", "staging"]))
    def call_a_stage(self, name: str, number: int, stage: str) -> None:
        self.called(name, number, None, stage)

    @rule(name=NAMES, number=some.integers(0, 1), key=some.sampled_from(["first", "second"]))
    def call_with_a_key(self, name: str, number: int, key: str) -> None:
        def promised() -> tuple[str, ...]:
            version = self.model.pipeline(name).called(None, None)
            if key not in self.model.keys:
                return self.model.result(name, number, version)
            asked, given, run = self.model.keys[key]
            if (asked, given) != (name, number):
                raise No
            return self.model.runs[run]

        arguments = {"name": name, "arguments": {"number": number}}
        expected, result = self.both(
            promised, lambda: self.life.called("run_pipeline", arguments, key=f"{key} of all")
        )
        if result is not None:
            run = result["_meta"][RUN]["id"]
            assert result["structuredContent"] == expected[3]
            assert self.model.keys.setdefault(key, (name, number, run)) == (name, number, run)
            self.remember(run, expected, number)

    @rule(name=NAMES, number=SEEDS)
    def start_run(self, name: str, number: int) -> None:
        expected, begun = self.both(
            lambda: self.model.result(name, number, self.model.pipeline(name).called(None, None)),
            lambda: self.tool("start_run", name=name, arguments={"number": number}),
        )
        if begun is not None:
            self.remember(begun["run_id"], expected, number)
            self.ends(begun["run_id"])

    @rule()
    def start_a_long_run(self) -> None:
        begun = self.tool("start_run", name="sleeper")
        self.remember(begun["run_id"], ("sleeper", "1", "running", None, None), None)

    @precondition(lambda self: self.model.runs)
    @rule(seed=SEEDS)
    def run_again(self, seed: int) -> None:
        run = self.pick(self.model.runs, seed)
        name, number = self.model.runs[run][0], self.model.inputs[run]

        def promised() -> tuple[Any, ...]:
            if name == "sleeper" or number is None:
                return ("sleeper", "1", "running", None, None)
            return self.model.result(name, number, self.model.pipeline(name).called(None, None))

        expected, begun = self.both(promised, lambda: self.tool("rerun", run_id=run))
        if begun is not None:
            assert begun["parent_run_id"] == run
            self.remember(begun["run_id"], expected, number)
            self.ends(begun["run_id"])

    @precondition(lambda self: self.model.runs)
    @rule(seed=SEEDS)
    def cancel_run(self, seed: int) -> None:
        run = self.pick(self.model.runs, seed)
        known = self.model.runs[run]
        if known[2] == "running":
            known = (*known[:2], "cancelled", None, None)
        assert self.tool("cancel_run", run_id=run)["status"] == known[2]
        self.model.runs[run] = known

    @rule()
    def start_steps(self) -> None:
        body = {"pipeline_path": "article", "user_inputs": {"topic": "tea"}}
        answer = self.life.http.post("/pipeline/start", json=body)
        assert answer.is_success, answer.text
        self.model.walks[answer.json()["pipeline_run_id"]] = Walk()
        self.age += 1
        self.moves["start_steps"] += 1

    @precondition(lambda self: self.model.walks)
    @rule(seed=SEEDS, regenerate=some.booleans())
    def execute_step(self, seed: int, regenerate: bool) -> None:
        run = self.pick(self.model.walks, seed)
        passed, shown = self.both(
            lambda: self.model.walks[run].execute(regenerate),
            lambda: self.tool("execute_step", run_id=run, regenerate=regenerate),
        )
        if passed is not None:
            texts = {each["response_id"]: each["text"] for each in shown["responses"]}
            assert texts == {f"resp-{passed.first + place:03d}": passed.texts[place] for place in (0, 1)}

    @precondition(lambda self: self.model.walks)
    @rule(seed=SEEDS, number=some.integers(0, 2))
    def select(self, seed: int, number: int) -> None:
        run = self.pick(self.model.walks, seed)
        walk = self.model.walks[run]
        first = walk.path[-1].first if walk.path else 1
        self.both(
            lambda: walk.select(first + number),
            lambda: self.tool("select_response", run_id=run, response_ids=[f"resp-{first + number:03d}"]),
        )

    @precondition(lambda self: self.model.walks)
    @rule(seed=SEEDS, step=some.integers(0, 1))
    def rewind(self, seed: int, step: int) -> None:
        run = self.pick(self.model.walks, seed)
        self.both(
            lambda: self.model.walks[run].rewind(step),
            lambda: self.tool("rewind_run", run_id=run, target_step=STEPS[step]),
        )

    @precondition(lambda self: self.model.walks)
    @rule(seed=SEEDS)
    def fork(self, seed: int) -> None:
        run = self.pick(self.model.walks, seed)
        forked = self.tool("fork_run", run_id=run)
        self.model.walks[forked["run_id"]] = self.model.walks[run].fork()

    @precondition(lambda self: self.model.walks)
    @rule(seed=SEEDS)
    def cancel_steps(self, seed: int) -> None:
        run = self.pick(self.model.walks, seed)
        self.both(self.model.walks[run].cancel, lambda: self.tool("cancel_run", run_id=run))

    @precondition(lambda self: self.age >= REST)
    @rule()
    def stop(self) -> None:
        self.moves["stop"] += 1
        self.life.stop()
        self.again(killed=False)

    @precondition(lambda self: self.age >= REST)
    @rule()
    def kill(self) -> None:
        self.moves["kill"] += 1
        self.life.kill()
        if self.database:
            expire(self.database)
        self.again(killed=True)

    def teardown(self) -> None:
        if hasattr(self, "life"):
            self.life.kill()

    def begin(self) -> Life:
        flags = ["--drain-timeout", "0", *(["--store", self.database] if self.database else [])]
        life = self.lives.begin(self.folder, self.state, *flags)
        settled(life)
        return life

    def again(self, *, killed: bool) -> None:
        """The next server; it has everything."""
        self.age = 0
        self.life = self.begin()
        self.model.interrupt()
        listed = {each["run_id"] for each in self.life.tool("list_runs", limit=200)["runs"]}
        plain = self.model.doubtful if not killed else self.model.doubtful.keys() & listed
        self.earlier |= {run: self.model.doubtful[run] for run in plain}
        self.model.doubtful.clear()
        assert listed == self.model.runs.keys() | self.model.walks.keys() | self.earlier.keys()
        for name in self.model.pipelines:
            self.versions_are_the_same(name)
        for run, known in (self.model.runs | self.earlier).items():
            assert called(self.life, run) == known
        for run, walk in self.model.walks.items():
            shown = self.life.http.get(f"/pipeline/{run}/status").json()
            assert (shown["status"], shown["current_step"], shown["completed_steps"]) == walk.shown()

    def called(self, name: str, number: int, version: int | None, stage: str | None) -> None:
        """Call what is asked for; both give the same, of the same version."""
        which = ({"version": str(version)} if version else {}) | ({"stage": stage} if stage else {})
        arguments = {"name": name, "arguments": {"number": number}, **which}
        expected, result = self.both(
            lambda: self.model.result(name, number, self.model.pipeline(name).called(version, stage)),
            lambda: self.life.called("run_pipeline", arguments),
        )
        if result is not None:
            run = result["_meta"][RUN]
            assert (result["structuredContent"], str(run["version"])) == (expected[3], expected[1])
            self.model.doubtful[run["id"]] = expected

    def versions_are_the_same(self, name: str) -> None:
        known = self.model.pipeline(name)
        if known.versions:
            listed = self.life.tool("list_versions", name=name)["versions"]
            shown = {int(each["version"]): (each["stage"], each.get("share")) for each in listed}
            assert shown == known.shown()

    def remember(self, run: str, expected: tuple[Any, ...], number: int | None) -> None:
        """A run that a client knows."""
        assert self.model.runs.get(run, expected) == expected
        self.model.runs[run] = expected
        self.model.inputs[run] = number

    def ends(self, run: str) -> None:
        """A detached run ends as the model says; one that goes on for long goes on."""
        until = time.monotonic() + LIMIT
        while (shown := called(self.life, run)) != self.model.runs[run]:
            assert shown[2] == "running" and time.monotonic() < until, shown
            time.sleep(0.005)

    def both(self, model: Callable[[], Any], real: Callable[[], Any]) -> tuple[Any, Any]:
        """What both give; (None, None) if both refuse."""
        self.age += 1
        self.moves[real.__code__.co_qualname.split(".")[1]] += 1
        try:
            promised = model()
        except No:
            with pytest.raises(Refused):
                real()
            return None, None
        return promised, real()

    def tool(self, name: str, /, **arguments: Any) -> Any:
        return self.life.tool(name, **arguments)

    def pick(self, known: dict[str, Any], seed: int) -> str:
        """One of them, the latest with the highest probability."""
        names = list(known)
        return names[-1 - seed % min(len(names), 5)]


def expire(database: str) -> None:
    """The lease of the server that was killed runs out."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("UPDATE instances SET lease = 0")
