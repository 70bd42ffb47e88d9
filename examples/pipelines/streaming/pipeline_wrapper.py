"""A pipeline that streams: what the generator says is passed on while it speaks.

For a real model put `OpenAIChatGenerator()` in place of the mock.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from haystack import Pipeline
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage
from pydantic import Field

from mcp_server import PipelineWrapper as BasePipelineWrapper

PROMPT = "Count down from {{ start }} to the launch of {{ name }}."


def countdown(messages: list[ChatMessage]) -> str:
    """Stands in for a model that understands the prompt."""
    words = messages[-1].text.split()
    start, name = int(words[3]), " ".join(words[8:]).rstrip(".")
    return f"{' … '.join(str(number) for number in range(start, 0, -1))} … {name} has lifted off!"


class PipelineWrapper(BasePipelineWrapper):
    title = "Count down"
    read_only = True
    idempotent = True
    open_world = False

    def setup(self) -> None:
        self.pipeline = Pipeline()
        self.pipeline.add_component("prompt", ChatPromptBuilder([ChatMessage.from_user(PROMPT)]))
        self.pipeline.add_component("llm", MockChatGenerator(response_fn=countdown))
        self.pipeline.connect("prompt.prompt", "llm.messages")

    async def run_api_async(
        self, name: str = "Ariane 6", start: Annotated[int, Field(ge=1, le=1000)] = 10
    ) -> AsyncIterator[str]:
        """Count down to a launch, number by number.

        Args:
            name: What is launched.
            start: The number to begin with.
        """
        stream = self.pipeline.stream({"prompt": {"name": name, "start": start}})
        async for chunk in stream:
            yield chunk.content
