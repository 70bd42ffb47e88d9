"""A person's word before an Agent acts: our strategy for Haystack's `ConfirmationHook`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from haystack.core.serialization import default_from_dict, default_to_dict
from haystack.hooks.human_in_the_loop import ToolExecutionDecision
from haystack.hooks.human_in_the_loop.strategies import (
    MODIFICATION_FEEDBACK_TEMPLATE,
    REJECTION_FEEDBACK_TEMPLATE,
    USER_FEEDBACK_TEMPLATE,
)

from ..models import Json
from .context import Context, current, on_loop
from .questions import Form

DEEP = 5
"""Agents in agents that are looked at."""
SHOWN = 500
"""Characters of the parameters, and of the tool's description, that the question itself shows."""


class AskUser:
    """Has the MCP user accept, change or reject what an Agent's tool is about to be called with.

        hook = ConfirmationHook({"delete_file": AskUser()})
        Agent(chat_generator=…, tools=[delete_file, …], hooks={"before_tool": [hook]})

    The user sees the parameters as a form. Leaving them accepts, editing them changes the call, declining
    or closing the form rejects it; with a rejection or a change can come a feedback, which the model reads.
    Works in sync and async runs of whatever this server calls. Raises `RuntimeError` outside of one, and on
    an event loop for a sync run of the Agent: there the answer can only be awaited.
    """

    def run(
        self,
        *,
        tool_name: str,
        tool_description: str,
        tool_params: Json,
        tool_call_id: str | None = None,
        confirmation_strategy_context: Json | None = None,
    ) -> ToolExecutionDecision:
        """The decision, after a wait in this thread."""
        if on_loop():
            raise RuntimeError("an Agent that asks must be run with `run_async` in async code")
        question = Confirmation(tool_name, tool_description, tool_params, tool_call_id)
        return running().ask_parked({"confirm": question})["confirm"]

    async def run_async(
        self,
        *,
        tool_name: str,
        tool_description: str,
        tool_params: Json,
        tool_call_id: str | None = None,
        confirmation_strategy_context: Json | None = None,
    ) -> ToolExecutionDecision:
        """The decision, awaited."""
        question = Confirmation(tool_name, tool_description, tool_params, tool_call_id)
        return (await running().ask_parked({"confirm": question}))["confirm"]

    def to_dict(self) -> Json:
        """How a YAML names it."""
        return default_to_dict(self)

    @classmethod
    def from_dict(cls, data: Json) -> AskUser:
        """The same from a YAML."""
        return default_from_dict(cls, data)


def wants_a_word(component: Any, depth: int = 0) -> bool:
    """True for an Agent that asks with `AskUser`, or that has such a one for a tool."""
    hooks: Mapping[str, Sequence[Any]] = getattr(component, "hooks", None) or {}
    chosen = [getattr(hook, "confirmation_strategies", {}) for each in hooks.values() for hook in each]
    if any(isinstance(strategy, AskUser) for each in chosen for strategy in each.values()):
        return True
    tools: Any = getattr(component, "tools", None)
    if depth == DEEP or not isinstance(tools, list):
        return False
    owned = [getattr(each, "_component", None) for each in cast(list[Any], tools)]
    return any(wants_a_word(each, depth + 1) for each in owned if each is not None)


def running() -> Context:
    """The run this code belongs to. Raises `RuntimeError` if it belongs to none."""
    if context := current.get(None):
        return context
    raise RuntimeError("AskUser asks the caller of a pipeline that mcp-server runs; there is none here")


@dataclass(frozen=True)
class Confirmation:
    """The question whether a tool may be called with these parameters; its answer is the decision."""

    tool: str
    description: str
    parameters: Json
    call: str | None

    def request(self) -> Json:
        """A form with the parameters, a decision and a feedback."""
        return self._form().request()

    def read(self, result: Json | None) -> ToolExecutionDecision:
        """What the person decided. A change that cannot be read rejects, and says so to the model."""
        try:
            answer = self._form().read(result)
            parameters = self._changed(answer.content)
        except ValueError as error:
            return self._rejected(f"the change could not be read: {error}")
        feedback = str(answer.content.get(self._free("feedback"), "")).strip()
        if not answer or answer.content.get(self._free("decision")) == "reject":
            return self._rejected(feedback)
        if parameters == self.parameters:
            return ToolExecutionDecision(self.tool, True, self.call, final_tool_params=parameters)
        told = MODIFICATION_FEEDBACK_TEMPLATE.format(tool_name=self.tool, final_tool_params=parameters)
        return ToolExecutionDecision(self.tool, True, self.call, with_feedback(told, feedback), parameters)

    def _form(self) -> Form:
        decision = {"type": "string", "title": "Decision", "enum": ["accept", "reject"], "default": "accept"}
        feedback = {"type": "string", "title": "Feedback", "description": "What the agent should know."}
        fields: Json = {name: field(value) for name, value in self.parameters.items()}
        fields |= {self._free("decision"): decision, self._free("feedback"): feedback}
        about = cut(" ".join(self.description.split()))
        message = f"May the agent call {self.tool}? {about}\n{cut(written(self.parameters))}"
        return Form(message, {"type": "object", "properties": fields})

    def _changed(self, content: Json) -> Json:
        """The parameters after the edit. Raises `ValueError` for text that should be JSON and is not."""
        return {
            name: restored(value, content[name]) if name in content else value
            for name, value in self.parameters.items()
        }

    def _rejected(self, feedback: str) -> ToolExecutionDecision:
        told = REJECTION_FEEDBACK_TEMPLATE.format(tool_name=self.tool)
        return ToolExecutionDecision(self.tool, False, self.call, with_feedback(told, feedback))

    def _free(self, name: str) -> str:
        """A name for a field of our own that is no parameter's."""
        while name in self.parameters:
            name += "_"
        return name


def with_feedback(told: str, feedback: str) -> str:
    """What the model reads, in the words Haystack uses for its own strategies."""
    return f"{told} {USER_FEEDBACK_TEMPLATE.format(feedback=feedback)}" if feedback else told


def field(value: Any) -> Json:
    """A form's field that holds the value: forms know simple types only, anything else is shown as JSON."""
    match value:
        case bool():
            return {"type": "boolean", "default": value}
        case int() | float():
            return {"type": "number", "default": value}
        case str():
            return {"type": "string", "default": value}
        case _:
            return {"type": "string", "description": "JSON", "default": written(value)}


def restored(value: Any, given: Any) -> Any:
    """What was written into the field of a value. Raises `ValueError` for text that is no JSON."""
    match value:
        case bool() | str():
            return given
        case int() | float():
            return int(given) if isinstance(value, int) and float(given).is_integer() else given
        case _:
            return json.loads(given)


def written(value: Any) -> str:
    """A value as JSON that a person can read."""
    return json.dumps(value, ensure_ascii=False, default=str)


def cut(text: str) -> str:
    """At most `SHOWN` characters."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
