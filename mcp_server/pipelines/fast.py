"""Haystack's `Pipeline` with the same results at a lower cost.

Four things are cheaper: copies of inputs (see `copying`), the queue of components (only those whose inputs
changed are scored again), spans (none is described unless somebody traces), and warming up (once). It
overrides private methods, so it stands back where a release of Haystack has others: see `fits`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from heapq import heapify
from typing import Any, cast

from haystack import Pipeline
from haystack.core.pipeline import base, utils
from haystack.tracing.tracer import is_tracing_enabled

from .component_calls import run_component, run_component_async
from .copying import copied

_private: Any = Pipeline
BLOCKED = int(base.ComponentPriority.BLOCKED)


_OURS = frozenset({"_forget", "_known"})
"""The private methods of `FastPipeline` that replace none."""


class Inputs(dict[str, dict[str, Any]]):
    """What the components of one run have been given and not yet used; knows whose share has changed."""

    def __init__(self, given: Mapping[str, dict[str, Any]]) -> None:
        super().__init__(given)
        self.scores: dict[str, int] = {}
        self.changed: set[str] = set()


class Shape:
    """What a run asks of a graph again and again; valid until a component or a connection is added."""

    def __init__(self, pipeline: Any) -> None:
        self.receivers: dict[str, list[Any]] = {
            name: _private._find_receivers_from(pipeline, name) for name in pipeline.graph.nodes
        }
        self.leaves: tuple[str, ...] = tuple(pipeline.outputs())
        self.fed = frozenset(
            name
            for name, node in pipeline.graph.nodes.items()
            if any(socket.senders for socket in node["input_sockets"].values())
        )
        """Those that other components give something: without any input they do not run."""


class FastPipeline(Pipeline):
    """A pipeline that gives what `Pipeline` gives. Breakpoints, snapshots and traces go Haystack's way."""

    _shape: Shape | None = None
    _warm = _warm_on_loop = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pipeline) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # as Haystack's

    def add_component(self, name: str, instance: Any) -> FastPipeline:
        """As Haystack's; what was known of the graph is forgotten."""
        self._forget()
        return super().add_component(name, instance)

    def remove_component(self, name: str) -> Any:
        """As Haystack's; what was known of the graph is forgotten."""
        self._forget()
        return super().remove_component(name)

    def connect(self, sender: str, receiver: str) -> FastPipeline:
        """As Haystack's; what was known of the graph is forgotten."""
        self._forget()
        return super().connect(sender, receiver)

    def warm_up(self) -> None:
        """Once: Haystack asks every component before every run."""
        if not self._warm:
            super().warm_up()
            self._warm = True

    async def warm_up_async(self) -> None:
        """Once, as well."""
        if not self._warm_on_loop:
            await super().warm_up_async()
            self._warm_on_loop = True

    def close(self) -> None:
        """As Haystack's; the next run warms up again."""
        self._warm = self._warm_on_loop = False
        super().close()

    async def close_async(self) -> None:
        """As Haystack's; the next run warms up again."""
        self._warm = self._warm_on_loop = False
        await super().close_async()

    def _forget(self) -> None:
        self._shape = None
        self._warm = self._warm_on_loop = False

    def _known(self) -> Shape:
        if self._shape is None:
            self._shape = Shape(self)
        return self._shape

    def _find_super_components(self) -> list[tuple[str, Any]]:
        return [
            (name, each) for name, each in self.walk() if isinstance(vars(each).get("pipeline"), Pipeline)
        ]

    def _find_receivers_from(self, component_name: str) -> list[Any]:
        return self._known().receivers[component_name]

    def _is_pipeline_possibly_blocked(self, current_pipeline_outputs: dict[str, Any]) -> bool:
        leaves = self._known().leaves
        return bool(leaves) and not any(name in current_pipeline_outputs for name in leaves)

    def _prepare_component_input_data(self, data: dict[str, Any]) -> dict[str, dict[str, Any]]:
        nested = all(isinstance(value, dict) for value in data.values())
        nodes: Any = cast(Any, self).graph.nodes
        if nested and any(name in nodes for name in data):
            for name, inputs in data.items():  # Haystack, too, changes the mapping it was given
                data[name] = {key: copied(value) for key, value in inputs.items()}
            return data
        lent: dict[str, Any] = {
            key: value if isinstance(value, dict) else Lent(value) for key, value in data.items()
        }
        placed: dict[str, dict[str, Any]] = _private._prepare_component_input_data(self, lent)
        for name, inputs in placed.items():
            placed[name] = {
                key: copied(value.value) if isinstance(value, Lent) else value
                for key, value in inputs.items()
            }
        return placed

    @staticmethod
    def _convert_to_internal_format(pipeline_inputs: dict[str, Any]) -> Inputs:
        return Inputs(_private._convert_to_internal_format(pipeline_inputs))

    @staticmethod
    def _consume_component_inputs(
        component_name: str, component: dict[str, Any], inputs: Any, is_resume: bool = False
    ) -> dict[str, Any]:
        if isinstance(inputs, Inputs):
            inputs.changed.add(component_name)
        return _private._consume_component_inputs(component_name, component, inputs, is_resume)

    def _write_component_outputs(
        self,
        *,
        component_name: str,
        component_outputs: Mapping[str, Any],
        inputs: Any,
        receivers: Sequence[Any],
        include_outputs_from: set[str],
    ) -> Mapping[str, Any]:
        if isinstance(inputs, Inputs):
            inputs.changed.add(component_name)  # it was visited once more
            inputs.changed.update(receiver[0] for receiver in receivers)
        return _private._write_component_outputs(
            self,
            component_name=component_name,
            component_outputs=component_outputs,
            inputs=inputs,
            receivers=receivers,
            include_outputs_from=include_outputs_from,
        )

    def _fill_queue(self, component_names: list[str], inputs: Any, component_visits: dict[str, int]) -> Any:
        if not isinstance(inputs, Inputs):
            return _private._fill_queue(self, component_names, inputs, component_visits)
        nodes: Any = cast(Any, self).graph.nodes
        fed = self._known().fed
        for name in inputs.changed if inputs.scores else component_names:
            given, visits = inputs.get(name), component_visits[name]
            if not given and (visits or name in fed):
                inputs.scores[name] = BLOCKED
            else:
                component = {**nodes[name], "visits": visits}
                inputs.scores[name] = int(_private._calculate_priority(component, given or {}))
        inputs.changed.clear()
        queue = utils.FIFOPriorityQueue()
        waiting = [(inputs.scores[name], place, name) for place, name in enumerate(component_names)]
        heapify(waiting)
        cast(Any, queue)._queue = waiting
        return queue

    @staticmethod
    def _run_component(
        component_name: str,
        component: dict[str, Any],
        inputs: dict[str, Any],
        component_visits: dict[str, int],
        parent_span: Any = None,
        *,
        break_point: Any = None,
    ) -> Mapping[str, Any]:
        if break_point is not None or is_tracing_enabled():
            return _private._run_component(
                component_name, component, inputs, component_visits, parent_span, break_point=break_point
            )
        return run_component(component_name, component, inputs, component_visits)

    @staticmethod
    async def _run_component_async(
        component_name: str,
        component: dict[str, Any],
        component_inputs: dict[str, Any],
        component_visits: dict[str, int],
        parent_span: Any = None,
        *,
        break_point: Any = None,
    ) -> Mapping[str, Any]:
        if break_point is not None or is_tracing_enabled():
            return await _private._run_component_async(
                component_name,
                component,
                component_inputs,
                component_visits,
                parent_span,
                break_point=break_point,
            )
        return await run_component_async(component_name, component, component_inputs, component_visits)

    @staticmethod
    async def _wait_for_tasks(
        running_tasks: dict[asyncio.Task[Any], str], scheduled_components: set[str], *, return_when: str
    ) -> AsyncIterator[dict[str, Any]]:
        ended: set[asyncio.Task[Any]] = set()
        if running_tasks:
            ended, _ = await asyncio.wait(running_tasks, return_when=return_when)
        for task in ended:
            name = running_tasks.pop(task)
            try:
                outputs = task.result()
            except Exception:  # whatever a component raised: the others must not go on
                await _private._cancel_in_flight_tasks(running_tasks, scheduled_components)
                raise
            scheduled_components.discard(name)
            if outputs:
                yield {name: copied(outputs)}


class Lent:
    """A value while Haystack decides which components get it: the copies are ours to make."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memory: object) -> Lent:
        return self


def fits() -> bool:
    """True if this Haystack has the private methods that are replaced, with the same parameters."""
    return all(
        _parameters(FastPipeline, name) == _parameters(Pipeline, name)
        for name in vars(FastPipeline)
        if name.startswith("_") and inspect.isroutine(getattr(FastPipeline, name)) and name not in _OURS
    )


def _parameters(kind: type[Pipeline], name: str) -> list[str]:
    return [*inspect.signature(getattr(kind, name, bool)).parameters]
