"""What a server serves, as plain values without times, so that two lives can be compared."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

from .lives import LIMIT, Life, Refused

NEW = "new"
MOCK = "haystack.components.generators.chat.mock.MockChatGenerator"
ARTICLE = f"""
inputs: {{topic: What to write about.}}
models:
  echo: {{type: {MOCK}}}
  fixed: {{type: {MOCK}, init_parameters: {{responses: [{{role: assistant, content: [{{text: always}}]}}]}}}}
steps:
  - {{name: angles, models: [echo, fixed], template: "Angles on {{topic}}"}}
  - {{name: outline, models: [echo, fixed], template: "Outline of {{angles_output}}"}}
"""
"""A step-wise pipeline of two steps and two models."""


def adder(adds: int) -> dict[str, str]:
    """The files of a pipeline that adds a number to its argument."""
    return {
        "pipeline_wrapper.py": "from mcp_server import PipelineWrapper as Base\n\n\n"
        f"class PipelineWrapper(Base):\n    def run_api(self, number: int) -> int:\n"
        f'        """Adds {adds}."""\n        return number + {adds}\n'
    }


def settled(life: Life, *, empty: bool = False) -> list[dict[str, Any]]:
    """Every pipeline once none is loading any more. Unless it may be `empty`, there is at least one."""
    if empty:
        life.tool("search_pipelines", query="adds")  # waits until the store was read
    until = time.monotonic() + LIMIT
    while not ((found := life.status()["details"]) or empty) or any(
        each["status"] == "loading" for each in found
    ):
        assert time.monotonic() < until, f"it does not load: {found}"
        time.sleep(0.005)
    return found


def pipelines(life: Life) -> dict[str, Any]:
    """Every pipeline: how it is, and each of its versions with its stage."""
    found: dict[str, Any] = {}
    for each in settled(life):
        try:
            listed = life.tool("list_versions", name=each["name"])["versions"]
        except Refused:
            listed = []
        kept = ("version", "digest", "stage", "share", "parent", "description")
        versions = tuple(tuple(version.get(key) for key in kept) for version in listed)
        found[each["name"]] = (each["status"], each.get("version"), each.get("digest"), versions)
    return found


def runs(life: Life, known: Collection[str]) -> dict[str, Any]:
    """Every run once none goes on; those that are not `known` under one name each."""
    found: dict[str, Any] = {}
    for each in reversed(finished(life)):
        identity = each["run_id"]
        name = identity if identity in known else f"{NEW} {len(found)}"
        found[name] = walked(life, identity) if each["pipeline"] == "article" else called(life, identity)
    return found


def finished(life: Life) -> list[dict[str, Any]]:
    """The latest runs, newest first, once none goes on."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        found = life.tool("list_runs", limit=100)["runs"]
        if all(each["status"] != "running" for each in found):
            return found
        time.sleep(0.01)
    raise AssertionError(f"a run goes on and on: {found}")


def called(life: Life, identity: str) -> tuple[Any, ...]:
    """A call: what it gave, or why it failed."""
    run = life.tool("get_run", run_id=identity)
    return (run["pipeline"], run["version"], run["status"], run.get("result"), run.get("error"))


def walked(life: Life, identity: str) -> tuple[Any, ...]:
    """A step-wise run: where it stands, and everything it holds."""
    shown = life.http.get(f"/pipeline/{identity}/status").json()
    held = life.tool("list_artifacts", run_id=identity)["artifacts"]
    keys = ("response_id", "step_name", "raw_output", "selected_for_next", "user_feedback", "error")
    texts = tuple(tuple(each[key] for key in keys) for each in held)
    return (shown["status"], shown["current_step"], tuple(shown["completed_steps"]), texts)


def picture(life: Life, known: Collection[str]) -> dict[str, Any]:
    """All that must outlast the server."""
    return {"pipelines": pipelines(life), "runs": runs(life, known)}


def answers(life: Life) -> dict[str, Any]:
    """What each pipeline that serves answers."""
    serving = [each["name"] for each in settled(life) if each["status"] == "running"]
    return {name: life.run(name, number=100) for name in serving if name != "article"}


def check_sound(state: Path) -> None:
    """The database of a server that is gone is whole."""
    with closing(sqlite3.connect(state / "state.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
