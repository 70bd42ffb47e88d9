"""A step-wise run as YAML, with the keys that the seed of step-wise pipelines names, and back as a run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import Invalid
from ..models import Caller, Json, Response
from ..runs import new_id
from ..store.tree import Execution, Kept, Walk
from . import Stepwise
from .moves import Plan, check_same, token
from .showing import moment, total_cost

LIMIT = 4 * 2**20
"""Bytes of a YAML to import."""


class _Part(BaseModel):
    """Base of what is read: keys of others are passed over."""

    model_config = ConfigDict(extra="ignore")


class _Response(_Part):
    id: str = Field(pattern=r"^(resp|merged)-[0-9]{1,9}(-[0-9]{1,9})?$")
    time: float = 0.0
    model: str
    asked: str = ""
    prompt: str = ""
    text: str | None = None
    tokens: Json | None = None
    cost: float | None = None
    seconds: float = 0.0
    error: str | None = None
    notes: tuple[str, ...] = ()

    def kept(self, index: int) -> Kept:
        told = self.model_dump(exclude={"id", "time", "asked"})
        return Kept(self.id, Response(index=index, asked=self.asked or self.model, **told), self.time)


class _Step(_Part):
    models_used: tuple[str, ...] = ()
    user_selection: int | tuple[int, ...] | None = None
    user_feedback: str | None = None
    merge_instruction: str | None = None
    given_feedback: str = ""
    responses: tuple[_Response, ...] = Field(min_length=1)


class _Metadata(_Part):
    configuration: str
    inputs: Json


class Exported(_Part):
    """A run, as far as an import needs it."""

    metadata: _Metadata
    pipeline_history: Mapping[str, _Step] = Field(default_factory=dict)


def exported(walk: Walk, history: Sequence[Execution], *, with_history: bool = True) -> str:
    """The run as YAML. Without its history it cannot be imported again."""
    whole: Json = {
        "metadata": {
            "pipeline_run_id": walk.id,
            "configuration": walk.pipeline,
            "created_at": moment(walk.started),
            "completed_at": moment(walk.finished) if walk.finished else None,
            "total_cost": _dollars(total_cost(history)),
            "status": walk.status,
            "version": str(walk.version),
            "digest": walk.digest,
            "inputs": walk.inputs,
        },
        "final_article": walk.chosen[-1].output if walk.status == "done" else None,
    }
    if with_history:
        path = {each.id for each in walk.path}
        left = [
            {"step": each.step, **_step(each)} for each in history if each.id not in path and each.responses
        ]
        whole["pipeline_history"] = {each.step: _step(each) for each in walk.path if each.responses}
        whole |= {"abandoned": left} if left else {}
    return _dumped(whole)


def read(content: bytes) -> Exported:
    """Read a YAML within bounds. Raises `Invalid` that says what is missing."""
    from ..pipelines.composed import compose  # PyYAML only where there is a YAML

    try:
        return Exported.model_validate(compose(content, "the export", LIMIT).value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Invalid(f"This is no export of a step-wise run: {where}: {first['msg']}"[:400]) from None


async def bring(stepwise: Stepwise, caller: Caller, content: bytes) -> Walk:
    """Store the run in a YAML as a new one of this caller. Raises as `read`, `imported` and `start`."""
    given = read(content)
    entry = await stepwise.pipeline(given.metadata.configuration, caller=caller)
    entry.check(given.metadata.inputs)
    new = stepwise.new_walk(caller, entry, given.metadata.inputs)
    return await stepwise.keep(imported(new, await stepwise.plan(new), given))


def imported(new: Walk, plan: Plan, given: Exported) -> Walk:
    """The run `new` with the imported past. Raises `Conflict` if the pipeline has other steps now."""
    path: list[Execution] = []
    for number, (name, step) in enumerate(given.pipeline_history.items()):
        if path and not path[-1].selected:
            raise Invalid(f"The step {name} cannot follow {path[-1].step}, of which nothing was selected.")
        path.append(_execution(number, name, step, path[-1].id if path else None))
    walk = new.at(path, "waiting" if path else "queued")
    check_same(walk, plan)
    if walk.position < len(plan):
        return walk
    return replace(walk, status="done", finished=time.time())


def _step(execution: Execution) -> Json:
    places = {kept.id: place for place, kept in enumerate(execution.responses)}
    chosen = [places[each] for each in execution.selected]
    return {
        "models_used": execution.inputs.get("models", []),
        "user_selection": chosen[0] if len(chosen) == 1 else chosen or None,
        "user_feedback": execution.feedback,
        "merge_instruction": execution.merge,
        "merged_output": execution.output if len(chosen) > 1 else None,
        "given_feedback": execution.inputs.get("feedback", ""),
        "responses": [
            {
                "id": kept.id,
                "time": kept.time,
                **kept.response.model_dump(mode="json", exclude={"kind", "index"}),
            }
            for kept in execution.responses
        ],
    }


def _execution(number: int, name: str, step: _Step, parent: str | None) -> Execution:
    responses = tuple(each.kept(index) for index, each in enumerate(step.responses))
    chosen = step.user_selection
    places = () if chosen is None else (chosen,) if isinstance(chosen, int) else chosen
    if any(place not in range(len(responses)) for place in places):
        raise Invalid(f"The selection of the step {name} is none of its responses.")
    first = min((int(kept.id.split("-")[1]) for kept in responses if not kept.is_merged), default=1)
    return Execution(
        id=new_id(),
        parent=parent,
        number=number,
        step=name,
        status="done",
        attempt=token(),
        instance="",
        started=responses[0].time,
        finished=max(kept.time for kept in responses),
        selected=tuple(responses[place].id for place in places),
        merge=step.merge_instruction,
        feedback=step.user_feedback,
        inputs={"models": [*step.models_used], "feedback": step.given_feedback, "first": first},
        responses=responses,
    )


def _dollars(cost: float) -> str:
    return f"${cost:.2f}" if cost == 0 or cost >= 0.01 else f"${cost:.6f}"


def _dumped(whole: Json) -> str:
    import yaml  # only needed here, and not before the server answers

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as such."""

    def text(dumper: Any, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(whole, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
