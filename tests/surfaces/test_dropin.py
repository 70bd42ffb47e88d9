"""A folder that was written for Hayhooks is served as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
from clients import Served, loaded, serve

pytestmark = pytest.mark.anyio

LIMIT = 60.0
FILES = {
    "my_pipeline/pipeline_wrapper.py": """
import time
from pathlib import Path
from typing import Generator, List, Union
from haystack import Pipeline
from hayhooks import log
from hayhooks.server.pipelines.utils import get_last_user_message, streaming_generator
from hayhooks.server.utils.base_pipeline_wrapper import BasePipelineWrapper
from shared_code import greeting

class PipelineWrapper(BasePipelineWrapper):
    def setup(self) -> None:
        self.pipeline = Pipeline.loads((Path(__file__).parent / "pipeline.yml").read_text())

    def run_api(self, query: str, temperature: float = 0.0) -> str:
        started = time.time()
        log.info({"event": "pipeline_start", "pipeline": "my_pipeline", "query_len": len(query)})
        result = self.pipeline.run({"llm": {"messages": query}})
        log.info({"event": "pipeline_complete", "duration_s": round(time.time() - started, 3)})
        return greeting + result["llm"]["replies"][0].text

    def run_chat_completion(self, model: str, messages: List[dict], body: dict) -> Union[str, Generator]:
        question = get_last_user_message(messages)
        return streaming_generator(
            pipeline=self.pipeline, pipeline_run_args={"llm": {"messages": question}}
        )
""",
    "my_pipeline/pipeline.yml": """
components:
  llm:
    type: haystack.components.generators.chat.mock.MockChatGenerator
    init_parameters: {}
connections: []
""",
    "chat_pipeline/pipeline_wrapper.py": """
from typing import AsyncGenerator
from haystack.components.agents import Agent
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage
from hayhooks import BasePipelineWrapper, async_streaming_generator
from hayhooks.open_webui import OpenWebUIEvent, create_status_event
from hayhooks.callbacks import default_on_tool_call_end, default_on_tool_call_start

class PipelineWrapper(BasePipelineWrapper):
    skip_mcp = True

    def setup(self) -> None:
        self.agent = Agent(chat_generator=MockChatGenerator())

    async def run_api_async(self, query: str) -> str:
        result = await self.agent.run_async(messages=[ChatMessage.from_user(query)])
        return result["last_message"].text

    async def run_chat_completion_async(
        self, model: str, messages: list[dict], body: dict
    ) -> AsyncGenerator[str, None]:
        return async_streaming_generator(
            pipeline=self.agent,
            pipeline_run_args={"messages": [ChatMessage.from_openai_dict_format(each) for each in messages]},
            on_tool_call_start=default_on_tool_call_start,
            on_tool_call_end=default_on_tool_call_end,
        )
""",
    "question_answer.yml": """
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
inputs:
  question: prompt.question
outputs:
  replies: llm.replies
""",
}


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder, shared = tmp_path_factory.mktemp("pipelines"), tmp_path_factory.mktemp("shared")
    for path, text in FILES.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    (shared / "shared_code.py").write_text("greeting = 'Well: '\n")
    async with serve(folder, "--python-path", str(shared), "--log-level", "info") as running:
        await loaded(running.url)
        yield running


async def test_openai_chats_with_wrappers_and_yamls(served: Served) -> None:
    http = openai.DefaultAsyncHttpxClient(trust_env=False, timeout=LIMIT)
    async with openai.AsyncOpenAI(
        base_url=f"{served.url}/v1", api_key="not-needed", http_client=http
    ) as client:
        models = [model.id async for model in client.models.list()]
        assert models == ["chat_pipeline", "my_pipeline", "question_answer"]
        said: dict[str, str] = {}
        for model in models:
            stream = await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "What is it?"}], stream=True
            )
            said[model] = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert said == {
        "chat_pipeline": "What is it?",
        "my_pipeline": "What is it?",
        "question_answer": "Answer What is it?",
    }


async def test_what_skips_mcp_is_no_tool_and_dicts_are_logged_as_json(served: Served) -> None:
    async with served.client() as mcp:
        names = {tool.name for tool in (await mcp.list_tools()).tools}
        answer = await mcp.call_tool("my_pipeline", {"query": "hi"})
    assert "chat_pipeline" not in names
    assert {"my_pipeline", "question_answer"} <= names
    assert answer.structured_content == {"result": "Well: hi"}
    assert '{"event": "pipeline_start", "pipeline": "my_pipeline", "query_len": 2}' in served.log.read_text()
