"""A server killed at a system call of a change: that is wholly there or not at all, what was before stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from .lives import Life, Lives
from .picture import ARTICLE, adder, answers, check_sound, finished, picture, settled
from .tracing import Forbidden, Trace

Verb = Callable[[Life, "Site"], Any]
Begin = Callable[..., Life]
INTERRUPTED = ("failed", None, "interrupted")
"""Status, result and error of a run whose server died."""


@dataclass(frozen=True)
class Site:
    """A state with a past: what a server that ended left behind."""

    folder: Path
    state: Path
    steps: tuple[str, str, str]
    """Step-wise runs: one that was started, one that waits for a choice, one that chose."""
    runs: frozenset[str]

    def copy(self, to: Path) -> Path:
        """The state, for one more server."""
        return Path(shutil.copytree(self.state, to))


VERBS: dict[str, Verb] = {
    "deploy": lambda life, site: life.tool("deploy_pipeline", name="fresh", files=adder(7)),
    "replace": lambda life, site: life.tool("deploy_pipeline", name="adder", files=adder(3), overwrite=True),
    "undeploy": lambda life, site: life.tool("undeploy_pipeline", pipeline_name="adder"),
    "set_stage": lambda life, site: life.tool(
        "set_stage", name="adder", version="1", stage="production", archive_existing=True
    ),
    "start_run": lambda life, site: life.tool("start_run", name="adder", arguments={"number": 1}),
    "finish_run": lambda life, site: (
        life.tool("start_run", name="adder", arguments={"number": 1}),
        finished(life),
    ),
    "execute_step": lambda life, site: life.tool("execute_step", run_id=site.steps[0]),
    "select": lambda life, site: life.tool(
        "select_response", run_id=site.steps[1], response_ids=["resp-002"], user_feedback="shorter"
    ),
    "rewind": lambda life, site: life.tool("rewind_run", run_id=site.steps[2], target_step="angles"),
    "fork": lambda life, site: life.tool("fork_run", run_id=site.steps[2], branch_name="other"),
}
POINTS = (100, 1100)
"""Points of the short form and of the long one, for all verbs together."""


@pytest.fixture(scope="module")
def site(lives: Lives, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("past")
    folder, state = root / "pipelines", root / "state"
    folder.mkdir()
    (folder / "article.yml").write_text(ARTICLE)
    life = lives.begin(folder, state)
    for adds in (1, 2):
        life.tool("deploy_pipeline", name="adder", files=adder(adds), overwrite=True)
    life.tool("set_stage", name="adder", version="1", stage="staging", share=0)
    life.tool("deploy_pipeline", name="rested", files=adder(5))
    life.tool("undeploy_pipeline", pipeline_name="rested")
    began = life.tool("start_run", name="adder", arguments={"number": 5})["run_id"]
    steps = tuple(walk(life, moves) for moves in (0, 1, 2))
    life.stop()
    yield Site(folder, state, steps, frozenset((began, *steps)))


def walk(life: Life, moves: int) -> str:
    """A step-wise run that made so many moves."""
    body = {"pipeline_path": "article", "user_inputs": {"topic": "tea"}}
    answer = life.http.post("/pipeline/start", json=body)
    assert answer.is_success, answer.text
    run = answer.json()["pipeline_run_id"]
    if moves > 0:
        life.tool("execute_step", run_id=run)
    if moves > 1:
        life.tool("select_response", run_id=run, response_ids=["resp-001"], user_feedback="good")
    return run


@dataclass(frozen=True)
class Sides:
    """How all stands before and after a verb, what the pipelines answer then, and its number of calls."""

    before: Any
    after: Any
    answers: tuple[Any, Any]
    calls: int


def sides(lives: Lives, begin: Begin, site: Site, verb: str, root: Path) -> Sides:
    """Do it once, undisturbed."""
    state = site.copy(root / "dry")
    life = begin(site.folder, state)
    before = picture(life, site.runs)
    with Trace(life.pid) as trace:
        VERBS[verb](life, site)
        calls = trace.calls
        after = picture(life, site.runs)
        life.kill()
    life = lives.begin(site.folder, state)
    assert before != picture(life, site.runs) == after
    then = answers(life)
    life.kill()
    life = lives.begin(site.folder, site.copy(root / "still"))
    now = answers(life)
    life.kill()
    return Sides(before, after, (now, then), calls)


@pytest.mark.parametrize("verb", VERBS)
def test_a_change_is_done_or_not_at_whatever_call_the_server_is_killed(
    lives: Lives, site: Site, tmp_path: Path, verb: str, long: bool
) -> None:
    kill_at_points(lives, lives.begin, site, verb, tmp_path, POINTS[long] // len(VERBS))


@pytest.mark.parametrize("verb", ["deploy", *(pytest.param(verb, marks=pytest.mark.long) for verb in VERBS)])
def test_it_is_the_same_with_the_program_as_users_start_it(
    lives: Lives, site: Site, tmp_path: Path, verb: str, long: bool
) -> None:
    kill_at_points(lives, lives.start, site, verb, tmp_path, 5 if long else 3)


def kill_at_points(lives: Lives, begin: Begin, site: Site, verb: str, root: Path, number: int | None) -> None:
    """Kill one server after the other, each at another call; at all of them, or at so many."""
    try:
        known = sides(lives, begin, site, verb, root)
    except Forbidden:
        pytest.skip("NOT TESTED: no process may be traced here")
    number = min(number, known.calls)
    chosen = [1 + place * (known.calls - 1) // (number - 1) for place in range(number)]
    done = 0
    for turn, point in enumerate(chosen):
        state = site.copy(root / str(point))
        acknowledged = killed_at(begin, site, verb, state, point)
        done += checked(lives, site, verb, state, known, acknowledged, again=turn % 2 == 0)
        shutil.rmtree(state)
    print(f"{verb}: {len(chosen)} of {known.calls} calls, {done} times it was done")


def killed_at(begin: Begin, site: Site, verb: str, state: Path, point: int) -> bool:
    """Kill a server before that call of the verb; true if it was acknowledged before."""
    life = begin(site.folder, state)
    settled(life)
    with Trace(life.pid, point):
        try:
            VERBS[verb](life, site)
            return True
        except httpx.TransportError:
            return False
        finally:
            life.kill()


def checked(
    lives: Lives, site: Site, verb: str, state: Path, known: Sides, acknowledged: bool, *, again: bool
) -> bool:
    """Look at what the next server serves; true if the change was done. Perhaps do it `again` if not."""
    check_sound(state)
    life = lives.begin(site.folder, state)
    now = picture(life, site.runs)
    done = now != known.before
    assert done or not acknowledged, "acknowledged and lost"
    assert not done or whole(now, known, interrupts=verb == "start_run" or not acknowledged), now
    if again and not done:
        VERBS[verb](life, site)
        assert picture(life, site.runs) == known.after
    assert answers(life) == known.answers[done or again]
    life.kill()
    return done


def whole(now: Any, known: Sides, *, interrupts: bool) -> bool:
    """True if the change is all there. A run that was begun may also have been interrupted."""
    new = next((name for name in now["runs"] if now["runs"][name][2:] == INTERRUPTED), None)
    if new is None or not interrupts:
        return now == known.after
    done = {**now["runs"], new: known.after["runs"].get(new)}
    return now | {"runs": done} == known.after
