"""The linter: one rule set over the clients' limits, before a deploy and at one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_server.clients import clients
from mcp_server.lint import LIST_RULES, TOOL_RULES, Finding, check_list, check_tool, warnings
from mcp_server.models import Json
from mcp_server.server import Server
from mcp_server.settings import Settings

ROOT = Path(__file__).parents[1]
WRAPPER = '''
class PipelineWrapper:
    """Answers."""

    def run_api(self, question: str) -> str:
        """{description}{parameters}"""
        return question
'''
TOLD = "\n\n        Args:\n            question: What to answer.\n        "


def tool(name: str = "search", description: str = "Finds.", **schema: Any) -> Json:
    return {"name": name, "description": description, "inputSchema": {"type": "object", **schema}}


def found(findings: tuple[Finding, ...]) -> dict[str, list[str]]:
    """The clients by rule."""
    return {finding.rule: [*finding.clients] for finding in findings}


def pipeline(folder: Path, name: str, description: str = "Answers.", parameters: str = TOLD) -> None:
    (folder / name).mkdir(parents=True)
    text = WRAPPER.format(description=description, parameters=parameters)
    (folder / name / "pipeline_wrapper.py").write_text(text)


def lint(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mcp_server", "lint", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_every_limit_has_a_rule_a_source_and_a_date() -> None:
    known = clients()
    assert {limit.rule for limit in known.limits} == {*TOOL_RULES, *LIST_RULES}
    assert all(limit.source and date(2024, 1, 1) <= limit.date <= known.checked for limit in known.limits)


def test_a_tool_like_those_in_the_examples_is_clean() -> None:
    assert check_tool(tool(properties={"q": {"type": "string", "description": "What."}}), "pipelines") == ()


@pytest.mark.parametrize(
    ("length", "broken"), [(40, []), (41, []), (48, []), (49, ["Claude Code", "VS Code"]), (51, "all")]
)
def test_the_name_counts_with_what_a_client_puts_before_it(length: int, broken: list[str] | str) -> None:
    breaks = [each for each in check_tool(tool("n" * length), "pipelines") if each.effect == "breaks"]
    names = sorted(name for each in breaks for name in each.clients)
    assert names == (["Claude Code", "Cursor", "VS Code"] if broken == "all" else broken)


def test_without_the_name_of_the_server_only_the_length_itself_is_judged() -> None:
    assert found(check_tool(tool("n" * 64))) == {"name_length": ["some clients"]}
    assert check_tool(tool("n" * 40)) == ()


def test_a_dot_in_a_name_breaks_three_clients() -> None:
    assert found(check_tool(tool("a.b"))) == {"name_characters": ["Claude Desktop", "Codex", "Copilot CLI"]}


def test_a_reference_breaks_some_clients_and_is_cut_by_others() -> None:
    schema = {
        "properties": {"a": {"$ref": "#/$defs/A", "description": "A."}},
        "$defs": {"A": {"type": "string"}},
    }
    breaking, cutting = check_tool(tool(**schema))
    assert (breaking.effect, "Gemini CLI" in breaking.clients) == ("breaks", True)
    assert (cutting.effect, cutting.clients) == ("cuts", ("VS Code", "Claude Desktop"))
    assert "`$ref`" in breaking.message and "`$defs`" in breaking.message


def test_a_parameter_that_is_called_like_a_keyword_is_none() -> None:
    described = {"type": "string", "description": "A word."}
    assert check_tool(tool(properties={"$ref": described, "anyOf": described})) == ()


def test_a_choice_at_the_top_breaks_but_not_further_down() -> None:
    choice = {"anyOf": [{"type": "string"}, {"type": "integer"}], "description": "Either."}
    assert found(check_tool(tool(anyOf=[{}]))) == {"root_keywords": ["Claude Code"]}
    assert check_tool(tool(properties={"a": choice})) == ()


@pytest.mark.parametrize(("levels", "rules"), [(5, set()), (6, {"depth"})])
def test_depth_counts_objects_in_objects(levels: int, rules: set[str]) -> None:
    schema: Json = {"type": "string"}
    for _ in range(levels - 1):
        schema = {"type": "array", "items": {"properties": {"a": schema}}, "description": "A."}
    assert set(found(check_tool(tool(properties={"a": schema})))) == rules


def test_parameters_without_a_description_are_named() -> None:
    (finding,) = check_tool(tool(properties={"q": {"type": "string"}, "k": {"description": "How many."}}))
    assert (finding.rule, finding.effect) == ("parameter_descriptions", "advice")
    assert "`q`" in finding.message and "`k`" not in finding.message


@pytest.mark.parametrize(
    ("size", "named"), [(1024, []), (1026, ["some clients"]), (2050, ["some clients", "Claude Code"])]
)
def test_a_description_is_measured_in_bytes(size: int, named: list[str]) -> None:
    findings = check_tool(tool(description="é" * (size // 2)))
    assert [name for finding in findings for name in finding.clients] == named


def test_a_list_is_counted_and_weighed() -> None:
    assert check_list([tool()] * 80) == ()
    named = [name for finding in check_list([tool()] * 129) for name in finding.clients]
    assert named == ["Cursor", "Antigravity", "Windsurf", "VS Code"]
    assert found(check_list([tool(description="x" * 80_000)])) == {"list_bytes": ["Claude Code"]}


def test_a_deploy_warns_of_what_breaks_or_is_cut_and_gives_no_mere_advice(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    settings = Settings(folder=tmp_path / "pipelines", state=tmp_path / "state", engine="local")
    long = WRAPPER.format(description="x" * 1500, parameters="")

    async def deployed() -> tuple[str, ...]:
        async with Server(settings) as server:
            return (await server.catalog.deploy("n" * 41, {"pipeline_wrapper.py": long})).warnings

    told = anyio.run(deployed)
    assert told == warnings(tool("n" * 41, "x" * 1500))
    assert "41 characters" in told[0] and "1500 bytes" in told[1] and len(told) == 2


def test_a_clean_folder_ends_with_zero(tmp_path: Path) -> None:
    pipeline(tmp_path, "ask")
    answer = lint(tmp_path)
    assert answer.returncode == 0, answer
    assert answer.stdout.startswith("1 pipelines: 0 errors, 0 warnings")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ask"]


def test_warnings_end_with_zero_and_stand_in_a_line_each(tmp_path: Path) -> None:
    pipeline(tmp_path, "ask", parameters="")
    answer = lint(tmp_path)
    assert answer.returncode == 0, answer
    first, last = answer.stdout.splitlines()
    assert re.fullmatch(r"ask +warning +.*`question`.*", first)
    assert "0 errors, 1 warnings" in last


def test_the_later_of_two_pipelines_that_publish_the_same_is_warned(tmp_path: Path) -> None:
    for name in ("one", "two"):
        pipeline(tmp_path, name)
        file = tmp_path / name / "pipeline_wrapper.py"
        more = '\n    @prompt()\n    def letter(self) -> str:\n        """A letter."""\n        return ""\n'
        file.write_text("from mcp_server import prompt\n" + file.read_text() + more)
    answer = lint(tmp_path)
    assert answer.returncode == 0, answer
    first, last = answer.stdout.splitlines()
    assert re.fullmatch(r"two +warning +one publishes `letter` too.*", first)
    assert "0 errors, 1 warnings" in last


def test_what_does_not_load_or_breaks_ends_with_one(tmp_path: Path) -> None:
    pipeline(tmp_path, "n" * 64)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pipeline_wrapper.py").write_text("def (:\n")
    answer = lint(tmp_path, "--json")
    assert answer.returncode == 1, answer
    told = json.loads(answer.stdout)
    assert (told["pipelines"], told["errors"] >= 2) == (2, True)
    errors = [each for each in told["findings"] if each["severity"] == "error"]
    (load,) = (each for each in errors if each["pipeline"] == "broken")
    assert load["rule"] == "load" and "line 1" in load["message"]
    named = {client for each in errors if each["rule"] == "name_length" for client in each["clients"]}
    assert named == {"Claude Code", "VS Code", "Cursor"}


@pytest.mark.parametrize("arguments", [("missing",), (".", "--nonsense")])
def test_wrong_use_ends_with_two(arguments: tuple[str, ...]) -> None:
    answer = lint(*arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("mcp-server: ")


def test_the_examples_are_clean() -> None:
    answer = lint(ROOT / "examples" / "pipelines")
    assert answer.returncode == 0
    assert "0 errors, 0 warnings" in answer.stdout
