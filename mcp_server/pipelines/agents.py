"""What an Agent does inside its call, told as steps: what its model replies, what its tools give.

Haystack's Agent calls both by itself, without the function that runs the components of a pipeline. With a
tape each of these calls is recorded and, in a run that is replayed, not made again.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from haystack.components.agents.state import State
from haystack.tools.errors import ToolInvocationError

from ..errors import Invalid
from ..models import Json
from .recording import Call, Explain, playing

MODEL = "chat_generator"
"""How the calls of an Agent's model are named; those of a tool have the tool's name."""
SHARED = "it may have changed the state of its agent"


def model_recorded(step: Callable[..., Any], explain: Explain) -> Callable[..., Any]:
    """An Agent's function for one step, whose model is recorded where there is a tape."""

    def stepped(agent: Any, *arguments: Any, **named: Any) -> Any:
        if playing() is not None:
            generator, agent = agent.chat_generator, copy.copy(agent)
            agent.chat_generator = Model(generator, explain)
        return step(agent, *arguments, **named)

    return stepped


def tool_recorded(make: Callable[..., Any], explain: Explain) -> Callable[..., Any]:
    """Haystack's function that makes the call of one tool, which is recorded where there is a tape.

    It is called for one tool after the other, what it makes runs side by side: so the order of the calls
    is the same in a run that is replayed. What it makes gives a failure back as what the tool gave.
    """
    parameters = [*inspect.signature(make).parameters]

    def made(*arguments: Any, **named: Any) -> Any:
        if (here := playing()) is None:
            return make(*arguments, **named)
        given = {**dict(zip(parameters, arguments, strict=False)), **named}
        name, inputs = given["tool"].name, given["args"]
        call = Call(*here, name, inputs, lambda changes: changes, explain)
        known = call.outputs
        if known is not None:
            return answering(
                make, ToolInvocationError(known["error"], name) if "error" in known else known["result"]
            )
        with call.inside():  # what it makes keeps the context it is made in
            invoke = make(**{**given, "args": call.inputs})
        lost = SHARED if any(isinstance(each, State) for each in inputs.values()) else None

        def told(result: Any) -> Any:
            if isinstance(result, ToolInvocationError):
                call.gave({"error": str(result)}, error=explain(result), lost=lost)
            else:
                call.gave({"result": result}, lost=lost)
            return result

        return around(make, call, invoke, told)

    return made


def answering(make: Callable[..., Any], result: Any) -> Callable[[], Any]:
    """What gives a result that is known, as `make` makes it: a function, or one that is awaited."""

    async def later() -> Any:
        return result

    return later if is_async(make) else lambda: result


def around(
    make: Callable[..., Any], call: Call, invoke: Callable[[], Any], told: Callable[[Any], Any]
) -> Callable[[], Any]:
    """The call of a tool as `make` makes it, recorded."""

    def now() -> Any:
        with call:
            return told(invoke())

    async def later() -> Any:
        with call:
            return told(await invoke())

    return later if is_async(make) else now


def is_async(make: Callable[..., Any]) -> bool:
    """True for the function whose calls are awaited."""
    return make.__name__.endswith("_async")


class Model:
    """The chat generator of an Agent for one step, recorded: all that a step asks of it."""

    def __init__(self, generator: Any, explain: Explain) -> None:
        self._generator = generator
        self._explain = explain

    def run(self, **inputs: Any) -> Any:
        """What it replies."""
        call = self._begun(inputs)
        if call.outputs is not None:
            return call.outputs
        with call:
            return call.gave(self._generator.run(**inputs))

    async def run_async(self, **inputs: Any) -> Any:
        """The same, awaited; a generator that only blocks does so in a thread."""
        call = self._begun(inputs)
        if call.outputs is not None:
            return call.outputs
        native = getattr(self._generator, "run_async", None)
        make = native or partial(asyncio.to_thread, self._generator.run)
        with call:
            return call.gave(await make(**inputs))

    def _begun(self, inputs: Json) -> Call:
        here = playing()
        assert here is not None, "there is a tape, or the agent would have its own model"
        asked = {name: inputs[name] for name in ("messages", "generation_kwargs") if name in inputs}
        return Call(*here, MODEL, asked, unchanged, self._explain)


def unchanged(changes: Json) -> Json:
    """Refuse changes. Raises `Invalid`."""
    if changes:
        raise Invalid("What an agent asks its model cannot be changed; change a tool's call, or the agent's.")
    return {}
