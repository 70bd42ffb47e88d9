"""What may be done with a step-wise run: pure functions from how it stands to how it stands then.

Each raises `Stands` for what its state does not allow, and `Invalid` or `NotFound` for a wrong name.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import Conflict, Invalid, NotFound
from ..models import Json, Response
from ..runs import new_id
from ..store.tree import Execution, Kept, Walk


class Stands(Conflict):
    """A move that a run does not allow as it stands; `walk` is how it stood when that was decided."""

    def __init__(self, walk: Walk, text: str) -> None:
        super().__init__(text)
        self.walk = walk


Plan = Sequence[Json]
"""The steps of a pipeline, as its manifest lists them."""


@dataclass(frozen=True)
class Wish:
    """How the current step is to be executed."""

    step: str | None = None
    """Its name, to be sure; None for whatever step the run stands at."""
    feedback: str = ""
    """What is to be taken into account, beside what was said with the last selection."""
    regenerate: bool = False
    """True to execute a step again that has responses."""
    models: tuple[str, ...] = ()
    """Other models than the step's own."""


@dataclass(frozen=True)
class Choice:
    """Which responses go on to the next step."""

    ids: tuple[str, ...]
    feedback: str = ""
    """For the next step."""
    merge: str = ""
    """How a model is to merge several; without it their texts are joined."""


def current(walk: Walk, plan: Plan) -> Json:
    """The step the run stands at."""
    if walk.position >= len(plan):
        raise Stands(walk, "All steps of this run are done; rewind it to go on from an earlier step.")
    return plan[walk.position]


def begun(walk: Walk, plan: Plan, wish: Wish, instance: str, first: int) -> Walk:
    """The run with a new execution of its current step, whose responses are numbered from `first`."""
    check_open(walk)
    step, head = current(walk, plan), walk.head
    if wish.step and wish.step != step["name"]:
        check_known(wish.step, plan)
        raise Stands(
            walk, f"The run stands at the step {step['name']}; rewind it to execute {wish.step} again."
        )
    open_head = head if head is not None and not head.selected else None
    if open_head is not None and open_head.status == "done" and not wish.regenerate:
        raise Stands(walk, f"The step {step['name']} has responses: select one, or pass regenerate=true.")
    before = walk.path[:-1] if open_head is not None else walk.path
    last = before[-1] if before else None
    said = "\n".join(filter(None, [last.feedback if last else None, wish.feedback]))
    execution = Execution(
        id=new_id(),
        parent=last.id if last else None,
        number=walk.position,
        step=step["name"],
        status="running",
        attempt=token(),
        instance=instance,
        started=time.time(),
        inputs={"models": [*(wish.models or step["models"])], "feedback": said, "first": first},
    )
    return walk.at([*before, execution], "running", error=None)


def selected(walk: Walk, plan: Plan, choice: Choice, merged: Kept | None = None) -> Walk:
    """The run with these responses chosen; it then stands at the next step, or is done."""
    head = chosen_from(walk, choice)
    responses = (*head.responses, *([merged] if merged else []))
    made = replace(
        head,
        selected=choice.ids,
        feedback=choice.feedback or None,
        merge=choice.merge or None,
        responses=responses,
        inputs=touched(head),
    )
    path = [*walk.path[:-1], made]
    if made.number + 1 < len(plan):
        return walk.at(path, "waiting")
    return walk.at(path, "done", finished=time.time())


def chosen_from(walk: Walk, choice: Choice) -> Execution:
    """The execution whose responses are chosen from."""
    check_open(walk)
    head = walk.head
    if head is None or head.selected or head.status != "done":
        raise Stands(walk, "The current step has no responses yet; execute it first.")
    texts = {kept.id: kept.response.text for kept in head.responses}
    if not choice.ids:
        raise Invalid("Give at least one id in `response_ids`.")
    for identity in choice.ids:
        if texts.get(identity) is None:
            known = ", ".join(key for key, text in texts.items() if text is not None)
            raise Invalid(f"{identity[:40]} is no response of the step {head.step}; there are {known}.")
    return head


def rewound(walk: Walk, plan: Plan, step: str) -> tuple[Walk, tuple[str, ...]]:
    """The run standing at an earlier step again, whose responses wait for another choice.

    Also the names of the steps that this invalidates; they stay in its history.
    """
    check_idle(walk)
    check_known(step, plan)
    found = next((each for each in walk.path if each.step == step and each.selected), None)
    if found is None:
        raise Stands(walk, f"The run has not passed the step {step}.")
    again = replace(
        copied(found, found.parent), selected=(), merge=None, feedback=None, inputs=touched(found)
    )
    later = tuple(each.step for each in walk.path[found.number + 1 :])
    return walk.at([*walk.path[: found.number], again], "waiting", finished=None, error=None), later


def forked(walk: Walk, plan: Plan, line: Sequence[Execution], response: str | None, branch: str) -> Walk:
    """A new run that shares the past: `line` leads to where it branches off.

    With `response` that one is chosen there, also while others of that step are still being made.
    """
    path: list[Execution] = []
    for each in line:
        path.append(copied(each, path[-1].id if path else None))
    if response:
        last, inputs = path[-1], {**touched(path[-1]), "branch": branch}
        ended = replace(last, status="done", finished=last.finished or time.time(), error=None)
        path[-1] = replace(ended, selected=(response,), merge=None, feedback=None, inputs=inputs)
    now = time.time()
    new = replace(walk, id=new_id(), parent=walk.id, branch=path[-1].step if path else None, revision=0)
    new = new.at(path, "waiting" if path else "queued", started=now, finished=None, error=None)
    return new if new.position < len(plan) else new.at(path, "done", finished=now)


def line_to(history: Sequence[Execution], response: str) -> tuple[Execution, ...]:
    """The executions from the first step to the one that gave a response."""
    by_id = {each.id: each for each in history}
    found = [each for each in history if response in {kept.id for kept in each.responses}]
    if not found:
        raise NotFound(f"The run has no response {response[:40]}.")
    line = [found[-1]]
    while line[0].parent is not None:
        line.insert(0, by_id[line[0].parent])
    return tuple(line)


def copied(execution: Execution, parent: str | None) -> Execution:
    """The same in another place of a tree."""
    return replace(execution, id=new_id(), parent=parent, attempt=token())


def kept_merge(head: Execution, response: Response) -> Kept:
    """What a model made of several responses of an execution, with its id."""
    before = sum(kept.is_merged for kept in head.responses)
    identity = f"merged-{head.inputs['first']:03d}" + (f"-{before + 1}" if before else "")
    return Kept(identity, response.model_copy(update={"index": len(head.responses)}), time.time())


def touched(execution: Execution) -> Json:
    """Its inputs, saying that something was done with it now."""
    return {**execution.inputs, "touched": time.time()}


def check_idle(walk: Walk) -> None:
    """Refuse while a step is being executed."""
    if walk.status == "running" and walk.head is not None:
        raise Stands(walk, f"Step '{walk.head.step}' is already being executed")


def check_open(walk: Walk) -> None:
    """Refuse also once the run was cancelled."""
    check_idle(walk)
    if walk.status == "cancelled":
        raise Stands(walk, "This run was cancelled; rewind it, or fork it, to go on.")


def check_known(step: str, plan: Plan) -> None:
    """Refuse a name that is none of a step."""
    names = [each["name"] for each in plan]
    if step not in names:
        raise Invalid(f"There is no step {step[:64]}; there are {', '.join(names)}.")


def free_number(history: Sequence[Execution]) -> int:
    """The number of the next response: unique in the run, abandoned branches included."""
    taken = (each.inputs.get("first", 1) + len(each.inputs.get("models", ())) - 1 for each in history)
    return 1 + max(taken, default=0)


def check_same(walk: Walk, plan: Plan) -> None:
    """Refuse to go on with a pipeline whose steps are no longer those that the run went through."""
    names = [each["name"] for each in plan]
    if any(each.number >= len(names) or names[each.number] != each.step for each in walk.path):
        raise Conflict(f"The steps of {walk.pipeline} were changed; they are now {', '.join(names)}.")


def token() -> str:
    """What an attempt proves itself with."""
    return os.urandom(12).hex()
