"""The commands that talk to a running server: real ones, what they print and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from clients import START_LIMIT, Served, serve, until
from terminal import terminal

from mcp_server.cli import whereabouts
from mcp_server.settings import given

PROGRAM = [sys.executable, "-m", "mcp_server"]
LIMIT = 60
EXAMPLES = Path(__file__).parents[1] / "examples" / "pipelines"
SAY = '''
import time
from collections.abc import Iterator

from pydantic import BaseModel, Field

from mcp_server import Context, File
from mcp_server import PipelineWrapper as BasePipelineWrapper


class Stay(BaseModel):
    nights: int = Field(ge=1, description="How many nights")
    breakfast: bool = False


class PipelineWrapper(BasePipelineWrapper):
    def run_api(self, query: str, context: Context, temperature: float = 0.0, files: list[File] = ()) -> str:
        """Say what it was asked. It can do more."""
        if query == "fail":
            raise ValueError("there is\\nno answer")
        if query == "book":
            answer = context.ask("How long do you stay?", Stay)
            stay = answer.value
            return f"{stay.nights} nights, breakfast {stay.breakfast}" if answer else "nothing"
        read = " ".join(f"{file.name}:{len(file.content)}" for file in files)
        return f"{query} at {temperature} {read}".strip()
'''
SPEAK = '''
from collections.abc import Iterator

from mcp_server import PipelineWrapper as BasePipelineWrapper


class PipelineWrapper(BasePipelineWrapper):
    def run_api(self, words: str) -> Iterator[str]:
        """Speak word by word."""
        yield from words.split()
'''
RECORDED = """
components:
  greet:
    type: haystack.components.builders.prompt_builder.PromptBuilder
    init_parameters: {template: "Hello {{name}}"}
  close:
    type: haystack.components.builders.prompt_builder.PromptBuilder
    init_parameters: {template: "{{text}}{{mark or '!'}}", required_variables: [text]}
connections: [{sender: greet.prompt, receiver: close.text}]
inputs: {name: [greet.name]}
outputs: {text: close.prompt}
metadata: {mcp: {record: steps}}
"""


def write(folder: Path, **wrappers: str) -> None:
    """Put wrappers into the folder, by their names."""
    for name, code in wrappers.items():
        (folder / name).mkdir()
        (folder / name / "pipeline_wrapper.py").write_text(code)


@contextmanager
def serving(folder: Path, data: Path) -> Iterator[Served]:
    """A server over the folder that can be found by those who share its user data."""
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        patch.setenv("XDG_DATA_HOME", str(data))
        stack = AsyncExitStack()
        try:
            running = runner.run(stack.enter_async_context(serve(folder)))
            runner.run(until(partial(loaded, running.url), START_LIMIT))
            yield running
        finally:
            runner.run(stack.aclose())


async def loaded(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        details = (await client.get(f"{url}/status")).json()["details"]
    return bool(details) and all(each["status"] == "running" for each in details)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over two wrappers, a YAML and a step-wise pipeline."""
    folder = tmp_path_factory.mktemp("pipelines")
    write(folder, say=SAY, speak=SPEAK)
    shutil.copytree(EXAMPLES / "article", folder / "article")
    (folder / "recorded.yml").write_text(RECORDED)
    with serving(folder, folder.parent / "data") as running:
        yield running


@pytest.fixture(autouse=True)
def place(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, from where the server can be found."""
    monkeypatch.setenv("XDG_DATA_HOME", str(served.folder.parent / "data"))
    monkeypatch.delenv("MCP_SERVER_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
    )


def told(*words: object) -> str:
    """What a command prints that goes well."""
    answer = ended(*words)
    assert (answer.returncode, answer.stderr) == (0, ""), answer
    assert "\x1b" not in answer.stdout
    return answer.stdout


def known(*words: object) -> dict[str, object]:
    return json.loads(told(*words, "--json"))


def assert_failed(answer: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """One line on stderr, nothing on stdout."""
    assert (answer.returncode, answer.stdout) == (status, ""), answer
    assert answer.stderr.startswith("mcp-server: ") and answer.stderr.count("\n") == 1
    for word in words:
        assert word in answer.stderr


def rows(text: str) -> dict[str, list[str]]:
    """A printed table by its first column."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}


def test_the_server_is_found_and_its_pipelines_are_listed(served: Served) -> None:
    assert rows(told("status"))["say"][:3] == ["running", "1", "wrapper"]
    assert told("status").startswith(served.url)
    assert "Say what it was asked.\n" in told("list") == told("pipeline", "list")
    assert known("status")["server"] == served.url
    assert known("status", "say")["kind"] == "wrapper"
    assert_failed(ended("status", "nobody"), 1, "nobody")


@pytest.mark.parametrize(
    ("params", "answer"),
    [
        (['query="What is Haystack?"'], "What is Haystack? at 0.0"),
        (['query="What is Haystack?"', "temperature=0.7"], "What is Haystack? at 0.7"),
        (["query=not JSON, so = text"], "not JSON, so = text at 0.0"),
    ],
)
def test_a_pipeline_is_run_with_parameters_that_are_json_or_text(params: list[str], answer: str) -> None:
    flags = [word for param in params for word in ("--param", param)]
    assert told("pipeline", "run", "say", *flags) == f"{answer}\n"
    assert known("pipeline", "run", "say", *flags)["result"] == answer


def test_files_and_folders_are_handed_over(place: Path) -> None:
    (place / "document.txt").write_text("four")
    (place / "documents" / "deep").mkdir(parents=True)
    (place / "documents" / "deep" / "six.bin").write_bytes(b"\x00\xff" * 3)
    run = ("pipeline", "run", "say", "--param", 'query="Compare these"')
    assert told(*run, "--file", "document.txt", "--dir", "./documents") == (
        "Compare these at 0.0 document.txt:4 six.bin:6\n"
    )
    assert_failed(ended(*run, "--file", "missing.pdf"), 2, "missing.pdf")
    (place / "large.bin").write_bytes(bytes(9_000_000))
    large = known(*run, "--file", "large.bin", "--param", "temperature=0.7")
    assert large["result"] == "Compare these at 0.7 large.bin:9000000" and large["run_id"]
    failing = ("pipeline", "run", "say", "--file", "document.txt", "--param")
    assert_failed(ended(*failing, "query=fail"), 1, "there is no answer")
    assert_failed(ended(*failing, "query=book"), 1, "How long do you stay?", "mcp-server runs answer")
    assert_failed(ended("pipeline", "run", "nobody", "--file", "document.txt"), 1, "nobody")


def test_a_stream_is_printed_once_and_as_lines_for_programs() -> None:
    run = ("pipeline", "run", "speak", "--param", "words=one two three", "--stream")
    assert told(*run) == "onetwothree\n"
    *pieces, last = map(json.loads, told(*run, "--json").splitlines())
    assert "".join(piece["text"] for piece in pieces) == last["result"] == "onetwothree"


def test_what_fails_ends_with_1_and_what_cannot_begin_with_2() -> None:
    assert_failed(ended("pipeline", "run", "say", "--param", "query=fail"), 1, "there is no answer")
    assert_failed(ended("pipeline", "run", "say"), 1, "`query` is required")
    assert_failed(ended("pipeline", "run", "nobody"), 1, "nobody")
    assert_failed(ended("pipeline", "run", "say", "--param", "query"), 2, "NAME=VALUE")
    assert_failed(ended("status", "--url", "http://127.0.0.1:9"), 2, "cannot reach", "127.0.0.1:9")
    assert_failed(ended("status", "--url", "here"), 2, "here")
    assert_failed(ended("pipeline", "dance"), 2, "dance")


def test_any_tool_can_be_called(served: Served) -> None:
    assert json.loads(told("call", "get_statistics", '{"pipeline": "say"}'))["pipeline"] == "say"
    assert (
        known("call", "say", "--param", "query=hello", "--url", f"{served.url}/mcp")["result"]
        == "hello at 0.0"
    )
    assert_failed(ended("call", "dance"), 1, "dance")


def test_a_pipeline_is_deployed_replaced_compared_rolled_back_and_taken_away(place: Path) -> None:
    wrapper = place / "shout" / "pipeline_wrapper.py"
    write(place, shout=SPEAK)
    assert "shout serves, version 1.\nRun it: mcp-server pipeline run shout --param words=…\n" in told(
        "pipeline", "deploy", "shout"
    )
    assert_failed(ended("pipeline", "deploy-files", "-n", "shout", "shout"), 1, "overwrite")
    wrapper.write_text(SPEAK.replace("words.split()", "words.upper().split()"))
    assert known("pipeline", "deploy", "shout", "--overwrite")["pipeline"]["version"] == "2"
    assert told("pipeline", "run", "shout", "-p", "words=a b") == "AB\n"
    assert [row[0] for row in rows(told("pipeline", "versions", "shout")).values()] == [
        "STAGE",
        "production",
        "none",
    ]
    difference = told("pipeline", "diff", "shout")
    assert "-        yield from words.split()\n+        yield from words.upper().split()\n" in difference
    assert told("pipeline", "rollback", "shout") == "shout version 1: production.\n"
    assert told("pipeline", "run", "shout", "-p", "words=a b") == "ab\n"
    assert_failed(ended("pipeline", "rollback", "shout"), 2, "no version before")
    staged = told("pipeline", "promote", "shout", "2", "--stage", "staging", "--share", "0.25")
    assert staged == "shout version 2: staging, with 25% of the calls.\n"
    assert told("undeploy", "shout") == "shout is undeployed.\n"
    assert_failed(ended("pipeline", "undeploy", "nobody"), 1, "nobody")


def test_a_yaml_is_deployed_under_its_name_and_only_text_can_be(place: Path) -> None:
    shutil.copy(EXAMPLES / "split_files.yml", place / "pieces.yml")
    assert known("deploy-yaml", "pieces.yml", "--no-save")["pipeline"]["name"] == "pieces"
    assert (
        known("pipeline", "deploy-yaml", "pieces.yml", "--overwrite", "--name", "parts")["tool"]["name"]
        == "parts"
    )
    write(place, whole=SPEAK)
    (place / "whole" / "index.bin").write_bytes(b"\xff\xfe")
    assert_failed(ended("pipeline", "deploy", "whole"), 2, "index.bin")


def test_runs_are_listed_shown_answered_and_cancelled() -> None:
    told("pipeline", "run", "say", "--param", "query=listed")
    waiting = ended("pipeline", "run", "say", "--param", "query=book")
    assert_failed(waiting, 1, "How long do you stay?", "mcp-server runs answer", "--param nights=…")
    run = re.findall(r"runs answer (\w+)", waiting.stderr)[0]
    assert rows(told("runs", "list", "--pipeline", "say", "--status", "waiting"))[run][:2] == ["say", "1"]
    assert "How long do you stay?" in told("runs", "show", run)
    assert "3 nights, breakfast True\n" in told(
        "runs", "answer", run, "--param", "nights=3", "--param", "breakfast=true"
    )
    assert_failed(ended("runs", "answer", run, "--param", "nights=3"), 1, "not waiting")
    other = re.findall(r"runs answer (\w+)", ended("pipeline", "run", "say", "-p", "query=book").stderr)[0]
    assert known("runs", "cancel", other)["status"] == "cancelled"
    declined = re.findall(r"runs answer (\w+)", ended("pipeline", "run", "say", "-p", "query=book").stderr)[0]
    assert known("runs", "answer", declined, "--decline")["result"] == {"result": "nothing"}


def test_a_stepwise_run_is_rewound_forked_and_exported(place: Path) -> None:
    begun = known("pipeline", "run", "article", "--param", "source_material=tea")["result"]
    run = begun["run_id"]
    chosen = {"run_id": run, "response_ids": ["resp-001"]}
    told("call", "select_response", json.dumps(chosen))
    told("call", "execute_step", "--param", f"run_id={run}")
    assert "To be done again: outline." in told("runs", "rewind", run, "angles")
    forked = known("runs", "fork", run, "--response", "resp-002", "--name", "other")
    assert (forked["step"], forked["parent_run_id"]) == ("outline", run)
    assert told("runs", "export", run).startswith("#") or run in told("runs", "export", run)
    assert told("runs", "export", run, "--output", "run.yaml") == "run.yaml is written.\n"
    assert run in (place / "run.yaml").read_text()
    assert_failed(ended("runs", "export", run, "--output", "missing/run.yaml"), 1, "missing/run.yaml")


def test_a_recorded_run_is_forked_and_rewound_at_a_component_with_other_inputs(place: Path) -> None:
    run = str(known("pipeline", "run", "recorded", "--param", "name=ada")["run_id"])
    assert known("runs", "show", run)["result"] == {"text": "Hello ada!"}
    forked = known("runs", "fork", run, "--step", "close", "--input", "mark=?", "--input", 'text="Bye, 1"')
    assert forked["parent_run_id"] == run
    assert result(forked["run_id"]) == {"text": "Bye, 1?"}
    for number, step in enumerate((["close"], ["--step", "close"])):
        back = known("runs", "rewind", run, *step, "--input", f"mark=.{number}")
        assert (back["run_id"], back["invalidated_steps"]) == (run, ["close"])
        assert result(run) == {"text": f"Hello ada.{number}"}
    assert_failed(ended("runs", "rewind", run), 2, "STEP or --step LABEL")
    assert_failed(ended("runs", "fork", run, "--step", "close", "--input", "mark"), 2, "--input 'mark'")
    assert_failed(ended("runs", "fork", run, "--step", "other"), 1, "it has greet, close")


def result(run: object) -> object:
    """What a run gives once it has ended."""
    shown: dict[str, object] = {}

    async def over() -> bool:
        shown.update(known("runs", "show", run))
        return shown["status"] != "running"

    asyncio.run(until(over, LIMIT))
    assert shown["status"] == "done", shown
    return shown["result"]


def test_the_server_of_the_current_folder_wins_and_a_choice_is_not_guessed(
    served: Served, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = served.folder.parent / "data"
    write(place, speak=SPEAK)
    with serving(place, data) as other:
        assert known("status")["server"] == other.url
        monkeypatch.chdir(place.parent)
        assert_failed(ended("status"), 2, "--url", served.url, other.url)
        assert known("status", "--url", other.url)["server"] == other.url
        monkeypatch.setenv("MCP_SERVER_URL", served.url)
        assert known("status")["server"] == served.url
        monkeypatch.delenv("MCP_SERVER_URL")
        os.kill(other.pid, signal.SIGKILL)
    assert known("status")["server"] == served.url


def test_where_a_server_is_only_its_owner_can_read_and_it_goes_with_it(place: Path) -> None:
    write(place, speak=SPEAK)
    with serving(place, place / "data"):
        (told_,) = (place / "data" / "mcp-server" / "running").iterdir()
        assert told_.stat().st_mode & 0o777 == 0o600
        assert json.loads(told_.read_text())["folder"] == str(place)
    assert not told_.exists()


def test_without_a_server_it_says_how_to_start_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "nowhere"))
    assert_failed(ended("list"), 2, "mcp-server run FOLDER", "--url")


def test_who_makes_a_key_for_no_server_that_runs_is_told_so(served: Served, place: Path) -> None:
    made = ended("keys", "create", "ci", "--json")
    assert made.returncode == 0 and json.loads(made.stdout)["name"] == "ci"
    assert made.stderr.count("\n") == 1
    assert "--folder" in made.stderr and f"{served.url} ({served.folder.resolve()})" in made.stderr
    assert known("keys", "list", "--folder", place) != known("keys", "list", "--folder", served.folder)
    assert known("keys", "list", "--state", served.state) == {"keys": []}


def test_nothing_is_said_of_keys_that_a_server_takes_or_where_none_runs(
    served: Served, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with whereabouts.told(served.url, place, given(folder=place).state_folder()):
        assert known("keys", "list") == {"keys": []}
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "nowhere"))
    assert known("keys", "list") == {"keys": []}


def test_a_pipeline_runs_without_a_server(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SERVER_STATE", str(served.folder.parent / "local"))
    run = ("pipeline", "run", "speak", "--param", "words=here I am", "--local", served.folder)
    assert told(*run) == "hereIam\n"
    assert told(*run, "--stream") == "hereIam\n"


def test_a_question_is_asked_on_the_terminal_until_the_answer_fits() -> None:
    with terminal([*PROGRAM, "pipeline", "run", "say", "--param", "query=book"]) as screen:
        screen.until("How long do you stay?")
        screen.until("nights, How many nights [a whole number from 1]: ")
        screen.type("0\n")
        screen.until("this must be a whole number from 1")
        screen.until(": ")
        screen.type("2\n")
        screen.until("yes or no; default false]: ")
        screen.type("yes\n")
        screen.until("2 nights, breakfast True")
        assert screen.status() == 0


def test_the_end_of_input_declines() -> None:
    with terminal([*PROGRAM, "pipeline", "run", "say", "--param", "query=book"]) as screen:
        screen.until("[a whole number from 1]: ")
        screen.type("\x04")
        screen.until("nothing")
        assert screen.status() == 0


def test_a_table_fits_a_narrow_terminal() -> None:
    with terminal([*PROGRAM, "list"], columns=50, NO_COLOR="") as screen:
        assert screen.status() == 0
    assert max(map(len, screen.screen.splitlines())) <= 50
    assert "wrapper" in screen.screen
