"""A Haystack agent with two tools.

The model is a mock that knows when to call which tool, so that it runs without a key. For a real one put
`OpenAIChatGenerator()` in its place: the rest stays.
"""

import ast
import operator
import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from haystack.components.agents import Agent
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage, ToolCall
from haystack.tools import tool

from mcp_server import PipelineWrapper as BasePipelineWrapper

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}
DATE = r"\d{4}-\d{2}-\d{2}"
SUM = r"[\d(][\d\s.+*/()-]*[\d)]"


@tool
def calculate(expression: Annotated[str, "Numbers with + - * / and parentheses"]) -> str:
    """Work out an arithmetic expression."""
    return f"{value(ast.parse(expression, mode='eval').body):g}"


@tool
def days_between(first: Annotated[str, "YYYY-MM-DD"], last: Annotated[str, "YYYY-MM-DD"]) -> str:
    """Count the days from one date to another."""
    return str((date.fromisoformat(last) - date.fromisoformat(first)).days)


def value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](value(node.left), value(node.right))
    raise ValueError("only numbers, + - * / and parentheses")


def think(messages: list[ChatMessage]) -> str | ChatMessage:
    """Stands in for a model: calls the tool that the question needs, then answers with its result."""
    last = messages[-1]
    if result := last.tool_call_result:
        if result.error:
            return f"That did not work: {result.result.rpartition('Error: ')[2]}."
        return f"The answer is {result.result}."
    if len(dates := re.findall(DATE, last.text or "")) == 2:
        call = ToolCall("days_between", {"first": dates[0], "last": dates[1]})
    elif found := re.search(SUM, last.text or ""):
        call = ToolCall("calculate", {"expression": found[0]})
    else:
        return "Ask me for a sum, or for the days between two dates (YYYY-MM-DD)."
    return ChatMessage.from_assistant(tool_calls=[call])


@dataclass
class Use:
    """One use of a tool."""

    tool: str
    arguments: dict[str, Any]
    result: str


@dataclass
class Answer:
    """What the agent said, and how it came to it."""

    answer: str
    tools_used: list[Use]


class PipelineWrapper(BasePipelineWrapper):
    title = "Ask the agent"
    read_only = True
    idempotent = True
    open_world = False

    def setup(self) -> None:
        self.pipeline = Agent(
            chat_generator=MockChatGenerator(response_fn=think), tools=[calculate, days_between]
        )

    def run_api(self, question: str) -> Answer:
        """Answer a question with the help of a calculator and a calendar.

        Args:
            question: Such as "How much is 12 * (3 + 4)?" or "How many days from 2024-01-01 to 2024-12-24?".
        """
        said = self.pipeline.run(messages=[ChatMessage.from_user(question)])
        results = [message.tool_call_result for message in said["messages"] if message.tool_call_result]
        used = [Use(done.origin.tool_name, done.origin.arguments, str(done.result)) for done in results]
        return Answer(said["last_message"].text, used)
