"""The call of a step-wise pipeline: it starts a run, executes its first step, and asks what to choose."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from ..catalog import Catalog
from ..content import render
from ..engines import Runner
from ..models import Answers, Emit, Event, Json, Question, Response, Result, Run
from ..store.tree import Walk
from . import Choice, Stepwise, Wish
from .showing import shown

KEY = "choice"
MERGE, AGAIN = "merge all", "others"
AGAIN_LIMIT = 2
"""Times a person is asked again who chose what is no choice; then the run waits for the tools."""
SHOWN = 2000
"""Characters of each response that a question shows."""


class Conductor:
    """Runs calls: those of step-wise pipelines here, all others by the engine."""

    def __init__(self, catalog: Catalog, engine: Runner, stepwise: Stepwise) -> None:
        self._catalog = catalog
        self._engine = engine
        self._stepwise = stepwise
        self.begin = engine.begin
        """See `Runner.begin`; what goes in steps has no slot of its own, so it does not begin so."""

    def run(self, run: Run, emit: Emit) -> Awaitable[Result]:
        """See `Engine.run`. The run that lasts is another one, whose id the result tells."""
        if run.verb == "call" and self._goes_in_steps(run.pipeline):
            return self._conduct(run, emit)
        return self._engine.run(run, emit)

    def _goes_in_steps(self, name: str) -> bool:
        entry = self._catalog.snapshot.entries.get(name)
        manifest = entry.manifest if entry else None
        return manifest is not None and manifest.kind == "steps"

    async def _conduct(self, run: Run, emit: Emit) -> Result:
        walk = await self._stepwise.start(run.caller, run.pipeline, run.inputs, run.version)
        walk = await self._executed(run, walk, emit, Wish())
        asks, number, misfits = "elicitation" in run.client.capabilities, 0, 0
        while asks and walk.status == "waiting" and misfits <= AGAIN_LIMIT:
            number += 1
            content = accepted(await emit(asked(walk, number, again=misfits > 0)))
            misfits = 0 if fits(walk, content) else misfits + 1
            if not misfits:
                walk, asks = await self._moved(run, walk, emit, content)
        view = shown(walk, await self._stepwise.plan(walk))
        return render(view).model_copy(update={"is_error": walk.status == "failed"})

    async def _moved(self, run: Run, walk: Walk, emit: Emit, content: Json | None) -> tuple[Walk, bool]:
        """The run after an answer, and whether to ask on; a person who declines goes on later."""
        if content is None:
            return walk, False
        chosen, feedback = content.get("response", ""), str(content.get("feedback") or "")
        if chosen == AGAIN:
            return await self._executed(run, walk, emit, Wish(feedback=feedback, regenerate=True)), True
        assert walk.head is not None, "it was asked about"
        ids = tuple(choosable(walk)) if chosen == MERGE else (str(chosen),)
        merge = "Keep the best of each." if chosen == MERGE else ""
        walk = await self._stepwise.select(run.caller, walk.id, Choice(ids, feedback, merge))
        return (walk if walk.status == "done" else await self._executed(run, walk, emit, Wish())), True

    async def _executed(self, run: Run, walk: Walk, emit: Emit, wish: Wish) -> Walk:
        """Execute the current step; when the caller leaves, it goes on."""

        async def tell(event: Event) -> Answers | None:
            return None if isinstance(event, Response) else await emit(event)

        going = await self._stepwise.execute(run.caller, walk.id, wish, tell)
        await going.ended()
        return await self._stepwise.find(run.caller, walk.id)


def fits(walk: Walk, content: Json | None) -> bool:
    """True for an answer that can be acted on: one of the choices, or nobody's."""
    return content is None or content.get("response") in (*choosable(walk), MERGE, AGAIN)


def asked(walk: Walk, number: int, *, again: bool = False) -> Question:
    """The question which response to go on with, as an elicitation; `again` if the last answer was none."""
    assert walk.head is not None, "a step was executed"
    texts = choosable(walk)
    several = [MERGE] if len(texts) > 1 else []
    parts = [f"{identity}: {text[:SHOWN]}" for identity, text in texts.items()]
    parts += ["Once more: `response` must be one of the choices."] if again else []
    properties: Json = {
        "response": {
            "type": "string",
            "title": "Response",
            "description": "Which one to go on with.",
            "enum": [*texts, *several, AGAIN],
        },
        "feedback": {"type": "string", "title": "Feedback", "description": "What the next prompt is told."},
    }
    params: Json = {
        "mode": "form",
        "message": "\n\n".join([f"Step {walk.head.step} of run {walk.id}: choose a response.", *parts]),
        "requestedSchema": {"type": "object", "properties": properties, "required": ["response"]},
    }
    return Question(number=number, requests={KEY: {"method": "elicitation/create", "params": params}})


def choosable(walk: Walk) -> dict[str, str]:
    """The responses of the current step that have a text, by id."""
    responses = walk.head.responses if walk.head else ()
    return {kept.id: kept.response.text for kept in responses if kept.response.text is not None}


def accepted(answers: Answers | None) -> Json | None:
    """What a person filled in; None if nobody did."""
    answer = (answers or {}).get(KEY) or {}
    content: Any = answer.get("content")
    return cast(Json, content) if answer.get("action") == "accept" and isinstance(content, dict) else None
