"""The command line, as its user meets it: real processes, their output and their exit status."""

from __future__ import annotations

import ast
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from canaries import ENVIRONMENT, PASSWORD

from mcp_server.access import peers, token
from mcp_server.cli import banner
from mcp_server.cli.http import Front
from mcp_server.models import Status
from mcp_server.settings import PREFIX, Settings

PACKAGE = Path(__file__).parents[1] / "mcp_server"
PROGRAM = [sys.executable, "-m", "mcp_server"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, a state folder that is thrown away, no settings in the environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)
    monkeypatch.setenv("MCP_SERVER_STATE", str(tmp_path / "state"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def taken() -> Iterator[int]:
    """A port somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=30)


def assert_refused(answer: subprocess.CompletedProcess[str], *words: str) -> None:
    """One line on stderr that holds the words, nothing on stdout, status 2."""
    assert answer.returncode == 2, answer
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert answer.stderr.startswith("mcp-server: ")
    for word in words:
        assert word in answer.stderr


def test_help_names_every_setting_as_a_flag() -> None:
    answer = command("run", "--help")
    assert answer.returncode == 0
    for name in Settings.model_fields:
        assert name == "folder" or f"--{name.replace('_', '-')}" in answer.stdout


def test_without_a_command_it_shows_help() -> None:
    answer = command()
    assert answer.returncode == 0
    assert "run" in answer.stdout


def test_a_missing_folder_is_refused() -> None:
    assert_refused(command("run", "missing"), "there is no folder", "missing")


def test_a_file_in_place_of_the_folder_is_refused(place: Path) -> None:
    (place / "wrapper.py").touch()
    assert_refused(command("run", "wrapper.py"), "is a file")


def test_a_current_folder_without_pipelines_is_refused() -> None:
    assert_refused(command("run"), "the current folder has no pipelines", "mcp-server run FOLDER")


def test_a_port_in_use_is_refused(taken: int) -> None:
    assert_refused(command("run", ".", "--port", taken), f"port {taken}", "in use", "--port 0")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_address_that_others_can_reach_is_refused(host: str) -> None:
    assert_refused(command("run", ".", "--host", host), host, "callers need keys")


def test_a_host_without_address_is_refused() -> None:
    assert_refused(command("run", ".", "--host", "no host"), "no host")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "many"], ["port: ", "integer"]),
        (["--threads", "0", "--engine", "cloud"], ["threads: ", "engine: "]),
        (["--prot", "1"], ["--prot", "--port"]),
        (["--port"], ["--port", "argument"]),
        (["--json", "--stdio"], ["--json", "--stdio"]),
        (["-C", "missing"], ["cannot work in missing"]),
        (["--state", "/dev/null/state"], ["/dev/null/state", "--state"]),
    ],
)
def test_a_bad_flag_is_refused_by_name(flags: list[str], words: list[str]) -> None:
    assert_refused(command("run", ".", *flags), *words)


def test_a_bad_settings_file_is_refused_wherever_it_is_read(place: Path) -> None:
    (place / "mcp-server.toml").write_text("prot = 1")
    assert_refused(command("run", "."), "mcp-server.toml", "'prot'", "'port'")
    assert_refused(command("run", "-C", place, "."), "mcp-server.toml")


def test_an_old_python_is_refused_before_anything_it_cannot_read() -> None:
    code = "import sys; sys.version_info = (3, 10, 0); from mcp_server.cli import main; main()"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "mcp-server needs Python 3.11 or newer; this is 3.10\n"


@pytest.mark.parametrize("name", ["__init__.py", "__main__.py", "cli/__init__.py"])
def test_an_old_python_can_read_what_leads_to_the_refusal(name: str) -> None:
    ast.parse((PACKAGE / name).read_text(encoding="utf-8"), feature_version=(3, 7))


def test_the_tools_are_listed_with_their_first_sentence_and_the_others_with_their_reason() -> None:
    text = banner.tools(
        [
            Status(name="tired", status="undeployed"),
            Status(name="find", status="running", description="Find a thing.\nAnd more. And more."),
            Status(name="broken", status="error", error="pipeline_wrapper.py, line 3: no class"),
        ]
    )
    assert text.splitlines() == [
        "Tools",
        "  find    Find a thing.",
        "",
        "Not served",
        "  broken  error: pipeline_wrapper.py, line 3: no class",
        '  tired   undeployed; deploy_pipeline(name="tired", files={}) brings it back',
    ]


def test_a_description_cannot_steer_the_terminal() -> None:
    text = banner.tools([Status(name="a", status="running", description="\x1b[2Jgone\x07 " + "long " * 99)])
    assert "\x1b" not in text and "\x07" not in text
    assert max(map(len, text.splitlines())) < 120


def test_the_configuration_starts_the_same_server_from_any_directory(place: Path) -> None:
    settings = Settings(folder=place, port=1, env=("A", "B"), reload=True, call_timeout=5.0)
    started = servers(banner.clients(settings, "http://127.0.0.1:1"))[0]["work"]
    assert Path(started["command"]).is_absolute()
    flags = ["--call-timeout", "5.0", "--env", "A,B", "--reload", "--state", os.environ["MCP_SERVER_STATE"]]
    assert started["args"][-10:] == ["run", str(place), "--stdio", *flags]
    help_ = subprocess.run([started["command"], *started["args"], "--help"], capture_output=True, timeout=30)
    assert help_.returncode == 0


def test_the_configuration_holds_no_secret(place: Path) -> None:
    hidden = {
        "webhooks": {"on_run": f"https://hooks.example/{PASSWORD}"},
        "webhook_secret": ENVIRONMENT["MCP_SERVER_WEBHOOK_SECRET"],
        "tracking_url": f"http://me:{PASSWORD}@mlflow.example:5000",
    }
    store = f"postgresql+psycopg://me:{PASSWORD}@db.example:5433/runs?sslmode=require&password={PASSWORD}"
    text = banner.clients(Settings(folder=place, store=store, **hidden), "http://127.0.0.1:1")
    assert PASSWORD not in text and "whsec_" not in text and "**" not in text
    arguments = servers(text)[0]["work"]["args"]
    assert isinstance(arguments, list)
    flags = arguments[arguments.index("--stdio") + 1 :]
    assert flags[:-1] == [*flags[:2], "--store"] and flags[0] == "--state"
    assert flags[-1] == "postgresql+psycopg://me@db.example:5433/runs?sslmode=require"


def test_the_configuration_goes_back_to_where_dotenv_is(place: Path) -> None:
    (place / ".env").touch()
    started = servers(banner.clients(Settings(folder=place), "http://127.0.0.1:1"))[0]["work"]
    assert ["-C", str(place)] == started["args"][-4:-2]


def test_the_other_configuration_is_a_url(place: Path) -> None:
    reached = servers(banner.clients(Settings(folder=place), "http://127.0.0.1:1"))[1]["work"]
    assert reached == {"type": "http", "url": "http://127.0.0.1:1/mcp"}


def test_a_client_is_given_the_token_where_the_system_tells_no_user(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert peers.is_told() == (sys.platform == "linux")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not peers.is_told()
    front = Front(Settings(folder=place), "http://127.0.0.1:1", as_json=False)
    known = token.ensure(Settings(folder=place).state_folder())
    assert front.token() == known is not None
    reached = servers(banner.clients(Settings(folder=place), "http://127.0.0.1:1", front.token()))[1]["work"]
    assert reached["headers"] == {"Authorization": f"Bearer {known}"}


def servers(text: str) -> list[dict[str, dict[str, object]]]:
    """The server tables of the configurations in what the command prints."""
    return [json.loads(line)["mcpServers"] for line in text.splitlines() if line.lstrip().startswith("{")]
