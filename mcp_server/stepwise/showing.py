"""A step-wise run as callers see it: where it stands, its responses, what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ..models import Json
from ..store.tree import Execution, Kept, Walk
from .moves import Plan


def shown(walk: Walk, plan: Plan) -> Json:
    """Where a run stands: the answer of the pipeline's own tool, and of every tool that moves a run."""
    head = walk.head
    view: Json = {"run_id": walk.id, "pipeline": walk.pipeline, "status": walk.status}
    if walk.position < len(plan):
        step = plan[walk.position]
        view |= {"step": step["name"], "description": step["description"]}
    if head is not None and not head.selected:
        view["responses"] = [response(kept) for kept in head.responses]
    if walk.chosen:
        view["output"] = walk.chosen[-1].output
    if walk.error:
        view["error"] = walk.error
    return view | {"next": advice(walk, plan)}


def advice(walk: Walk, plan: Plan) -> str:
    """What a caller does next."""
    if walk.status == "done":
        return "All steps are done: output is the result. export_run gives the run as YAML."
    if walk.status == "running":
        return "The step is still being executed; list_artifacts shows the responses that are there."
    step = plan[walk.position]["name"]
    if walk.status == "failed":
        return f"The step {step} failed; call execute_step to try it again."
    if walk.head is None or walk.head.selected:
        return f"Call execute_step for the step {step}."
    return (
        "Call select_response with the response_ids of one response, or of several and a merge_instruction; "
        "execute_step with regenerate makes other ones."
    )


def response(kept: Kept) -> Json:
    """One response, without the prompt."""
    told = kept.response.model_dump(
        mode="json", exclude={"kind", "index", "asked", "prompt"}, exclude_none=True
    )
    return {"response_id": kept.id, **told, "notes": [*kept.response.notes]}


def artifacts(history: Sequence[Execution], step: str | None, *, with_responses: bool = True) -> list[Json]:
    """Every response of a run with how it came about, as the seed of step-wise pipelines names its parts.

    A response that rewinding copied is listed where it was made, unless it is chosen elsewhere.
    """
    latest = {(each.step, kept.id): (each, kept) for each in history for kept in each.responses}
    wanted = (pair for (name, _), pair in latest.items() if step in (None, name))
    return [_artifact(each, kept, with_responses) for each, kept in wanted]


def _artifact(execution: Execution, kept: Kept, with_responses: bool) -> Json:
    said = kept.response
    about: Json = {
        "artifact_id": kept.id.replace("resp-", "art-"),
        "response_id": kept.id,
        "step_name": execution.step,
        "model_name": said.model,
        "response_index": said.index,
        "prompt_used": said.prompt,
        "raw_output": said.text,
        "selected_for_next": kept.id in execution.selected,
        "user_feedback": execution.feedback or execution.inputs.get("feedback") or "",
        "timestamp": moment(kept.time),
        "tokens_used": said.tokens.input + said.tokens.output if said.tokens else None,
        "processing_time": said.seconds,
        "cost_usd": said.cost,
        "error": said.error,
        "notes": [*said.notes],
    }
    return (
        about
        if with_responses
        else {key: about[key] for key in about if key not in ("prompt_used", "raw_output")}
    )


def moment(seconds: float) -> str:
    """A time as the seed writes it: 2025-09-08T15:30:00Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def total_cost(history: Iterable[Execution]) -> float:
    """US dollars of everything that was asked for, as far as prices are declared."""
    costs = {kept.id: kept.response.cost or 0.0 for each in history for kept in each.responses}
    return sum(costs.values())
