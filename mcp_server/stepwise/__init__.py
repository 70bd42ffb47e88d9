"""Step-wise runs: started, executed step by step, chosen from, rewound, forked. They last as rows.

__init__    Stepwise: what callers may ask for
moves       what each move does to a run, as pure functions
going       an execution that goes on
exporting   a run as YAML, and back
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from contextlib import suppress

from ..access import sight
from ..catalog import Catalog, Serving
from ..engines import Engine
from ..errors import Conflict, Invalid, NotFound, ServerError, Unanswered
from ..models import Answers, Caller, Emit, Event, Json, Response
from ..runs import ignore, new_id
from ..settings import Settings
from ..store.tree import Changed, Execution, Kept, Tree, Walk, Watch
from . import moves
from .going import Going, run_of
from .moves import Choice, Plan, Wish

__all__ = ["Choice", "Going", "Plan", "Stepwise", "Wish"]

REMEMBERED = 100
"""Ended executions whose stream can still be followed from its beginning."""
CARE = 15.0
"""Seconds between two looks at what other servers left behind."""
PATIENCE = 60.0
"""Seconds a selection waits for a step that is still being executed."""
CANCELLED = "The run was cancelled."

log = logging.getLogger(__name__)


class Stepwise:
    """The moves of step-wise runs, each durable when it returns.

    A run belongs to its caller: for others it is `NotFound`. All may raise `Unavailable`, as the store, and
    `NotFound` for a pipeline that is no longer deployed.
    """

    def __init__(self, catalog: Catalog, engine: Engine, settings: Settings, tree: Tree) -> None:
        self._catalog = catalog
        self._engine = engine
        self._settings = settings
        self._tree = tree
        self._going: OrderedDict[str, Going] = OrderedDict()
        """By run, the last execution that went on here."""

    async def __aenter__(self) -> Stepwise:
        """Begin to continue what other servers left behind; returns at once."""
        self._care = asyncio.create_task(self._look_after())
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop what goes on; it is continued when a server starts again."""
        self._care.cancel()
        await asyncio.wait([self._care])
        for going in [*self._going.values()]:
            await going.stop()

    async def start(self, caller: Caller, name: str, inputs: Json, version: int | None = None) -> Walk:
        """Begin a run of the step-wise pipeline `name`; nothing is executed yet.

        Raises `NotFound` if there is none, `Invalid` for inputs that do not fit its schema.
        """
        entry = await self.pipeline(name, version, caller)
        entry.check(inputs)
        return await self._tree.create(self.new_walk(caller, entry, inputs))

    async def find(self, caller: Caller, identity: str) -> Walk:
        """The run of that id, as it is now. Raises `NotFound`."""
        walk = await self._tree.find(identity)
        if walk is None or walk.caller != caller.name:
            raise NotFound(f"There is no step-wise run {identity[:64]}.")
        return walk

    async def history(self, caller: Caller, identity: str) -> tuple[Execution, ...]:
        """Every execution of a run, also those it was rewound over, oldest first."""
        await self.find(caller, identity)
        return await self._tree.history(identity)

    async def plan(self, walk: Walk) -> Plan:
        """The steps of the run's pipeline, in the version that the run began with."""
        entry = await self.pipeline(walk.pipeline, walk.version)
        assert entry.version.manifest is not None, "a step-wise pipeline was loaded once"
        plan = entry.version.manifest.steps
        moves.check_same(walk, plan)
        return plan

    async def execute(self, caller: Caller, identity: str, wish: Wish, listener: Emit = ignore) -> Going:
        """Begin to execute the current step; it goes on by itself. `listener` hears its events.

        Raises `Conflict` while it is being executed, when it has responses (unless `wish.regenerate`), when
        `wish.step` is another one, and at the end; `Invalid` for a step or a model that is not there.
        """
        while True:
            walk = await self.find(caller, identity)
            sight.check(caller, "run", walk.pipeline)
            await self._check_models(walk, wish)
            first = moves.free_number(await self._tree.history(identity))
            begun = moves.begun(walk, await self.plan(walk), wish, self._tree.instance, first)
            with suppress(Changed):  # somebody moved it meanwhile: decide by how it stands now
                return self._go(await self._tree.change(begun), listener)

    async def select(self, caller: Caller, identity: str, choice: Choice) -> Walk:
        """Choose responses of the current step; the run then stands at the next one, or is done.

        Waits for a step that is still being executed here. Raises `Conflict` if there is nothing to choose
        from, `Invalid` for an id that is no response of the step, `Unanswered` if the merging model fails.
        """
        await self.find(caller, identity)
        await self._settled(identity)
        walk = await self.find(caller, identity)
        plan, head = await self.plan(walk), moves.chosen_from(walk, choice)
        merges = len(choice.ids) > 1 and choice.merge
        merged = await self._merged(walk, head, choice) if merges else None
        return await self._tree.change(moves.selected(walk, plan, choice, merged))

    async def rewind(self, caller: Caller, identity: str, step: str) -> tuple[Walk, tuple[str, ...]]:
        """Go back to a step that was passed, to choose again; also gives the steps this invalidates."""
        walk = await self.find(caller, identity)
        back, later = moves.rewound(walk, await self.plan(walk), step)
        return await self._tree.change(back), later

    async def fork(
        self,
        caller: Caller,
        identity: str,
        response: str | None = None,
        branch: str = "",
        *,
        key: str | None = None,
    ) -> Walk:
        """A new run that shares the past of this one, up to its present or to a response that is chosen.

        With an idempotency `key` that was given before, it is the one that was made then.
        """
        walk = await self.find(caller, identity)
        plan, line = await self.plan(walk), walk.path
        if response is None:
            moves.check_idle(walk)
        else:
            line = moves.line_to(await self._tree.history(identity), response)
        made = moves.forked(walk, plan, line, response, branch)
        return await self._tree.create(made, key, (identity, response, branch))

    async def cancel(self, caller: Caller, identity: str) -> Walk:
        """Stop a run for good; what goes on of it ends. Raises `Conflict` for one that is done."""
        walk = await self.find(caller, identity)
        if walk.status == "done":
            raise Conflict("This run is done.")
        if (going := self._going.get(identity)) is not None:
            await going.stop()
            walk = await self.find(caller, identity)
        if walk.status == "running" and walk.head is not None:
            await self._tree.end(walk.head, "failed", CANCELLED)
            walk = await self.find(caller, identity)
        return await self._tree.change(walk.at(walk.path, "cancelled", finished=time.time(), error=None))

    async def keep(self, walk: Walk) -> Walk:
        """Store a run that was made elsewhere, such as an imported one."""
        return await self._tree.create(walk)

    def watch(self, turned: Watch) -> None:
        """Have `turned` told the id of each run that this server moves, once it is durable."""
        self._tree.turned = turned

    def going(self, identity: str) -> Going | None:
        """The last execution of a run, if it went on here not long ago."""
        return self._going.get(identity)

    async def recover(self) -> None:
        """Continue what servers that are gone left, and what stopped here: the responses that are missing."""
        going = [each.execution.id for each in self._going.values() if not each.has_ended]
        for identity in await self._tree.claim(moves.token(), going):
            walk = await self._tree.find(identity)
            if walk is None or walk.head is None:
                continue
            try:
                await self.pipeline(walk.pipeline, walk.version)  # waits while it loads
            except ServerError as error:
                await self._tree.end(walk.head, "failed", str(error))
            else:
                self._go(walk, ignore)

    async def pipeline(self, name: str, version: int | None = None, caller: Caller | None = None) -> Serving:
        """The step-wise pipeline `name`, if the caller may run it.

        Raises `NotFound`, and `Invalid` for one of another kind.
        """
        if caller is not None:
            sight.check(caller, "run", name)
        entry = await self._catalog.find(name, version)
        if entry.version.manifest is None or entry.version.manifest.kind != "steps":
            raise Invalid(f"{name} is no step-wise pipeline.")
        return entry

    def new_walk(self, caller: Caller, entry: Serving, inputs: Json) -> Walk:
        """A run that has not begun."""
        wanted = entry.version.options.timeout or self._settings.call_timeout
        return Walk(
            id=new_id(),
            pipeline=entry.name,
            version=entry.version.number,
            digest=entry.version.digest,
            caller=caller.name,
            origin=caller.origin,
            status="queued",
            inputs=inputs,
            timeout=min(wanted, self._settings.max_timeout),
            started=time.time(),
        )

    async def _look_after(self) -> None:
        while True:
            try:
                await self.recover()
            except ServerError as error:
                log.info("step-wise runs could not be continued: %s", error)
            await asyncio.sleep(CARE)

    def _go(self, walk: Walk, listener: Emit) -> Going:
        self._going[walk.id] = going = Going(walk, self._tree, self._engine, listener)
        self._going.move_to_end(walk.id)
        ended = [key for key, each in self._going.items() if each.has_ended]
        for key in ended[: max(0, len(ended) - REMEMBERED)]:
            del self._going[key]
        return going

    async def _settled(self, identity: str) -> None:
        if going := self._going.get(identity):
            try:
                async with asyncio.timeout(PATIENCE):
                    await going.ended()
            except TimeoutError:
                text = f"Step '{going.execution.step}' is still being executed"
                raise moves.Stands(going.walk, text) from None

    async def _check_models(self, walk: Walk, wish: Wish) -> None:
        """Refuse models that the pipeline does not declare."""
        manifest = (await self.pipeline(walk.pipeline, walk.version)).version.manifest
        declared = manifest.models if manifest else ()
        unknown = [name for name in wish.models if name not in declared]
        if unknown and declared:
            raise Invalid(f"There is no model {unknown[0][:64]}; there are {', '.join(declared)}."[:400])

    async def _merged(self, walk: Walk, head: Execution, choice: Choice) -> Kept:
        """What a model makes of several responses."""
        chosen = {kept.id: kept.response.text for kept in head.responses}
        texts = [chosen[each] for each in choice.ids]
        heard: list[Response] = []

        async def hear(event: Event) -> Answers | None:
            if isinstance(event, Response):
                heard.append(event)
            return None

        merge: Json = {"instruction": choice.merge, "texts": texts}
        asked: Json = {"step": head.step, "outputs": {}, "merge": merge}
        await self._engine.run(run_of(walk, asked), hear)
        if not heard or heard[0].text is None:
            raise Unanswered(f"The texts could not be merged: {heard[0].error if heard else 'no reply'}.")
        return moves.kept_merge(head, heard[0])
