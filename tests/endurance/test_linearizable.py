"""Many clients at once: their answers could have come one after the other, in their real order."""

from __future__ import annotations

import copy
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .lives import LIMIT, Life, Lives, Refused
from .model import No, Pipeline
from .picture import adder

CLIENTS, CALLS = 4, 4
HISTORIES = (6, 200)
"""Histories of the short form, and of the long one."""
REFUSED = "refused"


@dataclass(frozen=True)
class Operation:
    """What one client asked, when (seconds), and what it was answered."""

    verb: str
    argument: int
    began: float
    ended: float
    answer: Any

    def fits(self, pipeline: Pipeline) -> bool:
        """Do it to the model; false if that would have answered otherwise."""
        try:
            return self.answer == self._done(pipeline)
        except No:
            return self.answer == REFUSED

    def _done(self, pipeline: Pipeline) -> Any:
        match self.verb:
            case "deploy":
                pipeline.deploy(self.argument, overwrite=True)
            case "undeploy":
                pipeline.undeploy()
            case "set_stage":
                pipeline.set_stage(self.argument, "production", False, None)
            case _:
                return pipeline.versions[pipeline.called(None, None) - 1]
        return None


def is_linearizable(history: Sequence[Operation]) -> bool:
    """True if an order of the operations explains all answers; none is before what ended before it began.

    A search over what may come next (Wing and Gong), each state of the model at each set of done ones once.
    """
    seen: set[tuple[frozenset[int], str]] = set()
    waiting = [(frozenset[int](), Pipeline())]
    while waiting:
        done, pipeline = waiting.pop()
        if len(done) == len(history):
            return True
        if (done, repr(pipeline)) in seen:
            continue
        seen.add((done, repr(pipeline)))
        left = [place for place in range(len(history)) if place not in done]
        first = min(history[place].ended for place in left)
        for place in left:
            after = copy.deepcopy(pipeline)
            if history[place].began <= first and history[place].fits(after):
                waiting.append((done | {place}, after))
    return False


def test_the_checker_tells_what_cannot_be() -> None:
    deploys = [Operation("deploy", adds, float(adds), adds + 0.5, None) for adds in (1, 2)]
    assert is_linearizable([*deploys, Operation("call", 0, 3, 4, 2)])
    assert is_linearizable([*deploys, Operation("call", 0, 2.1, 4, 1)]), "it was asked while 2 came"
    assert not is_linearizable([*deploys, Operation("call", 0, 3, 4, 1)]), "what was replaced is gone"
    assert not is_linearizable(
        [*deploys, Operation("undeploy", 0, 3, 4, None), Operation("call", 0, 5, 6, 2)]
    )


def test_what_clients_see_at_the_same_time_has_an_order(lives: Lives, tmp_path: Path, long: bool) -> None:
    (tmp_path / "pipelines").mkdir()
    life = lives.begin(tmp_path / "pipelines", tmp_path / "state")
    asked = refused = 0
    for number in range(HISTORIES[long]):
        history = together(life, f"p{number}", random.Random(number))
        assert is_linearizable(history), "\n".join(map(str, sorted(history, key=lambda each: each.began)))
        asked += len(history)
        refused += sum(each.answer == REFUSED for each in history)
    print(f"{HISTORIES[long]} histories, {asked} operations, {refused} of them refused, 0 violations")
    life.kill()


def together(life: Life, name: str, chance: random.Random) -> list[Operation]:
    """What clients do to one pipeline at the same time."""
    plans = [[(chance.choice(VERBS), chance.randint(1, 3)) for _ in range(CALLS)] for _ in range(CLIENTS)]
    told: list[Operation] = []
    start = threading.Barrier(CLIENTS)

    def client(plan: Sequence[tuple[str, int]]) -> None:
        start.wait(LIMIT)
        for verb, argument in plan:
            began = time.monotonic()
            answer = asked_for(life, name, verb, argument)
            told.append(Operation(verb, argument, began, time.monotonic(), answer))

    threads = [threading.Thread(target=client, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive(), "a client waits for ever"
    assert len(told) == CLIENTS * CALLS
    return told


VERBS = ("deploy", "deploy", "undeploy", "set_stage", "call", "call", "call")


def asked_for(life: Life, name: str, verb: str, argument: int) -> Any:
    """What the server answers: the number that a call added, None for a change made, or a refusal."""
    try:
        match verb:
            case "deploy":
                life.tool("deploy_pipeline", name=name, files=adder(argument), overwrite=True)
            case "undeploy":
                life.tool("undeploy_pipeline", pipeline_name=name)
            case "set_stage":
                life.tool("set_stage", name=name, version=str(argument), stage="production")
            case _:
                return life.run(name, number=0)
    except Refused:
        return REFUSED
    return None
