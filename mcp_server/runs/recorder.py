"""What a run tells of its components while it goes: kept in history, step by step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from ..catalog import Serving
from ..errors import Unavailable
from ..models import (
    Answers,
    Emit,
    Event,
    Json,
    Log,
    Progress,
    Question,
    Recording,
    Replay,
    Result,
    Run,
    StepDone,
)
from ..store.history import History

EVENTS = 100
"""Lines and reports of progress that are kept of a run, the last ones."""

Work = Callable[[Run, Emit], Awaitable[Result]]
"""What a run comes down to; `Engine.run` is one."""


class Recorder:
    """Hears what one run tells. Its steps never wait for the disk, and are written in their order."""

    def __init__(
        self, history: History, replay: Replay | None, *, keeps: bool, continues: bool, parks: bool
    ) -> None:
        """`parks` is true if the run may begin anew, replayed, with each answer."""
        self._history = history
        self._replay = (replay or Replay()).model_copy(update={"parks": parks})
        self._waiting: list[StepDone] = []
        self._events: deque[Json] = deque(maxlen=EVENTS)
        self._size = self._input = self._output = 0
        self.keeps = keeps
        """False as long as nobody knows whether the run will last; its steps wait here then."""
        self.continues = continues
        """True if another server can go on with the run."""

    def around(self, work: Work) -> Work:
        """The same work, recorded."""

        async def recorded(run: Run, emit: Emit) -> Result:
            async def hear(event: Event) -> Answers | None:
                if isinstance(event, StepDone):
                    self._take(run, event)
                    return None
                if isinstance(event, Progress | Log):
                    told = event.model_dump(mode="json", exclude_none=True)
                    self._events.append({"time": round(time.time(), 3), **told})
                return await emit(event)

            return await work(run.model_copy(update={"replay": self._replay}), hear)

        return recorded

    async def park(self, run: Run, question: Question) -> bool:
        """Let a run wait as a row, with all that it did; false if it has to wait where it runs."""
        if question.mark is None or run.client.uploads:
            return False
        if not self.keeps:
            self._history.record(run)
            self.keep(run)
        with suppress(Unavailable):
            await self._history.park(run, question)
            return True
        return False

    def keep(self, run: Run) -> None:
        """Write what waits, and from now on everything; the run was recorded before."""
        self.keeps = True
        for step in self._waiting:
            self._history.step(run, step)
        self._waiting.clear()

    def count(self, steps: Sequence[StepDone]) -> None:
        """Add up what an earlier attempt of the run did."""
        for step in steps:
            self._size += len(step.inputs or "") + len(step.outputs or "")
            self._input += step.tokens.input if step.tokens else 0
            self._output += step.tokens.output if step.tokens else 0

    @property
    def events(self) -> tuple[Json, ...]:
        """The last that the run told."""
        return tuple(self._events)

    def told(self) -> Json:
        """What is to be kept of the run itself once it has ended."""
        spent = {"input_tokens": self._input, "output_tokens": self._output}
        usage = spent if self._input or self._output else None
        if not self.keeps:
            return {"usage": usage}
        return {"recorded": self._size, "events": self.events, "usage": usage}

    def _take(self, run: Run, step: StepDone) -> None:
        self.count([step])
        if self.keeps:
            self._history.step(run, step)
        else:
            self._waiting.append(step)


def recorder_of(
    entry: Serving,
    run: Run,
    recording: Recording,
    history: History,
    *,
    lasts: bool = False,
    may_last: bool = False,
    replay: Replay | None = None,
) -> Recorder | None:
    """What records the components of a run of this pipeline; None if they are not to be.

    They are if the run `lasts` without its caller, if it may come to that or may wait for an answer, and if
    the pipeline says so.
    """
    manifest, options = entry.version.manifest, entry.version.options
    kind = manifest.kind if manifest and run.verb == "call" else None
    asks = manifest is not None and manifest.asks
    always = lasts or recording == "steps" or options.restartable
    if recording not in ("full", "steps") or kind not in ("yaml", "wrapper"):
        return None
    if not (always or may_last or asks):
        return None
    continues = can_continue(entry) and not run.client.uploads  # those are gone with the server
    return Recorder(history, replay, keeps=always, continues=continues, parks=continues or asks)


def can_continue(entry: Serving) -> bool:
    """True if another server can go on with a run of this pipeline from its recorded steps.

    Components are all there is to a YAML; a wrapper must say that its own code may run again.
    """
    manifest = entry.version.manifest
    return entry.version.options.restartable or (manifest is not None and manifest.kind == "yaml")
