"""A run as its caller sees it, in lists and by itself, with the recorded steps of its components."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import orjson

from ...models import Artifact, Json, Progress, Question, Run, StepDone
from ...runs import Live
from ...stepwise import Plan
from ...stepwise.showing import shown as standing
from ...store.changes import packed
from ...store.steps import Line, Recorded
from ...store.tree import Walk

INPUTS = 16 * 1024
"""Bytes of a run's inputs, and of what a component got or gave, up to which they are shown."""
STEPS = 100
"""Steps of a run that are shown, the last ones."""


def detailed(run: Run, live: Live | None = None) -> Json:
    """A run as its caller sees it: how far it is, what it asks while it waits, what it gave."""
    view = shown(run)
    if run.question:
        view["question"] = dict(run.question.requests)
    if live and live.progress:
        view["progress"] = advanced(live.progress)
    if events := live.recorder.events if live and live.recorder else run.events:
        view["events"] = [*events]
    if run.verb == "call" and run.usage:
        view["usage"] = run.usage
    if run.has_inputs and len(packed(run.inputs)) <= INPUTS:
        view["inputs"] = run.inputs
    return view | gave(run)


def parked(live: Live, question: Question) -> str:
    """What a caller reads whose client cannot be asked."""
    texts = [request.get("params", {}).get("message", key) for key, request in question.requests.items()]
    said = " / ".join(texts)
    stop = "" if said.endswith((".", "?", "!", "…", ":")) else "."
    return (
        f"The pipeline {live.run.pipeline} asks: {said}{stop} "
        f"Run {live.run.id} waits. Call answer_run with its run_id and answers "
        f"(an object with {', '.join(question.requests)}); get_run shows what is asked."
    )


def advanced(progress: Progress) -> Json:
    """How far a run is, as numbers and in percent if it knows its end."""
    told = progress.model_dump(exclude={"kind"}, exclude_none=True)
    return told | ({"percent": round(100 * progress.done / progress.total, 1)} if progress.total else {})


def walked(walk: Walk, plan: Plan) -> Json:
    """Where a step-wise run stands, and how far that is: the steps of which something was selected."""
    done = Progress(done=len(walk.chosen), total=len(plan))
    return standing(walk, plan) | {"progress": advanced(done)}


def shown(run: Run) -> Json:
    """A run as a list shows it."""
    view: Json = {
        "run_id": run.id,
        "pipeline": run.pipeline,
        "version": str(run.version),
        "status": run.status,
        "started": datetime.fromtimestamp(run.started, UTC).isoformat(timespec="milliseconds"),
        "seconds": round((run.finished or time.time()) - run.started, 3),
    }
    return view | ({"error": run.error} if run.error else {})


def gave(run: Run) -> Json:
    """What a run gave, if it has ended and that was recorded."""
    if run.result is None:
        return {}
    content = {"content": orjson.loads(run.result.content)}
    structured = run.result.structured
    return content if structured is None else content | {"result": orjson.loads(structured)}


def steps_shown(run: Run, line: Line) -> Json:
    """The calls of the components of a run, in the order they ended; then those it was rewound over.

    Also what of the run retention took.
    """
    swept: Json = {"no_longer_kept": [*line.swept]} if line.swept else {}
    if not line.steps and not line.left:
        return swept
    calls = [step_shown(run, each) for each in line.steps]
    left = [step_shown(run, each) | {"status": "invalidated", "reused": False} for each in line.left]
    return {"steps": [*calls, *left][-STEPS:], **swept}


def step_shown(run: Run, kept: Recorded) -> Json:
    """One call, without what it got and gave; reused if this run, in its last attempt, did not make it."""
    reused = (kept.run, kept.attempt) != (run.id, run.attempt) and not kept.step.error
    return told(kept.step) | {"reused": reused}


def step_detailed(run: Run, step: StepDone) -> Json:
    """One call with what it got and gave; what is large is an artifact."""
    view: Json = {"run_id": run.id, **told(step)}
    for name, text, value in (("inputs", step.inputs, step.got), ("outputs", step.outputs, step.gave)):
        if text is not None and len(packed(value)) <= INPUTS:
            view[name] = value
        elif text is not None:
            part = Artifact(name=f"{step.label}.{name}.json", mime_type="application/json")
            view[f"{name}_uri"] = part.uri(run.id)
    return view


def told(step: StepDone) -> Json:
    """What is known of a call."""
    view: Json = {
        "step": step.label,
        "component": step.component,
        "visit": step.visit,
        "status": "failed" if step.error else "done",
        "seconds": step.seconds,
    }
    more = {"error": step.error, "changed": step.changed, "not_reusable": step.lost}
    return view | {name: value for name, value in more.items() if value}
