"""Streams: chunks go out as they come, the whole is the value, and a stopped run ends them."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from haystack import Pipeline, component
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import StreamingChunk
from pydantic import BaseModel

from mcp_server.models import Caller, Chunk, Event, Log
from mcp_server.pipelines.context import Context, Stopped, current
from mcp_server.pipelines.hayhooks import async_streaming_generator, streaming_generator
from mcp_server.pipelines.streams import whole, whole_async

pytestmark = pytest.mark.anyio


class Listener:
    """A context and what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.context = Context("run", Caller(), self.events.append)

    @property
    def chunks(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Chunk)]


class Point(BaseModel):
    x: int


def test_text_is_joined() -> None:
    listener = Listener()
    assert whole((word for word in ("a", "b", "", "c")), listener.context) == "abc"
    assert listener.chunks == ["a", "b", "c"]


def test_other_items_are_a_list() -> None:
    listener = Listener()
    assert whole(iter([Point(x=1), "b", 3]), listener.context) == [Point(x=1), "b", 3]
    assert listener.chunks == ['{"x":1}', "b", "3"]


def test_a_value_is_no_stream() -> None:
    for value in ("text", [1], {"a": 1}, None, Point(x=1)):
        assert whole(value, Listener().context) is value


def test_an_empty_stream_is_what_its_items_would_make() -> None:
    assert whole(iter(()), Listener().context) == ""
    assert whole(iter(()), Listener().context, text=False) == []


def test_chunks_of_haystack_and_openai_are_text_with_their_source() -> None:
    listener = Listener()
    info = SimpleNamespace(name="llm", type="Mock")
    stream = [
        SimpleNamespace(content="Hello ", component_info=info),
        StreamingChunk(content="you"),
        {"choices": [{"delta": {"content": "!"}, "index": 0}]},
        {"choices": [{"delta": {"role": "assistant"}}]},
    ]
    assert whole(iter(stream), listener.context) == "Hello you!"
    assert [event.source for event in listener.events if isinstance(event, Chunk)] == ["llm", None, None]


def test_events_for_user_interfaces_are_no_part_of_the_answer() -> None:
    listener = Listener()
    status = {"type": "status", "data": {"description": "Looking", "done": False}}
    stream = [status, "answer", SimpleNamespace(to_event_dict=lambda: {"type": "x", "data": {}}), None]
    assert whole(iter(stream), listener.context) == "answer"
    assert [event.data for event in listener.events if isinstance(event, Log)] == ["Looking", "x"]
    assert whole(iter([{"type": "cat", "data": {}}]), listener.context) == [{"type": "cat", "data": {}}]


def test_a_stopped_run_ends_and_closes_the_stream() -> None:
    listener = Listener()
    closed: list[bool] = []

    def stream() -> Generator[str, None, None]:
        try:
            yield "a"
            listener.context.stop()
            yield "b"
            yield "never"
        finally:
            closed.append(True)

    with pytest.raises(Stopped):
        whole(stream(), listener.context)
    assert listener.chunks == ["a"]
    assert closed == [True]


def test_an_async_stream_from_a_plain_function_is_refused_with_a_way_out() -> None:
    async def stream() -> AsyncGenerator[str, None]:
        yield "a"

    with pytest.raises(TypeError, match="async def"):
        whole(stream(), Listener().context)


async def test_async_streams_are_joined_and_closed() -> None:
    listener = Listener()
    closed: list[bool] = []

    async def stream() -> AsyncGenerator[str, None]:
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(True)

    assert await whole_async(stream(), listener.context) == "ab"
    assert listener.chunks == ["a", "b"]
    assert closed == [True]


async def test_a_cancelled_run_closes_the_async_stream() -> None:
    listener = Listener()
    waiting, closed = anyio.Event(), anyio.Event()

    async def stream() -> AsyncGenerator[str, None]:
        try:
            yield "a"
            waiting.set()
            await anyio.sleep_forever()
        finally:
            closed.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(whole_async, stream(), listener.context)
            await waiting.wait()
            group.cancel_scope.cancel()
        await closed.wait()


async def test_a_plain_stream_from_async_code_does_not_block_the_loop() -> None:
    listener = Listener()
    go, threads = threading.Event(), set[int]()

    def stream() -> Iterator[str]:
        threads.add(threading.get_ident())
        yield "a"
        assert go.wait(5)
        yield "b"

    async def give() -> Iterator[str]:
        return stream()

    async with anyio.create_task_group() as group:
        results: list[Any] = []

        async def consume() -> None:
            results.append(await whole_async(give(), listener.context))

        group.start_soon(consume)
        with anyio.fail_after(5):
            while not listener.chunks:
                await anyio.lowlevel.checkpoint()
        go.set()
    assert results == ["ab"]
    assert threading.get_ident() not in threads


@component
class Words:
    """Streams the words of a text; knows only plain callbacks."""

    def __init__(self) -> None:
        self.streamed = 0

    @component.output_types(text=str)
    def run(self, text: str, streaming_callback: Callable[[StreamingChunk], None] | None = None) -> Any:
        for word in text.split():
            self.streamed += 1
            if streaming_callback:
                streaming_callback(StreamingChunk(content=word + " "))
        return {"text": text.upper()}


@component
class Broken:
    @component.output_types(text=str)
    def run(self, text: str, streaming_callback: Any = None) -> Any:
        raise ValueError("no words")


def words() -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("first", Words())
    pipeline.add_component("second", Words())
    pipeline.connect("first.text", "second.text")
    return pipeline


def texts(stream: Iterator[Any]) -> str:
    return "".join(item.content if isinstance(item, StreamingChunk) else str(item) for item in stream)


RUN = {"first": {"text": "a b"}}


def test_the_last_component_streams_unless_others_are_named() -> None:
    assert texts(streaming_generator(words(), pipeline_run_args=RUN)) == "A B "
    assert (
        texts(streaming_generator(words(), pipeline_run_args=RUN, streaming_components=["first"])) == "a b "
    )
    assert (
        texts(streaming_generator(words(), pipeline_run_args=RUN, streaming_components="all")) == "a b A B "
    )
    assert RUN == {"first": {"text": "a b"}}


def test_the_end_of_the_pipeline_may_add_a_chunk() -> None:
    ends: list[Any] = []

    def end(result: Any) -> str:
        ends.append(result)
        return "(end)"

    stream = streaming_generator(
        words(), pipeline_run_args=RUN, include_outputs_from={"first"}, on_pipeline_end=end
    )
    assert texts(stream) == "A B (end)"
    assert ends == [{"first": {"text": "A B"}, "second": {"text": "A B"}}]


def test_a_pipeline_that_cannot_stream_or_fails_says_so() -> None:
    with pytest.raises(ValueError, match="can stream"):
        streaming_generator(Pipeline(), pipeline_run_args={})
    pipeline = Pipeline()
    pipeline.add_component("broken", Broken())
    with pytest.raises(Exception, match="no words"):
        texts(streaming_generator(pipeline, pipeline_run_args={"broken": {"text": "x"}}))


def test_a_pipeline_waits_for_its_reader_and_stops_when_it_leaves() -> None:
    pipeline = Pipeline()
    pipeline.add_component("words", Words())
    stream = streaming_generator(pipeline, pipeline_run_args={"words": {"text": "w " * 10_000}})
    assert next(stream).content == "w "
    before = {thread for thread in threading.enumerate() if thread.daemon}
    stream.close()
    for thread in before:
        thread.join(5) if thread.name.startswith("Thread-") else None
    assert pipeline.get_component("words").streamed < 100


def test_a_stopped_run_ends_a_reader_that_waits() -> None:
    @component
    class Slow:
        @component.output_types(text=str)
        def run(self, text: str, streaming_callback: Any = None) -> Any:
            assert released.wait(5)
            return {"text": text}

    released = threading.Event()
    pipeline = Pipeline()
    pipeline.add_component("slow", Slow())
    listener = Listener()
    token = current.set(listener.context)
    try:
        stream = streaming_generator(pipeline, pipeline_run_args={"slow": {"text": "x"}})
        threading.Timer(0.01, listener.context.stop).start()
        with pytest.raises(Stopped):
            whole(stream, listener.context)
    finally:
        current.reset(token)
        released.set()


async def test_sync_and_async_components_stream_on_the_loop() -> None:
    async def read(pipeline: Any, arguments: Any, **options: Any) -> str:
        items = [
            item async for item in async_streaming_generator(pipeline, pipeline_run_args=arguments, **options)
        ]
        return texts(iter(items))

    with anyio.fail_after(20):
        assert await read(words(), RUN) == "A B "
        chat = Pipeline()
        chat.add_component("llm", MockChatGenerator("hello there"))
        said = {"llm": {"messages": "hi"}}
        assert (await read(chat, said)).strip() == "hello there"
        assert (await read(chat, said, on_pipeline_end=lambda result: " end")).endswith("there end")
        with pytest.raises(ValueError, match="run_async"):
            await read(words(), RUN, allow_sync_streaming_callbacks=False)


async def test_leaving_an_async_stream_cancels_the_pipeline() -> None:
    cancelled = anyio.Event()

    @component
    class Endless:
        @component.output_types(text=str)
        def run(self, text: str, streaming_callback: Any = None) -> Any:
            return {"text": text}

        @component.output_types(text=str)
        async def run_async(self, text: str, streaming_callback: Any = None) -> Any:
            try:
                while True:
                    await streaming_callback(StreamingChunk(content=text))
            finally:
                cancelled.set()

    pipeline = Pipeline()
    pipeline.add_component("endless", Endless())
    stream = async_streaming_generator(pipeline, pipeline_run_args={"endless": {"text": "x"}})
    assert (await anext(stream)).content == "x"
    await stream.aclose()
    with anyio.fail_after(5):
        await cancelled.wait()


def test_listeners_hear_tool_calls_and_reasoning() -> None:
    call = SimpleNamespace(tool_name="search", arguments='{"q": 1}', id="1")
    ended = SimpleNamespace(
        result="found", error=False, origin=SimpleNamespace(tool_name="search", arguments={"q": 1})
    )
    chunks = [
        SimpleNamespace(content="", tool_calls=[call]),
        SimpleNamespace(content="", tool_call_result=ended),
        SimpleNamespace(content="", reasoning=SimpleNamespace(reasoning_text="hm", extra=None)),
    ]

    class Agent:
        def run(self, messages: Any, streaming_callback: Any) -> Any:
            for chunk in chunks:
                streaming_callback(chunk)
            return {"messages": messages}

    stream = streaming_generator(
        Agent(),
        pipeline_run_args={"messages": []},
        on_tool_call_start=lambda name, arguments, call_id: [f"start {name} {arguments} {call_id}"],
        on_tool_call_end=lambda name, arguments, result, error: f"end {name} {result} {error}",
        on_reasoning=lambda text, extra: 1 / 0,
    )
    assert [item for item in stream if isinstance(item, str)] == [
        "start search {'q': 1} 1",
        "end search found False",
    ]
