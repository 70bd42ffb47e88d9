"""The documents tell the truth: every setting, command, flag, route and tool is in them, as it is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import anyio
import click
import pytest
from clients import loaded, serve
from starlette.routing import Mount, Route

from mcp_server.app import create_app
from mcp_server.cli.commands import program
from mcp_server.settings import Settings
from mcp_server.surfaces.management import TOOLS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "examples"
SHORT = "01a1…"
"""How the documents write the id of a run."""


def test_the_table_of_settings_is_the_settings() -> None:
    rows = [
        f"| `{name}` | {displayed(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    table = re.findall(r"^\| `[a-z_]+` \| .*$", SETTINGS, re.MULTILINE)
    assert table == rows


def displayed(default: object) -> str:
    """A default as the table shows it."""
    if default in (None, (), ""):
        return "–"
    return f"`{str(default).lower()}`" if isinstance(default, bool) else f"`{default}`"


def commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Every command by what is typed for it."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        inner = commands(command, f"{prefix}{name} ") if isinstance(command, click.Group) else {}
        found |= inner or {f"{prefix}{name}": command}
    return found


@pytest.mark.parametrize("command", sorted(commands(program)))
def test_every_command_is_shown(command: str) -> None:
    assert f"mcp-server {command}" in DOCUMENTS


def test_every_flag_that_is_no_setting_is_explained() -> None:
    flags = {
        flag
        for command in commands(program).values()
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name not in Settings.model_fields
        for flag in parameter.opts
        if flag.startswith("--")
    }
    assert {flag for flag in flags if f"`{flag}" not in DOCUMENTS} <= {"--directory"}  # shown as -C


@pytest.mark.anyio
async def test_every_route_is_named(tmp_path: Path) -> None:
    app = create_app(Settings(folder=tmp_path, state=tmp_path / "state"))
    async with app.router.lifespan_context(app):
        paths = {route.path.rstrip("/") for route in app.routes if isinstance(route, Route | Mount)}
    shown = {path for path in paths if path.removeprefix("/api") in DOCUMENTS or path in DOCUMENTS}
    assert paths - shown == set()


@pytest.mark.parametrize("name", [tool["name"] for tool in TOOLS])
def test_every_management_tool_is_shown_with_its_arguments(name: str) -> None:
    arguments = next(tool["inputSchema"]["properties"] for tool in TOOLS if tool["name"] == name)
    assert f"`{name}" in DOCUMENTS
    for argument in arguments:
        assert argument in DOCUMENTS


def test_every_example_has_its_line() -> None:
    folders = [path.name for path in sorted((EXAMPLES / "pipelines").iterdir()) if path.is_dir()]
    assert folders
    assert [name for name in folders if f"`{name}`" not in README] == []


def anchors(page: Path) -> set[str]:
    """What a link to the page may end with after `#`: its headings as they are turned into ids."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_and_headings_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_the_two_commands_of_a_newcomer_come_first_and_are_one_line_each() -> None:
    first, second = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2]
    assert first.count("\n") == second.count("\n") == 1
    assert first.rstrip().endswith("mcp-server run examples/pipelines")
    assert "/pytest " in second


def section(title: str) -> str:
    """The text under a heading of the documents."""
    found = re.split(rf"^##? {re.escape(title)}\n", DOCUMENTS, flags=re.MULTILINE)
    assert len(found) == 2, f"one heading {title!r} is meant"
    return re.split(r"^##? ", found[1], maxsplit=1, flags=re.MULTILINE)[0]


def calls(text: str) -> list[tuple[str, str, str]]:
    """The calls shown in it: tool, arguments, answer."""
    return re.findall(r"^(\w+) (\{.*\})\n→ (.*)$", text, re.MULTILINE)


def deploy(folder: Path, name: str, title: str) -> None:
    """Put the first wrapper of a section into the folder."""
    (folder / name).mkdir()
    wrapper = re.findall(r"```python\n(.*?)```", section(title), re.DOTALL)[0]
    (folder / name / "pipeline_wrapper.py").write_text(wrapper)


def test_every_management_tool_is_called() -> None:
    assert {name for name, _, _ in calls(DOCUMENTS)} > {tool["name"] for tool in TOOLS}


@pytest.mark.anyio
async def test_the_first_wrapper_is_answered_as_the_readme_says(tmp_path: Path) -> None:
    deploy(tmp_path, "greet", "Write a pipeline")
    answer = json.loads(re.findall(r"```json\n(.*?)```", section("Write a pipeline"), re.DOTALL)[0])
    async with serve(tmp_path) as served, served.client() as client:
        greeted = await client.call_tool("greet", {"key": "ada"})
        assert_holds(greeted.model_dump(by_alias=True), answer)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "title",
    [
        "Circuit breakers",
        "Ask a person",
        "Change it while it runs",
        "Versions, promote, roll back",
        "Call by call",
        "Many pipelines",
        "Webhooks",
    ],
)
async def test_the_calls_in_the_documents_are_answered_as_they_say(title: str, tmp_path: Path) -> None:
    if title == "Ask a person":
        deploy(tmp_path, "book", title)
    else:
        deploy(tmp_path, "greet", "Write a pipeline")
    run = SHORT
    async with serve(tmp_path) as served, served.client() as client:
        await loaded(served.url)
        for name, arguments, shown in calls(section(title)):
            result = await client.call_tool(name, json.loads(arguments.replace(SHORT, run)))
            text = result.content[0].model_dump()["text"]
            if shown.startswith("error: "):
                assert result.is_error
                run = (re.findall(r"Run (\w+) waits", text) or [SHORT])[0]
                assert text == shown.removeprefix("error: ").replace(SHORT, run)
            else:
                assert not result.is_error, text
                assert_holds(result.structured_content, json.loads(shown))


@pytest.mark.anyio
async def test_the_commands_in_the_documents_print_what_they_say(tmp_path: Path) -> None:
    deploy(tmp_path, "greet", "Write a pipeline")
    shown = re.findall(
        r"^\$ mcp-server (.*)\n((?:(?!\$|```).*\n)*)", section("The command line"), re.MULTILINE
    )
    assert shown
    async with serve(tmp_path) as served:
        for words, output in shown:
            command = [sys.executable, "-m", "mcp_server", *shlex.split(words), "--url", served.url]
            answer = await anyio.run_process(command, check=False)
            text = (answer.stdout + answer.stderr).decode()
            if "--json" in words:
                assert_holds(json.loads(text), json.loads(output))
            else:
                assert text == output.rstrip() + "\n"


@pytest.mark.anyio
async def test_what_the_guide_publishes_can_be_read_and_filled(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    wrapper = next(
        block for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "@prompt" in block
    )
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "pipeline_wrapper.py").write_text(wrapper)
    async with serve(tmp_path) as served, served.client() as client:
        await loaded(served.url)
        chapter = await client.read_resource("manual://chapters/start")
        assert chapter.contents[0].model_dump()["text"] == "Unpack it."
        review = await client.get_prompt("review", {"text": "Hello", "tone": "strict"})
        assert review.messages[0].content.model_dump()["text"] == "Review this text, be strict: Hello"
        card = await client.read_resource("pipeline://manual")
        assert json.loads(card.contents[0].model_dump()["text"])["name"] == "manual"


@pytest.mark.anyio
async def test_the_steps_in_the_documents_are_answered_as_they_say(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "pipelines" / "article", tmp_path / "article")
    run, text = SHORT, ""
    async with serve(tmp_path) as served, served.client() as client:
        await loaded(served.url)
        for name, arguments, shown in calls(section("Go step by step")):
            given = json.loads(arguments.replace(SHORT, run))
            result = await client.call_tool(name, {**given, "yaml": text} if "yaml" in given else given)
            assert not result.is_error, result.content
            answer = result.structured_content or {}
            run = answer["run_id"] if run == SHORT else run
            text = answer.get("yaml", text)
            assert_holds(answer, json.loads(shown.replace(SHORT, run)))


def assert_holds(whole: Any, shortened: Any) -> None:
    """Everything shown is there; objects may have more."""
    if isinstance(shortened, dict):
        for key, value in shortened.items():
            assert key in whole
            assert_holds(whole[key], value)
    elif isinstance(shortened, list):
        assert len(whole) == len(shortened)
        for each, value in zip(whole, shortened, strict=True):
            assert_holds(each, value)
    else:
        assert whole == shortened
