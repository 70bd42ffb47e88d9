"""The OpenAI-compatible surface, with OpenAI's own client against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import openai
import pytest
from clients import Served, loaded, serve, until

from .conftest import WRAPPERS, wrapper

pytestmark = pytest.mark.anyio

LIMIT = 60.0
HELLO: Any = [{"role": "user", "content": "Hello!"}]
MORE = {
    "chat_pipeline": '''
        async def run_chat_completion_async(self, model: str, messages: list[dict], body: dict) -> str:
            """Answers.

            Args:
                messages: The conversation.
            """
            if body["stream"]:
                async def words():
                    for word in ("You ", "said: ", messages[-1]["content"]):
                        await asyncio.sleep(0.01)
                        yield word
                return words()
            return f"You said: {messages[-1]['content']} {body.get('temperature', '')}".strip()
    ''',
    "thinker": """
        def run_chat_completion(self, model, messages, body):
            from haystack.dataclasses import ReasoningContent, StreamingChunk, ToolCallDelta
            usage = {"prompt_tokens": 12, "completion_tokens": 20}
            yield StreamingChunk(content="", index=0, reasoning=ReasoningContent("Let me see. "))
            yield StreamingChunk(content="I will ")
            yield StreamingChunk(content="look.")
            for piece in ('{"city":', ' "Rome"}'):
                call = ToolCallDelta(index=0, tool_name="weather", arguments=piece, id="call_9")
                yield StreamingChunk(content="", index=1, tool_calls=[call])
            yield StreamingChunk(content="", finish_reason="tool_calls", meta={"usage": usage})
    """,
    "shows": """
        def run_chat_completion(self, model, messages, body):
            from hayhooks.open_webui import create_notification_event, create_status_event
            yield create_status_event("Searching")
            yield "found"
            yield create_notification_event("Done", "success")
    """,
    "waits": """
        async def run_chat_completion_async(self, model, messages, body):
            started, stopped = messages[-1]["content"].split("|")
            open(started, "w").close()
            try:
                while True:
                    yield "tick "
                    await asyncio.sleep(0.01)
            finally:
                open(stopped, "w").close()
    """,
    "fails": """
        def run_chat_completion(self, model, messages, body):
            if messages[-1]["content"] == "late":
                yield "so far"
            raise ValueError("the index is gone")
    """,
    "keeper": """
        kept = {}

        def run_api(self) -> str:
            return " ".join(self.kept)

        def run_file_upload(self, filename, content_type, content, purpose):
            if not content:
                raise ValueError("the file is empty")
            self.kept[filename] = content
            told = f"{purpose} {content_type}"
            return {"id": f"file-{len(self.kept)}", "filename": filename, "purpose": told}
    """,
    "asks": """
        def run_chat_completion(self, context: Context, model, messages, body):
            answer = context.ask("Sure?", {"type": "object", "properties": {"ok": {"type": "boolean"}}})
            return answer.action
    """,
}


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("pipelines")
    for name, body in ({"echo": WRAPPERS["echo"], "steps": WRAPPERS["steps"]} | MORE).items():
        (folder / name).mkdir()
        (folder / name / "pipeline_wrapper.py").write_text(wrapper(body))
    (folder / "generator.yml").write_text(
        "components:\n  llm:\n    type: haystack.components.generators.chat.mock.MockChatGenerator\n"
        "    init_parameters: {}\nconnections: []\n"
    )
    async with serve(folder) as running:
        await loaded(running.url)
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    http = openai.DefaultAsyncHttpxClient(trust_env=False, timeout=LIMIT)
    async with openai.AsyncOpenAI(
        base_url=f"{served.url}/v1", api_key="not-needed", http_client=http
    ) as opened:
        yield opened


async def test_the_models_are_the_pipelines_that_can_be_chatted_with(client: openai.AsyncOpenAI) -> None:
    models = [model async for model in client.models.list()]
    assert [model.id for model in models] == sorted([*MORE.keys() - {"keeper"}, "echo", "generator"])
    model = await client.models.retrieve("chat_pipeline")
    assert (model.object, model.created > 0) == ("model", True)
    for name in ("steps", "nowhere"):
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve(name)
        assert caught.value.code == "model_not_found"


async def test_a_completion_is_whole_and_the_rest_of_the_request_reaches_the_wrapper(
    client: openai.AsyncOpenAI,
) -> None:
    answer = await client.chat.completions.create(model="chat_pipeline", messages=HELLO, temperature=0.7)
    assert (answer.object, answer.model) == ("chat.completion", "chat_pipeline")
    assert answer.choices[0].message.content == "You said: Hello! 0.7"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is None


async def test_a_stream_has_role_deltas_reason_and_end(served: Served, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="chat_pipeline", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content for chunk in chunks]
    assert "".join(filter(None, texts)) == "You said: Hello!"
    assert len([*filter(None, texts)]) == 3
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    body = {"model": "chat_pipeline", "messages": HELLO, "stream": True}
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as http:
        raw = await http.post("/chat/completions", json=body)
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert raw.headers["x-pipeline-run-id"] in raw.text
    assert raw.text.endswith("data: [DONE]\n\n")


async def test_calls_of_tools_reasoning_and_usage_come_along(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="thinker", messages=HELLO)
    message: Any = whole.choices[0].message
    assert (message.content, message.reasoning_content) == ("I will look.", "Let me see. ")
    assert message.tool_calls[0].function.arguments == '{"city": "Rome"}'
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.usage is not None
    assert whole.usage.total_tokens == 32
    stream = await client.chat.completions.create(
        model="thinker", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas: list[Any] = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert [getattr(delta, "reasoning_content", None) for delta in deltas][1] == "Let me see. "
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [(call.index, call.id, call.function.name) for call in calls] == [(0, "call_9", "weather")]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 12
    assert chunks[-2].choices[0].finish_reason == "tool_calls"


async def test_clients_put_the_streamed_message_together_by_themselves(client: openai.AsyncOpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": {}, "strict": True}}
    async with client.chat.completions.stream(model="thinker", messages=HELLO, tools=[tool]) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "I will look."
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.arguments == '{"city": "Rome"}'


async def test_events_for_a_chat_window_are_items_of_the_stream(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="shows", messages=HELLO, stream=True)
    chunks: list[Any] = [chunk async for chunk in stream]
    shown = [chunk.event for chunk in chunks if hasattr(chunk, "event")]
    assert shown == [
        {"type": "status", "data": {"description": "Searching", "done": False, "hidden": False}},
        {"type": "notification", "data": {"type": "success", "content": "Done"}},
    ]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "found"


async def test_pipelines_without_a_chat_method_get_the_last_words_or_all_messages(
    client: openai.AsyncOpenAI,
) -> None:
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "in parts"}]}]
    for model in ("echo", "generator"):
        answer = await client.chat.completions.create(model=model, messages=parts)
        assert answer.choices[0].message.content == "in parts"
    stream = await client.chat.completions.create(model="generator", messages=parts, stream=True)
    texts = [chunk.choices[0].delta.content async for chunk in stream]
    assert [*filter(None, texts)] == ["in ", "parts"]


async def test_a_response_is_whole_or_comes_as_events(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model="chat_pipeline", input="Hi", instructions="Be kind.")
    assert (answer.output_text, answer.status) == ("You said: Hi", "completed")
    items: Any = [{"role": "user", "content": [{"type": "input_text", "text": "Item"}]}]
    answer = await client.responses.create(model="echo", input=items)
    assert answer.output_text == "Item"
    events = [e async for e in await client.responses.create(model="thinker", input="Hi", stream=True)]
    assert [event.sequence_number for event in events] == [*range(len(events))]
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == 3
    last: Any = events[-1]
    whole = await client.responses.create(model="thinker", input="Hi")
    for made in (last.response, whole):
        assert [item.type for item in made.output] == ["reasoning", "message", "function_call"]
        assert made.output_text == "I will look."
        assert made.output[2].arguments == '{"city": "Rome"}'
        assert made.usage.total_tokens == 32
    async with client.responses.stream(model="thinker", input="Hi") as stream:
        assert (await stream.get_final_response()).output_text == "I will look."


@pytest.mark.parametrize("model", ["nowhere", "steps", "echo@7", "echo@x", "echo@"])
async def test_what_is_no_model_is_not_found(client: openai.AsyncOpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model=model, messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.type == "invalid_request_error"


async def test_a_model_may_name_its_version(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="echo@1", messages=HELLO)
    assert (answer.model, answer.choices[0].message.content) == ("echo@1", "Hello!")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"model": "echo"}, "messages"),
        ("/v1/chat/completions", {"model": "echo", "messages": []}, "messages"),
        ("/v1/chat/completions", {"model": "echo", "messages": ["hi"]}, "messages"),
        ("/v1/chat/completions", {"messages": HELLO}, "model"),
        ("/v1/chat/completions", {"model": 7, "messages": HELLO}, "model"),
        ("/v1/chat/completions", {"model": "echo", "messages": HELLO, "stream": "yes"}, "stream"),
        ("/v1/chat/completions", {"model": "echo", "messages": [{"role": "system", "content": "x"}]}, None),
        ("/v1/chat/completions", {"model": "generator", "messages": [{"role": "user"}]}, None),
        ("/v1/chat/completions", {"model": "echo", "messages": [{"content": "x"}]}, "messages"),
        ("/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": 5}]}, "messages"),
        ("/v1/chat/completions", {"model": "echo", "messages": [{"role": "u", "content": [5]}]}, "messages"),
        ("/v1/responses", {"model": "echo", "input": [{"role": "user", "content": [None]}]}, "input"),
        ("/v1/responses", {"model": "echo", "input": [{"role": "user", "content": [{"text": 5}]}]}, None),
        ("/v1/chat/completions", [], None),
        ("/v1/responses", {"model": "echo"}, "input"),
        ("/v1/responses", {"model": "echo", "input": ""}, "input"),
        ("/echo/chat", {}, "messages"),
    ],
)
async def test_what_the_client_has_to_mend_is_400(
    served: Served, path: str, body: object, param: str | None
) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as http:
        answer = await http.post(path, json=body)
    error = answer.json()["error"]
    assert answer.status_code == 400, error
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_the_path_may_name_the_model_and_v1_may_be_left_out(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as http:
        named = await http.post("/chat_pipeline/chat", json={"messages": HELLO})
        assert named.json()["choices"][0]["message"]["content"] == "You said: Hello!"
        assert named.json()["model"] == "chat_pipeline"
        for path in ("/models", "/models/echo", "/v1/models/echo"):
            assert (await http.get(path)).status_code == 200
        assert {*(await http.get("/chat/completions")).headers["allow"].split(", ")} == {"OPTIONS", "POST"}
        plain = await http.post("/responses", json={"model": "echo", "input": "Hi"})
        assert plain.json()["output"][0]["content"][0]["text"] == "Hi"


async def test_a_pipeline_that_fails_at_once_is_500_and_is_not_tried_again(
    served: Served, client: openai.AsyncOpenAI
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError, match="the index is gone") as caught:
            await client.chat.completions.create(model="fails", messages=HELLO, stream=stream)
        assert caught.value.code == "pipeline_failed"
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as http:
        assert (await http.get("/status/fails")).json()["errors"] == 2


async def test_a_failure_on_the_way_ends_the_stream_with_an_error(client: openai.AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "late"}]
    said: list[str | None] = []
    with pytest.raises(openai.APIError, match="the index is gone"):
        stream = await client.chat.completions.create(model="fails", messages=messages, stream=True)
        async for chunk in stream:
            said.append(chunk.choices[0].delta.content)
    assert "so far" in said
    events = [e async for e in await client.responses.create(model="fails", input="late", stream=True)]
    last: Any = events[-1]
    assert (last.type, last.response.error.code) == ("response.failed", "pipeline_failed")


async def test_a_question_is_told_with_the_run_that_waits_for_its_answer(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.ConflictError, match="Sure") as caught:
        await client.chat.completions.create(model="asks", messages=HELLO)
    assert caught.value.code == "input_required"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_run(
    client: openai.AsyncOpenAI, tmp_path: Path, stream: bool
) -> None:
    started, stopped = anyio.Path(tmp_path / "started"), anyio.Path(tmp_path / "stopped")
    messages: Any = [{"role": "user", "content": f"{started}|{stopped}"}]

    async def listen() -> None:
        answer = await client.chat.completions.create(model="waits", messages=messages, stream=stream)
        async for _ in answer:  # pyright: ignore
            pass

    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen())
        await until(started.exists, LIMIT)
        listening.cancel()
    await until(stopped.exists, LIMIT)


async def test_fifty_at_once_each_get_their_own(client: openai.AsyncOpenAI) -> None:
    async def chat(number: int) -> str:
        messages: Any = [{"role": "user", "content": f"number {number}"}]
        if number % 2:
            whole = await client.chat.completions.create(model="chat_pipeline", messages=messages)
            return whole.choices[0].message.content or ""
        stream = await client.chat.completions.create(model="chat_pipeline", messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    with anyio.fail_after(LIMIT):
        answers = await asyncio.gather(*(chat(number) for number in range(50)))
    assert answers == [f"You said: number {number}" for number in range(50)]


async def test_chats_are_recorded_as_runs_of_their_pipeline(
    served: Served, client: openai.AsyncOpenAI
) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="echo", messages=HELLO)
    identity = raw.headers["x-pipeline-run-id"]
    async with served.client() as mcp:
        shown: Any = (await mcp.call_tool("get_run", {"run_id": identity})).structured_content
    assert (shown["pipeline"], shown["status"]) == ("echo", "done")


async def test_a_file_goes_to_the_pipeline_that_keeps_files(
    served: Served, client: openai.AsyncOpenAI
) -> None:
    file = await client.files.create(file=("notes.txt", b"some text"), purpose="user_data")
    assert (file.id, file.filename, file.bytes) == ("file-1", "notes.txt", 9)
    assert (file.object, file.status, file.purpose) == ("file", "processed", "user_data text/plain")
    with pytest.raises(openai.InternalServerError, match="the file is empty"):
        await client.files.create(file=("empty.txt", b""), purpose="user_data")
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as http:
        assert (await http.post("/keeper/run", json={})).json() == {"result": "notes.txt"}
        for form in ({"data": {"purpose": "x"}}, {"json": {}}):
            answer = await http.post("/v1/files", **form)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
        other = await http.post("/files", data={"model": "echo"}, files={"file": ("a.txt", b"a")})
        assert (other.status_code, other.json()["error"]["code"]) == (404, "model_not_found")

    async def gone() -> bool:
        return not [path for path in (served.state / "uploads").glob("*/*") if path.is_dir()]

    await until(gone, LIMIT)
