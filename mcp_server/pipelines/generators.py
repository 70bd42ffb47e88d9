"""Runs a Haystack pipeline or agent and yields what it streams, by the two functions known from Hayhooks.

The pipeline waits for its reader: a chunk is made only when the one before was nearly taken. Whoever stops
reading (or whose run is stopped) stops the pipeline at its next chunk.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Literal

from ..models import Json
from .context import Stopped, current
from .listeners import Listeners

AHEAD = 16
"""Chunks a pipeline may be ahead of its reader."""
_POLL = 0.1
"""Seconds between looks at whether the run is to stop, and at the external queue."""


@dataclass(frozen=True)
class _End:
    """The last thing in a queue: what the pipeline gave, or why it did not."""

    result: Any = None
    error: BaseException | None = None


def streaming_generator(
    pipeline: Any,
    *,
    pipeline_run_args: Json | None = None,
    on_tool_call_start: Callable[[str, Json, str | None], Any] | None = None,
    on_tool_call_end: Callable[[str, Json, str, bool], Any] | None = None,
    on_reasoning: Callable[[str, Json | None], Any] | None = None,
    on_pipeline_end: Callable[[Any], str | None] | None = None,
    streaming_components: list[str] | Literal["all"] | None = None,
    include_outputs_from: set[str] | None = None,
    external_event_queue: queue.Queue[Any] | None = None,
) -> Generator[Any, None, None]:
    """Run a Haystack `Pipeline` or `Agent` in a thread and yield its `StreamingChunk`s.

    By default the last component that can stream does; `streaming_components` names others, or all. What
    the listeners return and what is put into `external_event_queue` is yielded too. Raises what the
    pipeline raises, and `ValueError` at once if nothing in it can stream.
    """
    listeners = Listeners(on_tool_call_start, on_tool_call_end, on_reasoning, on_pipeline_end)
    relay = _Relay()
    run = _prepared(
        pipeline, pipeline_run_args, streaming_components, include_outputs_from, lambda _: relay.put
    )
    return _read(relay, lambda: pipeline.run(**run), listeners, external_event_queue)


class _Relay:
    """A bounded queue between the pipeline's threads and the reader, which may leave."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(AHEAD)
        self._left = False

    def put(self, item: Any) -> None:
        """Wait until there is room. Raises `Stopped` once the reader has left."""
        while not self._left:
            with suppress(queue.Full):
                return self._queue.put(item, timeout=_POLL)
        raise Stopped

    def get(self) -> Any:
        """The next item, or None after a short while without one. Raises `Stopped` if the run is to stop."""
        if (context := current.get(None)) is not None:
            context.check()
        with suppress(queue.Empty):
            return self._queue.get(timeout=_POLL)
        return None

    def leave(self) -> None:
        self._left = True


def _read(
    relay: _Relay, run: Callable[[], Any], listeners: Listeners, others: queue.Queue[Any] | None
) -> Generator[Any, None, None]:
    # a daemon: a pipeline that hangs must not keep its host from ending
    threading.Thread(target=copy_context().run, args=(_work, relay, run), daemon=True).start()
    try:
        while True:
            item = relay.get()
            while others is not None and not others.empty():
                yield others.get_nowait()
            if isinstance(item, _End):
                break
            if item is not None:
                yield from listeners.around(item)
        if item.error is not None:
            raise item.error
        yield from listeners.at_end(item.result)
    finally:
        relay.leave()


def _work(relay: _Relay, run: Callable[[], Any]) -> None:
    try:
        end = _End(run())
    except BaseException as error:  # foreign code may raise anything; the reader raises it
        end = _End(error=error)
    with suppress(Stopped):
        relay.put(end)


def async_streaming_generator(
    pipeline: Any,
    *,
    pipeline_run_args: Json | None = None,
    on_tool_call_start: Callable[[str, Json, str | None], Any] | None = None,
    on_tool_call_end: Callable[[str, Json, str, bool], Any] | None = None,
    on_reasoning: Callable[[str, Json | None], Any] | None = None,
    on_pipeline_end: Callable[[Any], str | None] | None = None,
    streaming_components: list[str] | Literal["all"] | None = None,
    include_outputs_from: set[str] | None = None,
    allow_sync_streaming_callbacks: bool = True,
    external_event_queue: asyncio.Queue[Any] | None = None,
) -> AsyncGenerator[Any, None]:
    """Run a Haystack `Pipeline` or `Agent` on the event loop and yield its `StreamingChunk`s.

    As `streaming_generator`. Components without `run_async` stream too, through a thread; with
    `allow_sync_streaming_callbacks` false they are refused with `ValueError`. Closing cancels the pipeline.
    """
    listeners = Listeners(on_tool_call_start, on_tool_call_end, on_reasoning, on_pipeline_end)
    chunks: asyncio.Queue[Any] = asyncio.Queue(AHEAD)
    loop = asyncio.get_running_loop()

    def callback(component: Any) -> Callable[[Any], Any]:
        if hasattr(component, "run_async"):
            return chunks.put
        if not allow_sync_streaming_callbacks:
            raise ValueError(
                f"{type(component).__name__} has no run_async: allow_sync_streaming_callbacks=True"
            )
        return lambda chunk: asyncio.run_coroutine_threadsafe(chunks.put(chunk), loop).result()

    run = _prepared(pipeline, pipeline_run_args, streaming_components, include_outputs_from, callback)
    return _read_async(chunks, lambda: pipeline.run_async(**run), listeners, external_event_queue)


async def _read_async(
    chunks: asyncio.Queue[Any],
    run: Callable[[], Any],
    listeners: Listeners,
    others: asyncio.Queue[Any] | None,
) -> AsyncGenerator[Any, None]:
    tasks = [asyncio.create_task(_work_async(chunks, run))]
    if others is not None:
        tasks.append(asyncio.create_task(_forward(others, chunks)))
    try:
        while not isinstance(item := await chunks.get(), _End):
            for yielded in listeners.around(item):
                yield yielded
        while others is not None and not others.empty():
            yield others.get_nowait()
        if item.error is not None:
            raise item.error
        for yielded in listeners.at_end(item.result):
            yield yielded
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1)


async def _work_async(chunks: asyncio.Queue[Any], run: Callable[[], Any]) -> None:
    try:
        end = _End(await run())
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # foreign code may raise anything; the reader raises it
        end = _End(error=error)
    await chunks.put(end)


async def _forward(others: asyncio.Queue[Any], chunks: asyncio.Queue[Any]) -> None:
    while True:
        await chunks.put(await others.get())


def _prepared(
    pipeline: Any,
    arguments: Json | None,
    wanted: list[str] | Literal["all"] | None,
    include_outputs_from: set[str] | None,
    callback: Callable[[Any], Callable[[Any], Any]],
) -> Json:
    """The keyword arguments of `run` with callbacks in them; the caller's own dicts stay as they are."""
    given = dict(arguments or {})
    if not callable(getattr(pipeline, "walk", None)):
        return {**given, "streaming_callback": callback(getattr(pipeline, "chat_generator", pipeline))}
    streaming = [(name, part) for name, part in pipeline.walk() if _can_stream(pipeline, name)]
    if not streaming:
        raise ValueError("no component of the pipeline can stream")
    chosen = streaming[-1:] if wanted is None else streaming
    if isinstance(wanted, list):
        chosen = [(name, part) for name, part in streaming if name in wanted]
    for name, part in chosen:
        given[name] = {**given.get(name, {}), "streaming_callback": callback(part)}
    return {"data": given, "include_outputs_from": include_outputs_from}


def _can_stream(pipeline: Any, name: str) -> bool:
    return "streaming_callback" in pipeline.inputs().get(name, {})
