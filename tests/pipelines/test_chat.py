"""Pipelines as models of a chat: whatever they give or stream becomes one message, told as it comes."""

from __future__ import annotations

import inspect
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import orjson
import pytest

from mcp_server.errors import Invalid
from mcp_server.models import Aside, Caller, Chunk, Event, Json, Run, Verb
from mcp_server.pipelines import Pipeline, load
from mcp_server.pipelines.context import Context

pytestmark = pytest.mark.anyio

HELLO = {"messages": [{"role": "user", "content": "Hello there"}]}
HEAD = """
import asyncio
from mcp_server import PipelineWrapper as Base
from haystack import Document
from haystack.components.agents import Agent
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage, GeneratedAnswer, StreamingChunk, ToolCall, ToolCallDelta
from haystack.dataclasses import ReasoningContent
from haystack.tools import tool
from hayhooks import async_streaming_generator, get_last_user_message, streaming_generator

@tool
def weather(city: str) -> str:
    "The weather."
    return f"sunny in {city}"

CALL = ChatMessage.from_assistant(
    tool_calls=[ToolCall("weather", {"city": "Rome"}, id="c1")],
    meta={"usage": {"prompt_tokens": 5, "completion_tokens": 2}},
)

class PipelineWrapper(Base):
"""
PROMPT = """
components:
  prompt:
    type: haystack.components.builders.chat_prompt_builder.ChatPromptBuilder
    init_parameters:
      template: "{% message role='user' %}Answer {{ question }}{% endmessage %}"
  llm:
    type: haystack.components.generators.chat.mock.MockChatGenerator
    init_parameters: {}
connections:
  - {sender: prompt.prompt, receiver: llm.messages}
"""
GENERATOR = """
components:
  llm:
    type: haystack.components.generators.chat.mock.MockChatGenerator
    init_parameters: {}
connections: []
"""
AGENT = """
components:
  agent:
    type: haystack.components.agents.agent.Agent
    init_parameters:
      chat_generator:
        type: haystack.components.generators.chat.mock.MockChatGenerator
        init_parameters: {}
connections: []
"""


def wrapped(folder: Path, body: str) -> Pipeline:
    """The pipeline whose wrapper has this body."""
    (folder / "pipeline_wrapper.py").write_text(HEAD + indent(dedent(body), "    "))
    return load("model", folder)


async def said(pipeline: Pipeline, body: Json, verb: Verb = "chat") -> tuple[Json, list[Event]]:
    """What the pipeline says to a chat in the end, and the events on the way."""
    events: list[Event] = []
    run = Run(id="r", pipeline="model", version=1, digest="", inputs=body, verb=verb, timeout=9)
    value: Any = pipeline.prepare(run).call(Context("r", Caller(), events.append))
    result = await value if inspect.isawaitable(value) else value
    return orjson.loads(result.structured), events


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Chunk)]


async def test_a_chat_method_gets_model_messages_and_body_and_its_text_is_the_answer(tmp_path: Path) -> None:
    pipeline = wrapped(
        tmp_path,
        """
        def run_chat_completion(self, model: str, messages: list[dict], body: dict) -> str:
            return f"{model} {messages[0]['content']} {body['temperature']} {body['stream']}"
        """,
    )
    assert pipeline.manifest.verbs == ("chat",)
    answer, events = await said(pipeline, {**HELLO, "temperature": 0.5})
    message = {"role": "assistant", "content": "model Hello there 0.5 False"}
    assert answer == {"message": message, "finish_reason": "stop"}
    assert events == []


@pytest.mark.parametrize(
    "method",
    [
        """
        def run_chat_completion(self, model, messages, body):
            yield "one "
            yield StreamingChunk(content="two ")
            yield {"choices": [{"delta": {"content": "three"}}]}
        """,
        """
        async def run_chat_completion_async(self, model, messages, body):
            for word in ("one ", "two ", "three"):
                await asyncio.sleep(0)
                yield word
        """,
        """
        async def run_chat_completion_async(self, model, messages, body):
            agent = Agent(chat_generator=MockChatGenerator("one two three"))
            given = {"messages": [ChatMessage.from_user("x")]}
            return async_streaming_generator(agent, pipeline_run_args=given)
        """,
    ],
)
async def test_streams_of_every_kind_are_told_in_pieces(tmp_path: Path, method: str) -> None:
    answer, events = await said(wrapped(tmp_path, method), HELLO)
    assert texts(events) == ["one ", "two ", "three"]
    assert answer["message"]["content"] == "one two three"


async def test_tools_that_an_agent_calls_itself_are_no_calls_for_the_client(tmp_path: Path) -> None:
    pipeline = wrapped(
        tmp_path,
        """
        def setup(self):
            self.pipeline = Agent(chat_generator=MockChatGenerator([CALL, "It is sunny."]), tools=[weather])

        def run_chat_completion(self, model, messages, body):
            given = [ChatMessage.from_openai_dict_format(message) for message in messages]
            return streaming_generator(self.pipeline, pipeline_run_args={"messages": given})
        """,
    )
    answer, events = await said(pipeline, HELLO)
    assert "".join(texts(events)) == "It is sunny."
    assert answer == {"message": {"role": "assistant", "content": "It is sunny."}, "finish_reason": "stop"}


async def test_calls_that_a_generator_leaves_to_its_client_are_given_with_the_reason(tmp_path: Path) -> None:
    pipeline = wrapped(
        tmp_path,
        """
        def run_chat_completion(self, model, messages, body):
            return MockChatGenerator([CALL]).run([])
        """,
    )
    answer, _ = await said(pipeline, HELLO)
    assert answer["message"]["content"] is None
    function = {"name": "weather", "arguments": '{"city": "Rome"}'}
    assert answer["message"]["tool_calls"] == [{"id": "c1", "type": "function", "function": function}]
    assert answer["finish_reason"] == "tool_calls"
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


async def test_calls_in_fragments_are_put_together(tmp_path: Path) -> None:
    pipeline = wrapped(
        tmp_path,
        """
        def run_chat_completion(self, model, messages, body):
            for piece in ('{"city"', ': "Rome"}'):
                delta = ToolCallDelta(index=0, tool_name="weather", arguments=piece, id="c1")
                yield StreamingChunk(content="", index=0, tool_calls=[delta])
            yield StreamingChunk(content="", finish_reason="tool_calls")
        """,
    )
    answer, _ = await said(pipeline, HELLO)
    assert answer["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "Rome"}'
    assert answer["finish_reason"] == "tool_calls"


async def test_reasoning_events_and_usage_go_beside_the_text(tmp_path: Path) -> None:
    pipeline = wrapped(
        tmp_path,
        """
        def run_chat_completion(self, model, messages, body):
            from hayhooks.open_webui import create_source_event, create_status_event
            yield create_status_event("Thinking", done=False)
            yield StreamingChunk(content="", index=0, reasoning=ReasoningContent("hm"))
            yield StreamingChunk(content="Yes.", finish_reason="length")
            yield StreamingChunk(content="", meta={"usage": {"input_tokens": 3, "output_tokens": 1}})
            yield create_source_event({"name": "book"})
        """,
    )
    answer, events = await said(pipeline, HELLO)
    asides = [event for event in events if isinstance(event, Aside)]
    assert [aside.display for aside in asides] == [
        {"type": "status", "data": {"description": "Thinking", "done": False, "hidden": False}},
        None,
        {"type": "source", "data": {"name": "book"}},
    ]
    assert asides[1].reasoning == answer["message"]["reasoning_content"] == "hm"
    assert answer["message"]["content"] == "Yes."
    assert answer["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] == 4


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("GeneratedAnswer('42', query='q', documents=[])", "42"),
        ("{'retriever': {'documents': []}, 'llm': {'replies': [ChatMessage.from_assistant('hi')]}}", "hi"),
        ("{'choices': [{'message': {'role': 'assistant', 'content': 'whole'}}], 'object': 'x'}", "whole"),
        ("{'rows': [1, 2], 'total': 3}", '{"rows":[1,2],"total":3}'),
        ("None", ""),
    ],
)
async def test_a_value_in_one_piece_says_what_its_answer_says(
    tmp_path: Path, value: str, content: str
) -> None:
    body = f"""
    def run_chat_completion(self, model, messages, body):
        return {value}
    """
    answer, _ = await said(wrapped(tmp_path, body), HELLO)
    assert answer["message"]["content"] == content


async def test_a_pipeline_with_one_text_to_give_takes_the_last_thing_the_user_said(tmp_path: Path) -> None:
    pipeline = wrapped(
        tmp_path,
        """
        async def run_api_async(self, question: str, top_k: int = 3) -> str:
            for word in (question, "!", str(top_k)):
                yield word
        """,
    )
    messages = [
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": [{"type": "text", "text": "Second"}]},
    ]
    answer, events = await said(pipeline, {"messages": messages})
    assert answer["message"]["content"] == "Second!3"
    assert texts(events) == ["Second", "!", "3"]
    with pytest.raises(Invalid, match="no message of the role `user`"):
        await said(pipeline, {"messages": messages[1:2]})


@pytest.mark.parametrize(
    "parameters",
    ["first: str, second: str", "count: int", "kind: Literal['a', 'b']", "blob: bytes", "x: str = ''"],
)
async def test_a_pipeline_without_one_open_text_is_no_model(tmp_path: Path, parameters: str) -> None:
    (tmp_path / "pipeline_wrapper.py").write_text(
        "from typing import Literal\nfrom mcp_server import PipelineWrapper as Base\n"
        f"class PipelineWrapper(Base):\n    def run_api(self, {parameters}) -> str:\n        return ''\n"
    )
    pipeline = load("plain", tmp_path)
    assert pipeline.manifest.verbs == ()
    with pytest.raises(Invalid, match="takes no chats"):
        await said(pipeline, HELLO)


@pytest.mark.parametrize(
    ("text", "content"),
    [(PROMPT, "Answer Hello there"), (GENERATOR, "Hello there"), (AGENT, "Hello there")],
)
async def test_a_yaml_of_a_generator_or_an_agent_is_a_model(tmp_path: Path, text: str, content: str) -> None:
    (tmp_path / "pipeline.yml").write_text(text)
    pipeline = load("model", tmp_path)
    assert pipeline.manifest.verbs == ("chat",)
    answer, events = await said(pipeline, HELLO)
    assert answer["message"]["content"] == content == "".join(texts(events))
    assert answer["usage"]["total_tokens"] > 0
    assert len(texts(events)) > 1


async def test_a_generator_hears_the_whole_conversation_and_sees_images(tmp_path: Path) -> None:
    pipeline = wrapped(
        tmp_path,
        """
        def run_api(self, messages: list[ChatMessage]) -> str:
            told = [(m.role.value, m.text, len(m.images), len(m.tool_calls)) for m in messages]
            return " | ".join(" ".join(map(str, each)) for each in told)
        """,
    )
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    answer, _ = await said(pipeline, {"messages": messages})
    assert answer["message"]["content"] == ("system Be kind. 0 0 | user What is it? 1 0 | assistant None 0 1")
    remote = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    with pytest.raises(Invalid, match="cannot be read"):
        await said(pipeline, {"messages": [{"role": "user", "content": [remote]}]})


async def test_input_items_reach_a_response_method_as_they_are_and_a_chat_method_as_messages(
    tmp_path: Path,
) -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Sum?"}]},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
        {"type": "reasoning", "summary": []},
    ]
    body = {"input": items, "instructions": "Be brief."}
    (tmp_path / "own").mkdir()
    own = wrapped(
        tmp_path / "own",
        """
        def run_response(self, model, input_items, body):
            return f"{len(input_items)} {input_items[0]['content'][0]['type']} {body['instructions']}"
        """,
    )
    answer, _ = await said(own, body)
    assert answer["message"]["content"] == "4 input_text Be brief."
    answer, _ = await said(own, {"input": "Hi", "instructions": "x"})
    assert answer["message"]["content"] == "1 input_text x"
    chat = wrapped(
        tmp_path,
        """
        def run_chat_completion(self, model, messages, body):
            return " ".join(f"{m['role']}:{m['content']}" for m in messages)
        """,
    )
    answer, _ = await said(chat, body)
    assert answer["message"]["content"] == "system:Be brief. user:Sum? assistant:None tool:3"
