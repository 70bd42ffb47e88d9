"""The kind `steps`: a YAML of inputs, named models and ordered steps that a person walks through.

A call here is one step: its template is filled in and put to each of its models, side by side. Which step,
what was chosen before, and what a person said about it come with the run; nothing is kept between calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import yaml
from haystack.components.builders import ChatPromptBuilder
from haystack.dataclasses import ChatMessage
from jinja2 import TemplateError

from ..errors import Broken, Invalid
from ..models import Json, Manifest, Options, Problem, Run
from . import Work
from .building import build
from .composed import Composed, compose, texts_in
from .context import Context
from .options import kind_of, options_of, tool_of
from .requirements import check_requirements
from .step_asking import Asker, Asking
from .step_definition import Definition, definition_in

GIVES: Json = {
    "type": "object",
    "properties": {
        "run_id": {"type": "string"},
        "status": {"type": "string"},
        "step": {"type": "string"},
        "responses": {"type": "array", "items": {"type": "object"}},
        "output": {"type": "string"},
        "next": {"type": "string"},
    },
    "required": ["run_id", "status", "next"],
}
"""What the tool of a step-wise pipeline answers: where its run stands, and what to do next."""

_MERGE = "Merge the following texts into one. {instruction}\nAnswer with the merged text only.\n\n{texts}"


def claims(root: Path) -> Path | None:
    """The one YAML file at the top of `root` with top-level `models` and `steps`; None without such."""
    kind = kind_of(texts_in(root))
    return root / kind[1] if not isinstance(kind, Problem) and kind[0] == "steps" else None


def load(name: str, root: Path) -> StepsPipeline:
    """Load the step-wise YAML in `root`, its models warmed up. Raises `Broken` with file and line."""
    texts = texts_in(root)
    kind = kind_of(texts)
    if isinstance(kind, Problem):
        raise Broken(kind)
    check_requirements(root)
    composed = compose(texts[kind[1]], kind[1])
    definition = definition_in(composed)
    prompts = {step.name: _prompt(definition, place, composed) for place, step in enumerate(definition.steps)}
    return StepsPipeline(
        definition,
        prompts,
        _askers(definition, composed, root),
        _manifest(name, options_of(texts), definition),
    )


class StepsPipeline:
    """Executes the steps of one definition, each in a call of its own."""

    holder: object = None

    def __init__(
        self,
        definition: Definition,
        prompts: Mapping[str, ChatPromptBuilder],
        askers: Mapping[str, Asker],
        manifest: Manifest,
    ) -> None:
        self.manifest = manifest
        self._definition = definition
        self._steps = {step.name: step for step in definition.steps}
        self._prompts = prompts
        self._askers = askers
        self._loop: asyncio.AbstractEventLoop | None = None

    def prepare(self, run: Run) -> Work:
        """The work of the verb `step`. It hands over each response to the context as soon as it is there.

        `run.inputs` holds `step` (a name), `inputs`, `outputs` (what was chosen, by step) and `feedback`;
        perhaps `models` (other models than the step's), `indexes` (only these of its responses), or `merge`
        (`instruction` and `texts`: gives one response that merges them). Raises `Invalid` otherwise.
        """
        if run.verb != "step":
            raise Invalid("This pipeline goes step by step; that is not offered here.")
        if run.inputs["step"] not in self._steps:
            raise Invalid(f"The pipeline has no step {run.inputs['step']}; it was changed.")
        unknown = [name for name in run.inputs.get("models") or () if name not in self._askers]
        if unknown:
            raise Invalid(f"There is no model {unknown[0]}; there are {', '.join(self._askers)}.")
        self._loop = asyncio.get_running_loop()
        return Work(False, partial(self._merge if "merge" in run.inputs else self._execute, run.inputs))

    def close(self) -> None:
        """Close what the generators hold open: also their async clients, on the loop that used them."""
        for asker in self._askers.values():
            asker.close(self._loop)

    async def _execute(self, given: Json, context: Context) -> Json:
        step = self._steps[given["step"]]
        models = given.get("models") or step.models
        wanted: Sequence[int] = given.get("indexes", range(len(models)))
        messages = self._messages(given)
        asked = (self._ask(place, (models[place], *step.fallback), messages, context) for place in wanted)
        await asyncio.gather(*asked)
        return {"responses": len(wanted)}

    async def _merge(self, given: Json, context: Context) -> Json:
        step = self._steps[given["step"]]
        texts = [f"<text {place}>\n{text}\n</text>" for place, text in enumerate(given["merge"]["texts"], 1)]
        prompt = _MERGE.format(instruction=given["merge"]["instruction"], texts="\n\n".join(texts))
        models = (self._definition.merge or step.models[0], *step.fallback)
        await self._ask(0, models, [ChatMessage.from_user(prompt)], context)
        return {"responses": 1}

    async def _ask(
        self, index: int, models: Sequence[str], messages: Sequence[ChatMessage], context: Context
    ) -> None:
        askers = [self._askers[name] for name in dict.fromkeys(models)]
        context.respond(await Asking(askers, messages, context).response(index, self._definition.retries))

    def _messages(self, given: Json) -> list[ChatMessage]:
        """The prompt of a step. Feedback comes at its end unless the template says where."""
        builder, feedback = self._prompts[given["step"]], given.get("feedback") or ""
        outputs = {f"{name}_output": text for name, text in given["outputs"].items()}
        defaults = {name: each.default for name, each in self._definition.inputs.items() if not each.required}
        values = {**defaults, **given["inputs"], **outputs, "feedback": feedback}
        messages: list[ChatMessage] = builder.run(template_variables=values)["prompt"]
        if feedback and "feedback" not in builder.variables:
            messages = [*messages[:-1], _with_feedback(messages[-1], feedback)]
        return messages


def _with_feedback(message: ChatMessage, feedback: str) -> ChatMessage:
    text = f"{message.text or ''}\n\nFeedback to take into account: {feedback}"
    return ChatMessage.from_user(text) if message.is_from("user") else ChatMessage.from_system(text)


def _prompt(definition: Definition, place: int, composed: Composed) -> ChatPromptBuilder:
    """The template of a step, ready to be filled in."""
    text, path = definition.template(place), ("steps", place, "template")
    template: Any = text if "{% message" in text else [ChatMessage.from_user(text)]
    try:
        builder = ChatPromptBuilder(template, required_variables=[])
    except (TemplateError, ValueError) as error:
        raise composed.broken(f"the template cannot be read: {str(error)[:200]}", *path) from error
    known = definition.known(place)
    for name in sorted(set(builder.variables) - known):
        message = (
            f"`{name}` is no input, and no output of an earlier step; there are {', '.join(sorted(known))}"
        )
        raise composed.broken(message[:300], *path)
    return builder


def _askers(definition: Definition, composed: Composed, root: Path) -> dict[str, Asker]:
    """The declared models as Haystack builds components: its allow-list applies, errors name the line."""
    plain = {safe(name): model.model_dump(exclude={"price"}) for name, model in definition.models.items()}
    pipeline: Any = build(_as_components(composed, plain), root)
    askers: dict[str, Asker] = {}
    for name, model in definition.models.items():
        data = pipeline.graph.nodes[safe(name)]
        if "messages" not in data["input_sockets"] or "replies" not in data["output_sockets"]:
            message = f"`{name}` is no chat generator: it must take `messages` and give `replies`"
            raise composed.broken(message, "models", name)
        askers[name] = Asker(name, data["instance"], model.price)
    return askers


def _as_components(composed: Composed, models: Json) -> Composed:
    """The YAML as if `models` were `components`, so that what goes wrong is told with its line."""
    node: Any = composed.root
    key, value = next(pair for pair in node.value if pair[0].value == "models")
    named = yaml.MappingNode(
        value.tag, [(_renamed(each, safe(each.value)), model) for each, model in value.value]
    )
    named.start_mark, named.end_mark = value.start_mark, value.end_mark
    root = yaml.MappingNode(node.tag, [(_renamed(key, "components"), named)], node.start_mark, node.end_mark)
    return Composed({"components": models, "connections": []}, composed.file, root)


def _renamed(key: Any, name: str) -> Any:
    return yaml.ScalarNode(key.tag, name, key.start_mark, key.end_mark)


def safe(name: str) -> str:
    """The name of a model as Haystack takes it for a component: without dots."""
    return name.replace(".", "·")


def _manifest(name: str, options: Options, definition: Definition) -> Manifest:
    names = [step.name for step in definition.steps]
    said = options.description or definition.description or "Goes through a work in steps."
    advice = (
        f"Works step by step ({', '.join(names)}): starts a run, gives the responses of its first step and "
        "says how to choose among them and go on."
    )
    takes: Json = {
        "type": "object",
        "properties": {key: each.as_schema for key, each in definition.inputs.items()},
        "required": [key for key, each in definition.inputs.items() if each.required],
        "additionalProperties": False,
    }
    titled = options.model_copy(update={"title": options.title or definition.title})
    tool = tool_of(name, titled, f"{said} {advice}", takes, GIVES)
    steps = [{**step.model_dump(mode="json"), "template": step.template} for step in definition.steps]
    return Manifest(
        kind="steps",
        tool=tool,
        blocking=False,
        steps=tuple(cast(list[Json], steps)),
        models=tuple(definition.models),
    )
