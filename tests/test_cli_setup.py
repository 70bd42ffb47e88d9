"""The commands that write files: starters that work at once, and configurations of clients, parsed again."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from clients import serve
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from mcp_server.cli import setup
from mcp_server.cli.installing import clients
from mcp_server.cli.merging import merged, parsed

PROGRAM = [sys.executable, "-m", "mcp_server"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an empty home folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MCP_SERVER_STATE", str(tmp_path / "state"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def ended(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=60)


def known(*words: object) -> dict[str, Any]:
    answer = ended(*words, "--json")
    assert (answer.returncode, answer.stderr) == (0, ""), answer
    return json.loads(answer.stdout)


@pytest.mark.anyio
async def test_every_starter_is_served_and_answers_at_once(place: Path) -> None:
    kinds = ("wrapper", "yaml", "steps")
    for kind in kinds:
        assert Path(known("new", f"my-{kind}", "--kind", kind)["file"]).is_file()
    async with serve(place) as served, served.client() as client:
        wrapped = await client.call_tool("my-wrapper", {"question": "Why?"})
        assert wrapped.structured_content == {"result": "Answer in one sentence: Why?"}
        replies = (await client.call_tool("my-yaml", {"question": "Why?"})).structured_content or {}
        assert replies["replies"][0]["content"] == "Answer in one sentence: Why?"
        walk = (await client.call_tool("my-steps", {"topic": "tea"})).structured_content or {}
        assert walk["responses"][0]["text"] == "Write a short text about tea."


def test_a_starter_replaces_nothing_and_needs_a_name_for_a_tool(place: Path) -> None:
    assert "mcp-server run ." in ended("new", "mine").stdout
    for name, word in (("mine", "exists"), ("a.b", "letters"), ("v1", "reserved")):
        answer = ended("new", name)
        assert (answer.returncode, answer.stdout) == (2, "") and word in answer.stderr


def test_the_choices_of_the_command_are_the_clients_that_are_known() -> None:
    assert tuple(clients()) == setup.CLIENTS


def test_every_client_gets_a_command_that_starts_this_server_and_keeps_the_rest(place: Path) -> None:
    known("new", "mine")
    for name, client in clients().items():
        first = known("install", name, place, "--name", "haystack")
        path, form = Path(first["file"]), client.format
        assert path.is_relative_to(place.parent), "it is in the home folder or in the current one"
        entry = parsed(path.read_text(), form)[client.section]["haystack"]
        program = entry.get("command") or entry["cmd"]
        assert Path(program).is_absolute() and entry["args"][:3] == ["run", str(place), "--stdio"]
        assert "backup" not in first
        second = known("install", name, place, "--name", "other")
        assert set(parsed(path.read_text(), form)[client.section]) == {"haystack", "other"}
        assert set(parsed(Path(second["backup"]).read_text(), form)[client.section]) == {"haystack"}


@pytest.mark.anyio
async def test_what_a_client_is_told_to_start_answers_it(place: Path) -> None:
    known("new", "mine")
    path = known("install", "claude-code", place)["file"]
    entry = json.loads(Path(path).read_text())["mcpServers"]["work"]
    environment = {key: os.environ[key] for key in ("PATH", "HOME")}
    parameters = StdioServerParameters(command=entry["command"], args=entry["args"], env=environment, cwd="/")
    async with Client(parameters) as client:
        assert "mine" in [tool.name for tool in (await client.list_tools()).tools]


def test_printing_writes_nothing(place: Path) -> None:
    known("new", "mine")
    shown = ended("install", "cursor", place, "--print")
    assert '"mcpServers"' in shown.stdout and str(place) in shown.stdout
    assert not (place.parent / "home").exists()


def test_a_file_that_cannot_be_read_is_left_alone(place: Path) -> None:
    known("new", "mine")
    path = place / ".mcp.json"
    path.write_text('{"mcpServers": [')
    answer = ended("install", "claude-code", place)
    assert (answer.returncode, answer.stdout) == (2, "") and "--print" in answer.stderr
    assert path.read_text() == '{"mcpServers": ['


@pytest.mark.anyio
async def test_a_bundle_holds_all_that_its_server_needs_and_nothing_hidden(place: Path) -> None:
    known("new", "mine")
    wrapper = place / "mine" / "pipeline_wrapper.py"
    wrapper.write_text(wrapper.read_text().replace("# env", "env"))
    (place / "mine" / "requirements.txt").write_text("haystack-ai>=3 # the core\n# none\n")
    (place / "shared.txt").write_text("shared")
    (place / ".env").write_text("OPENAI_API_KEY=secret")
    told = known("bundle", place, "--name", "helpers", "--number", "2.1.0")
    assert told == {"file": "helpers.mcpb", "pipelines": ["mine"]}
    assert known("bundle", place, "--name", "helpers") == told, "it does not hold itself"
    made = place.parent / "made"
    with zipfile.ZipFile("helpers.mcpb") as bundle:
        assert not [name for name in bundle.namelist() if ".env" in name or name.endswith(".mcpb")]
        bundle.extractall(made)
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest.keys() >= {"manifest_version", "name", "version", "description", "author", "server"}
    assert manifest["user_config"]["openai_api_key"]["sensitive"] is True
    assert manifest["server"]["mcp_config"]["env"] == {"OPENAI_API_KEY": "${user_config.openai_api_key}"}
    project = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    assert [each.partition("==")[0] for each in project["dependencies"]][:2] == [
        "haystack-mcp-server",
        "haystack-ai>=3",
    ]
    entry = made / manifest["server"]["entry_point"]
    async with Client(StdioServerParameters(command=sys.executable, args=[str(entry)], cwd="/")) as client:
        assert "mine" in [tool.name for tool in (await client.list_tools()).tools]


def test_an_entry_for_the_registry_names_this_release(place: Path) -> None:
    told = known("bundle", "--registry", "io.github.ada/haystack-mcp-server")
    entry = json.loads(Path(told["file"]).read_text())
    assert told["file"] == "server.json" and len(entry["description"]) <= 100
    (package,) = entry["packages"]
    assert package["version"] == entry["version"] == importlib.metadata.version(package["identifier"])
    assert ended("bundle", "--registry", "ada").returncode == 2


def test_what_cannot_be_bundled_is_refused(place: Path) -> None:
    assert "no pipelines" in ended("bundle", place).stderr
    known("new", "mine")
    (place / "mine" / "pipeline_wrapper.py").unlink()
    (place / "mine" / "pipeline.yml").write_text("components: [")
    answer = ended("bundle", place, "--output", "missing/a.mcpb")
    assert answer.returncode == 2 and answer.stderr.count("\n") == 1


JSON = """{
\t// the servers, "mine" too
\t"inputs": [{"id": "k", "x": "// no comment, }"},],
\t"servers": { /* none
yet */
\t\t"old": {"command": "a"},
\t},
}
"""
TOML = """# mine
model = "o" # the model

[mcp_servers.old] # kept
command = "a"

[mcp_servers.new]
command = "b"
args = ["[c]"]

[profiles.x]
model = "p"
"""
YAML = """# mine
GOOSE_MODEL: o
extensions:
  # the old one
  old:
    cmd: a   # a
  new:
    cmd: b
    args:
      - c

other: 1
"""
ENTRY: Mapping[str, Any] = {"command": "/x y/ü", "args": ["run", 'a"b', "--stdio"]}


@pytest.mark.parametrize(
    ("text", "form", "section", "kept"),
    [
        (JSON, "json", "servers", [JSON[: JSON.index("{ /*")], JSON[JSON.index("/* none") :]]),
        (TOML, "toml", "mcp_servers", [*TOML.splitlines()[:6], *TOML.splitlines()[-2:]]),
        (YAML, "yaml", "extensions", [*YAML.splitlines()[:6], YAML.splitlines()[-1]]),
    ],
)
def test_the_rest_of_a_file_stays_with_its_comments(
    text: str, form: Any, section: str, kept: list[str]
) -> None:
    once = merged(text, form, section, "new", dict(ENTRY))
    assert parsed(once, form)[section]["new"].items() >= ENTRY.items()
    assert parsed(once, form)[section]["old"] == parsed(text, form)[section]["old"]
    for part in kept:
        assert part in once
    assert merged(once, form, section, "new", dict(ENTRY)) == once
    assert merged(text.replace("\n", "\r\n"), form, section, "added", dict(ENTRY))


def test_what_was_added_to_an_entry_by_hand_stays() -> None:
    text = '{"mcpServers": {"a": {"command": "old", "env": {"KEY": "1"}}}}'
    assert json.loads(merged(text, "json", "mcpServers", "a", {"command": "new"})) == {
        "mcpServers": {"a": {"command": "new", "env": {"KEY": "1"}}}
    }


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("", "json"),
        ("{}", "json"),
        ('{"a": 1}', "json"),
        ('{"servers": {}}', "json"),
        ("", "toml"),
        ("a = 1", "toml"),
        ("", "yaml"),
        ("a: 1\n", "yaml"),
        ("servers:\n", "yaml"),
        ("servers: {}\na: 1", "yaml"),
    ],
)
def test_a_file_without_servers_gets_the_first(text: str, form: Any) -> None:
    readers = {"json": lambda told: json.loads(told or "{}"), "toml": tomllib.loads, "yaml": yaml.safe_load}
    wanted = {**(readers[form](text) or {}), "servers": {"new": dict(ENTRY)}}
    assert readers[form](merged(text, form, "servers", "new", dict(ENTRY))) == wanted
