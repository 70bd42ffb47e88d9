"""Prompts: those of pipelines and the server's own, for clients of both protocol eras."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from clients import Mode, Served
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.shared.exceptions import MCPError

from .conftest import wrapper

pytestmark = pytest.mark.anyio

LETTERS = '''
    from typing import Literal
    from haystack.dataclasses import ChatMessage
    from mcp_server import prompt

    def run_api(self) -> str:
        """Writes letters."""
        return "Dear"

    @prompt(title="A letter")
    def letter(self, to: str, tone: Literal["kind", "strict"] = "kind") -> list[ChatMessage]:
        """Write a letter.

        Args:
            to: Who gets it.
        """
        asked, begun = f"A {tone} letter to {to}.", "Dear"
        return [self.ChatMessage.from_user(asked), self.ChatMessage.from_assistant(begun)]

    @prompt()
    async def signature(self, context: Context) -> str:
        """Asks who signs."""
        form = {"type": "object", "properties": {"name": {"type": "string"}}}
        answer = await context.ask("Who signs?", form)
        return f"Signed {answer.value['name']}"

    @prompt()
    def broken(self) -> str:
        raise ValueError("out of paper")
'''
CHAT = """
components:
  builder:
    type: haystack.components.builders.chat_prompt_builder.ChatPromptBuilder
    init_parameters:
      template: [{role: user, content: [{text: "Tell me about {{ topic }}."}]}]
connections: []
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    (made / "letters").mkdir()
    (made / "letters" / "pipeline_wrapper.py").write_text(wrapper(LETTERS))
    (made / "teller.yml").write_text(CHAT)
    return made


@pytest.fixture(scope="module", params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


async def sign(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ada"})


@pytest.fixture(scope="module")
async def client(served: Served, mode: Mode) -> AsyncIterator[Client]:
    async with served.client("http", mode, elicitation_callback=sign) as connected:
        yield connected


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(60):
        yield


def said(result: types.GetPromptResult) -> list[tuple[str, str]]:
    """Role and text of each message."""
    return [
        (each.role, each.content.text)
        for each in result.messages
        if isinstance(each.content, types.TextContent)
    ]


async def test_prompts_are_listed_with_their_arguments_the_servers_first(client: Client) -> None:
    prompts = (await client.list_prompts()).prompts
    assert [prompt.name for prompt in prompts] == [
        *("write_pipeline", "letter", "signature", "broken", "teller")
    ]
    letter = prompts[1]
    assert (letter.title, letter.description) == ("A letter", "Write a letter.")
    assert letter.arguments is not None
    assert [(each.name, each.description, each.required) for each in letter.arguments] == [
        ("to", "Who gets it.", True),
        ("tone", None, False),
    ]


async def test_the_list_says_how_long_it_may_be_kept(served: Served) -> None:
    async with served.client("http", "auto") as client:
        listed = await client.list_prompts()
    assert (listed.ttl_ms, listed.cache_scope) == (0, "public")


async def test_a_prompt_gives_its_messages_and_description(client: Client) -> None:
    letter = await client.get_prompt("letter", {"to": "Bob", "tone": "strict"})
    assert letter.description == "Write a letter."
    assert said(letter) == [("user", "A strict letter to Bob."), ("assistant", "Dear")]


async def test_the_template_of_a_chat_pipeline_is_a_prompt(client: Client) -> None:
    assert said(await client.get_prompt("teller", {"topic": "tea"})) == [("user", "Tell me about tea.")]


async def test_a_prompt_may_ask_who_wants_it(client: Client) -> None:
    assert said(await client.get_prompt("signature")) == [("user", "Signed Ada")]


async def test_a_client_that_cannot_be_asked_is_told_so(served: Served, mode: Mode) -> None:
    async with served.client("http", mode) as client:
        with pytest.raises(MCPError, match="can be asked"):
            await client.get_prompt("signature")


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("nothing", {}, "Unknown prompt: nothing"),
        ("letters", {}, "Unknown prompt: letters"),
        ("letter", {}, "`to`"),
        ("letter", {"to": "Bob", "tone": "rude"}, "`tone`"),
        ("letter", {"to": "Bob", "from": "Eve"}, "`from`"),
        ("write_pipeline", {}, "`task`"),
    ],
)
async def test_what_does_not_fit_a_prompt_is_refused(
    client: Client, name: str, arguments: dict[str, str], text: str
) -> None:
    with pytest.raises(MCPError, match=text) as refused:
        await client.get_prompt(name, arguments)
    assert refused.value.error.code == types.INVALID_PARAMS


async def test_a_prompt_that_fails_is_an_error_with_its_reason(client: Client) -> None:
    with pytest.raises(MCPError, match="out of paper") as failed:
        await client.get_prompt("broken")
    assert failed.value.error.code == types.INTERNAL_ERROR


async def test_the_pipeline_that_write_pipeline_teaches_can_be_deployed_and_called(
    client: Client, mode: Mode
) -> None:
    name = f"notes-{mode}"
    ((role, text),) = said(await client.get_prompt("write_pipeline", {"task": "Find notes.", "name": name}))
    assert role == "user" and "Task: Find notes." in text and f"Name: {name}" in text
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    deployed = await client.call_tool(
        "deploy_pipeline", {"name": name, "files": {"pipeline_wrapper.py": code}}
    )
    assert not deployed.is_error, deployed.content
    assert deployed.structured_content is not None
    assert deployed.structured_content["pipeline"]["warnings"] == []
    found = await client.call_tool(name, {"question": "When are invoices paid?", "top_k": 1})
    assert found.structured_content is not None
    assert found.structured_content["result"][0]["text"] == "Invoices are paid within 30 days."


async def test_write_pipeline_names_only_what_the_contract_has(client: Client) -> None:
    ((_, text),) = said(await client.get_prompt("write_pipeline", {"task": "Anything with {braces}."}))
    assert "Anything with {braces}." in text
    assert '{"pipeline_wrapper.py": "…"}' in text and "notes://{number}" in text
    assert len(text.encode()) < 6000
