"""An agent that asks before it acts: no message leaves without a person's word.

`AskUser` is all it takes. The model is a mock, so that it runs without a key; for a real one put
`OpenAIChatGenerator()` in its place: the rest stays.
"""

import re
from dataclasses import dataclass
from typing import Annotated

from haystack.components.agents import Agent
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage, ToolCall
from haystack.hooks.human_in_the_loop import ConfirmationHook
from haystack.tools import tool

from mcp_server import AskUser
from mcp_server import PipelineWrapper as BasePipelineWrapper


@tool
def send_message(to: Annotated[str, "Who gets it"], text: Annotated[str, "What to say"]) -> str:
    """Send a message to somebody."""
    return f"Told {to}: {text}"  # a real one would send it here


def think(messages: list[ChatMessage]) -> str | ChatMessage:
    """Stands in for a model: sends what it is told to, then reports what came of it."""
    last = messages[-1]
    if result := last.tool_call_result:
        return str(result.result)
    if found := re.match(r"tell (\w+) (?:that )?(.+)", last.text or "", re.IGNORECASE):
        call = ToolCall("send_message", {"to": found[1], "text": found[2]})
        return ChatMessage.from_assistant(tool_calls=[call])
    return 'Ask me to tell somebody something: "Tell Ada that lunch is at noon."'


@dataclass
class Outcome:
    """What the agent said, and whether a message left."""

    answer: str
    sent: bool


class PipelineWrapper(BasePipelineWrapper):
    title = "Ask the assistant"
    destructive = False
    open_world = True

    def setup(self) -> None:
        self.pipeline = Agent(
            chat_generator=MockChatGenerator(response_fn=think),
            tools=[send_message],
            hooks={"before_tool": [ConfirmationHook({"send_message": AskUser()})]},
        )

    def run_api(self, request: str) -> Outcome:
        """Send a message to somebody, once you have confirmed or changed it.

        Args:
            request: Such as "Tell Ada that lunch is at noon."
        """
        said = self.pipeline.run(messages=[ChatMessage.from_user(request)])
        results = [message.tool_call_result for message in said["messages"] if message.tool_call_result]
        return Outcome(said["last_message"].text, sent=any(not result.error for result in results))
