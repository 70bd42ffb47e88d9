"""The component calls of a run: told as steps when they end, and not made again if they were recorded."""

from __future__ import annotations

import inspect
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..errors import Invalid
from ..models import Event, Json, Replay, StepDone
from .serialized import Unkept, check_kept, digest, pack, unpack
from .sockets import expressible
from .usage import tokens_of

MOST = 1024 * 1024
"""Bytes of JSON of what one call got, or gave, that are kept."""
TOTAL = 64 * 1024 * 1024
"""Bytes of all calls of a run that are kept."""
UNKEPT = frozenset({"streaming_callback"})
"""Sockets that say nothing about what a component gives."""

Explain = Callable[[BaseException], str]
Run = Callable[..., Any]


class Tape:
    """What a run has recorded, what it begins with, and where it is. Used by many threads."""

    def __init__(self, replay: Replay, emit: Callable[[Event], None]) -> None:
        self._steps = {step.label: step for step in replay.steps}
        self._changes = replay.changes
        self._parks = replay.parks
        self._emit = emit
        self._visits: Counter[str] = Counter()
        self._active: set[str] = set()
        self._lost: set[str] = set()
        self._lock = threading.Lock()
        self._room = TOTAL
        self.ended = 0
        """How many calls have ended, those that were not made again among them."""

    def visit(self, component: str) -> int:
        """The number of the call that begins."""
        with self._lock:
            self._visits[component] += 1
            return self._visits[component]

    def changes(self, label: str) -> Json:
        """By socket, what is to be changed of the inputs of this call."""
        return self._changes.get(label, {})

    def recall(self, label: str, inputs: str | None) -> Any:
        """What this call gave when it had the same inputs; None if it is to be made."""
        step = self._steps.pop(label, None)
        if step is None or step.outputs is None or step.digest != inputs:
            return None
        with suppress(Unkept), self._lock:
            given = unpack(step.outputs)
            self.ended += 1
            return given
        return None

    def begin(self, label: str) -> None:
        """A call is at work from now on."""
        with self._lock:
            self._active.add(label)

    def end(self, label: str) -> None:
        """It is not any more."""
        with self._lock:
            self._active.discard(label)

    def can_stop(self, within: str) -> bool:
        """True if a run that stops inside these calls and is replayed makes no call a second time.

        So nothing else is at work, and what every call gave is kept. `within` is as names begin there.
        """
        with self._lock:
            return (
                self._parks
                and not self._lost
                and all(within.startswith(f"{label}.") for label in self._active)
            )

    def tell(self, step: StepDone) -> None:
        """Hand a call over that has ended; what there is no room for is left out."""
        with self._lock:
            self._room -= len(step.inputs or "") + len(step.outputs or "")
            if self._room < 0:
                lost = step.lost or (None if step.error else "the run has recorded too much")
                step = step.model_copy(update={"inputs": None, "outputs": None, "lost": lost})
            self._lost = {each for each in self._lost if not each.startswith(f"{step.label}.")}
            if step.lost:
                self._lost.add(step.label)
            self.ended += 1
        self._emit(step)  # may wait for the event loop, which may wait for the lock


_current: ContextVar[tuple[Tape, str]] = ContextVar("mcp_server.tape")
"""The tape of the run this code belongs to, and what the names of components begin with here."""


def record(tape: Tape) -> None:
    """Record what this task, or thread, and what it starts call from now on."""
    _current.set((tape, ""))


def recorded(run: Run, explain: Explain) -> Run:
    """Haystack's function that runs one component, told to the tape of the current run if there is one.

    Its first four parameters are the component's name, its node of the graph, its inputs, and how often each
    component ran. `explain` says in one line why a call failed.
    """
    names = [*inspect.signature(run).parameters][:4]
    parameters = [*inspect.signature(run).parameters]

    def begun(arguments: Sequence[Any], named: Json) -> tuple[Call, Callable[[], Any] | None]:
        given = {**dict(zip(parameters, arguments, strict=False)), **named}
        name, node, inputs, visits = (given[each] for each in names)
        call = Call(*_current.get(), name, inputs, partial(typed, name, node["input_sockets"]), explain)
        if call.outputs is not None:
            visits[name] += 1
            return call, None
        return call, partial(run, **{**given, names[2]: call.inputs})

    def in_thread(*arguments: Any, **named: Any) -> Any:
        if _current.get(None) is None:
            return run(*arguments, **named)
        call, make = begun(arguments, named)
        if make is None:
            return call.outputs
        with call:
            return call.gave(make())

    async def on_loop(*arguments: Any, **named: Any) -> Any:
        if _current.get(None) is None:
            return await run(*arguments, **named)
        call, make = begun(arguments, named)
        if make is None:
            return call.outputs
        with call:
            return call.gave(await make())

    return wraps(run, assigned=())(on_loop if inspect.iscoroutinefunction(run) else in_thread)


def playing() -> tuple[Tape, str] | None:
    """The tape of the current run, and what names begin with here; None if the run is not recorded."""
    return _current.get(None)


class Call:
    """One call of a component; entered while it is made."""

    def __init__(
        self,
        tape: Tape,
        within: str,
        component: str,
        inputs: Mapping[str, Any],
        change: Callable[[Json], Json],
        explain: Explain,
    ) -> None:
        """`change` gives the values of inputs that a caller wants to be others."""
        self._tape = tape
        self._explain = explain
        name = within + component
        self._step = StepDone(
            component=name, visit=tape.visit(name), began=tape.ended, started=time.time(), seconds=0
        )
        changed = tape.changes(self._step.label)
        told, known = packed({key: inputs[key] for key in inputs if key not in UNKEPT})
        self.inputs = {**inputs, **change(changed)}
        if changed:
            told, _ = packed({key: self.inputs[key] for key in self.inputs if key not in UNKEPT})
        self._step = self._step.model_copy(update={"digest": known, "inputs": told, "changed": changed})
        self.outputs = tape.recall(self._step.label, known)
        """What it gave before; None if it is to be made."""

    def __enter__(self) -> None:
        self._clock = time.perf_counter()
        self._tape.begin(self._step.label)
        self._within = _current.set((self._tape, f"{self._step.label}."))

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        _current.reset(self._within)
        self._tape.end(self._step.label)
        if isinstance(error, Exception):  # else it was stopped
            self._tell(error=self._explain(error))

    @contextmanager
    def inside(self) -> Generator[None]:
        """What is made in this block knows that it belongs to this call."""
        within = _current.set((self._tape, f"{self._step.label}."))
        try:
            yield
        finally:
            _current.reset(within)

    def gave(self, outputs: Any, *, error: str | None = None, lost: str | None = None) -> Any:
        """Record what it gave, and give it on. `lost` says why it is not to be used again.

        With an `error` it failed, and that is what it gave.
        """
        seconds = time.perf_counter() - self._clock
        text, missing = (None, lost) if lost else kept(outputs)
        tokens = tokens_of(outputs)
        self._tell(seconds=seconds, outputs=text, lost=missing, error=error, tokens=tokens)
        return outputs

    def _tell(self, **ended: Any) -> None:
        seconds = ended.pop("seconds", None) or time.perf_counter() - self._clock
        self._tape.tell(self._step.model_copy(update={"seconds": round(seconds, 6), **ended}))


def packed(inputs: Json) -> tuple[str | None, str | None]:
    """What a call got as JSON, None if that is too large, and its digest; None twice without a JSON form."""
    try:
        text = pack(inputs)
    except Unkept:
        return None, None
    return text.decode() if len(text) <= MOST else None, digest(text)


def kept(outputs: Any) -> tuple[str | None, str | None]:
    """What a call gave as JSON, or why it cannot be used again."""
    try:
        text = pack(outputs)
        if len(text) > MOST:
            return None, f"it has {len(text):,} bytes, more than the {MOST:,} that are kept"
        check_kept(outputs, text)
    except Unkept as error:
        return None, f"it {error}"
    return text.decode(), None


def typed(component: str, sockets: Mapping[str, Any], values: Json) -> Json:
    """Values from a caller for the sockets of a component. Raises `Invalid` for what does not fit."""
    made: Json = {}
    for name, value in values.items():
        if name not in sockets:
            raise Invalid(f"{component} has no input {name}; it has {', '.join(sockets)}.")
        socket = sockets[name]
        try:
            hint = expressible(list[socket.type] if socket.is_variadic else socket.type)
            made[name] = TypeAdapter[Any](hint).validate_python(value)
        except ValidationError as error:
            raise Invalid(f"`{name}` of {component}: {error.errors()[0]['msg'][:300]}") from None
        except ValueError as error:
            raise Invalid(f"`{name}` of {component} cannot be changed: {error}") from None
    return made
