"""The documents tell the truth: every setting, command, flag, route and tool is in them, as it is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from clients import serve
from starlette.routing import Mount, Route

from mcp_server.app import create_app
from mcp_server.cli.commands import program
from mcp_server.settings import Settings
from mcp_server.surfaces.mcp.manage import TOOLS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = README + "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
EXAMPLES = ROOT / "examples"


def test_the_table_of_settings_is_the_settings() -> None:
    rows = [
        f"| `{name}` | {displayed(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    section = README.partition("## Settings")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `[a-z_]+` \| .*$", section, re.MULTILINE)
    assert table == rows


def displayed(default: object) -> str:
    """A default as the table shows it."""
    if default in (None, (), ""):
        return "–"
    return f"`{str(default).lower()}`" if isinstance(default, bool) else f"`{default}`"


@pytest.mark.parametrize("command", sorted(program.commands))
def test_every_command_is_shown(command: str) -> None:
    assert f"mcp-server {command}" in README


def test_every_flag_that_is_no_setting_is_explained() -> None:
    flags = {
        flag
        for command in program.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name not in Settings.model_fields
        for flag in parameter.opts
    }
    assert {flag for flag in flags if f"`{flag}" not in README} <= {"--directory"}  # shown as -C


@pytest.mark.anyio
async def test_every_route_is_named(tmp_path: Path) -> None:
    app = create_app(Settings(folder=tmp_path, state=tmp_path / "state"))
    async with app.router.lifespan_context(app):
        paths = {route.path.rstrip("/") for route in app.routes if isinstance(route, Route | Mount)}
    assert {path for path in paths if path not in DOCUMENTS} == set()


@pytest.mark.parametrize("name", [tool["name"] for tool in TOOLS])
def test_every_management_tool_is_shown_with_its_arguments(name: str) -> None:
    arguments = next(tool["inputSchema"]["properties"] for tool in TOOLS if tool["name"] == name)
    assert f"`{name}" in README
    for argument in arguments:
        assert argument in README


def test_every_example_has_its_line() -> None:
    folders = [path.name for path in sorted((EXAMPLES / "pipelines").iterdir()) if path.is_dir()]
    assert folders
    assert [name for name in folders if f"`{name}`" not in README] == []


def test_links_to_files_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
        assert [target for target in targets if not (document.parent / target).exists()] == []


def test_the_two_commands_of_a_newcomer_come_first_and_are_one_line_each() -> None:
    first, second = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2]
    assert first.count("\n") == second.count("\n") == 1
    assert first.rstrip().endswith("mcp-server run examples/pipelines")
    assert second.rstrip().endswith("pytest")


@pytest.mark.anyio
async def test_the_calls_in_the_readme_are_answered_as_it_says(tmp_path: Path) -> None:
    section = README.partition("## Write a pipeline")[2]
    (wrapper, answer), *_ = re.findall(r"```python\n(.*?)```.*?```json\n(.*?)```", section, re.DOTALL)
    (tmp_path / "greet").mkdir()
    (tmp_path / "greet" / "pipeline_wrapper.py").write_text(wrapper)
    calls = re.findall(r"^(\w+) (\{.*\})\n→ (.*)$", README, re.MULTILINE)
    assert {name for name, _, _ in calls} > {tool["name"] for tool in TOOLS}
    async with serve(tmp_path) as served, served.client() as client:
        greeted = await client.call_tool("greet", {"key": "ada"})
        assert_holds(greeted.model_dump(by_alias=True), json.loads(answer))
        for name, arguments, shown in calls:
            result = await client.call_tool(name, json.loads(arguments))
            if shown.startswith("error: "):
                assert result.is_error
                assert result.content[0].model_dump()["text"] == shown.removeprefix("error: ")
            else:
                assert_holds(result.structured_content, json.loads(shown))


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
