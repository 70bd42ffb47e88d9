"""Completions: of prompts' arguments, of templates' variables, of the server's own templates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from clients import Mode, Served
from mcp import Client
from mcp.shared.exceptions import MCPError

from .conftest import wrapper

pytestmark = pytest.mark.anyio

OLD_SOURCE = "pipeline://{name}/versions/{version}/source/{+path}"
LETTERS = '''
    from typing import Literal
    from mcp_server import completion, prompt, resource

    def run_api(self) -> str:
        """Writes letters."""
        return "Dear"

    @prompt()
    def letter(self, to: str, tone: Literal["kind", "strict"] = "kind") -> str:
        return f"A {tone} letter to {to}."

    @completion("letter", "to")
    def people(self, value: str, given: dict[str, str]) -> list[str]:
        return [f"{value}{number} ({given.get('tone', 'any')})" for number in range(150)]

    @resource("letters://{year}")
    def letters(self, year: str) -> str:
        return year

    @completion("letters://{year}", "year")
    async def years(self, value: str) -> list[int]:
        return [2025, 2026]
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    for name in ("letters", "letters-old", "other"):
        (made / name).mkdir()
        body = LETTERS if name == "letters" else 'def run_api(self) -> str:\n    """."""\n    return ""\n'
        (made / name / "pipeline_wrapper.py").write_text(wrapper(body))
    (made / "letters" / "note.txt").write_text("a note")
    return made


@pytest.fixture(scope="module", params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.fixture(scope="module")
async def client(served: Served, mode: Mode) -> AsyncIterator[Client]:
    async with served.client("http", mode) as connected:
        yield connected


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(60):
        yield


def reference(of: str) -> types.PromptReference | types.ResourceTemplateReference:
    return types.ResourceTemplateReference(uri=of) if ":" in of else types.PromptReference(name=of)


async def completed(
    client: Client, of: str, argument: str, value: str, given: dict[str, str] | None = None
) -> types.Completion:
    asked = {"name": argument, "value": value}
    return (await client.complete(reference(of), asked, given)).completion


@pytest.mark.parametrize(
    ("of", "name", "value", "given", "values"),
    [
        ("letter", "tone", "s", {}, ["strict"]),
        ("letter", "tone", "x", {}, []),
        ("letters://{year}", "year", "20", {}, ["2025", "2026"]),
        ("pipeline://{name}", "name", "LET", {}, ["letters", "letters-old"]),
        ("pipeline://{name}/diagram", "name", "the", {}, ["other"]),
        ("pipeline://{name}/versions/{version}", "version", "", {"name": "letters"}, ["1"]),
        ("pipeline://{name}/source/{+path}", "path", "note", {"name": "letters"}, ["note.txt"]),
        (OLD_SOURCE, "version", "", {"name": "letters"}, ["1"]),
        (OLD_SOURCE, "path", "note", {"name": "letters", "version": "1"}, ["note.txt"]),
        (OLD_SOURCE, "path", "", {"name": "letters", "version": "7"}, []),
        ("pipeline://{name}/source/{+path}", "path", "", {"name": "nowhere"}, []),
        ("pipeline://{name}/source/{+path}", "path", "", {}, []),
        ("run://{run_id}", "run_id", "", {}, []),
        ("write_pipeline", "name", "", {}, []),
    ],
)
async def test_values_are_offered_that_fit_what_was_typed(
    client: Client, of: str, name: str, value: str, given: dict[str, str], values: list[str]
) -> None:
    assert (await completed(client, of, name, value, given)).values == values


async def test_at_most_a_hundred_values_are_given_and_the_rest_is_counted(client: Client) -> None:
    completion = await completed(client, "letter", "to", "A", {"tone": "kind"})
    assert completion.values == [f"A{number} (kind)" for number in range(100)]
    assert (completion.total, completion.has_more) == (150, True)


@pytest.mark.parametrize(
    ("of", "name"), [("nothing", "to"), ("letter", "from"), ("nothing://{year}", "year"), ("letters", "x")]
)
async def test_what_is_not_there_cannot_be_completed(client: Client, of: str, name: str) -> None:
    with pytest.raises(MCPError) as refused:
        await completed(client, of, name, "")
    assert refused.value.error.code == types.INVALID_PARAMS
