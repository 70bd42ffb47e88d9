"""Runs of Haystack pipelines over MCP: forked and rewound at components, continued after the server died."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import Served, serve, until
from mcp import Client
from postgresql import Cluster

from mcp_server.models import Caller
from mcp_server.server import Server
from mcp_server.settings import Settings

from .test_history import SHORT, assert_holds, section
from .test_tasks import call as call_as_task
from .test_tasks import connected, reached

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[2] / "examples" / "pipelines"
COUNTING = '''
"""Components that write down that they run, and wait for a file if they are given one."""

import asyncio
import os
import time

from haystack import component


@component
class Add:
    def __init__(self, number: int, log: str, gate: str = ""):
        self.number, self.log, self.gate = number, log, gate

    @component.output_types(value=int)
    def run(self, value: int, extra: int = 0):
        self.note()
        while self.gate and not os.path.exists(self.gate):
            time.sleep(0.01)
        return {"value": value + self.number + extra}

    def note(self):
        with open(self.log, "a") as file:
            file.write(f"{self.number} ")


@component
class AsyncAdd(Add):
    @component.output_types(value=int)
    async def run_async(self, value: int, extra: int = 0):
        self.note()
        while self.gate and not os.path.exists(self.gate):
            await asyncio.sleep(0.01)
        return {"value": value + self.number + extra}
'''
YAML = """
components:
  a: {{type: {kind}, init_parameters: {{number: 1, log: {log}}}}}
  b: {{type: {kind}, init_parameters: {{number: 10, log: {log}}}}}
  c: {{type: {kind}, init_parameters: {{number: 100, log: {log}, gate: {gate}}}}}
connections:
  - {{sender: a.value, receiver: b.value}}
  - {{sender: b.value, receiver: c.value}}
inputs: {{value: [a.value]}}
outputs: {{value: c.value}}
"""
WRAPPER = """
from counting import Add
from haystack import Pipeline
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    restartable = {restartable}

    def setup(self):
        self.first, self.second = Pipeline(), Pipeline()
        self.first.add_component("a", Add(1, {log!r}))
        self.second.add_component("b", Add(10, {log!r}))
        self.second.add_component("c", Add(100, {log!r}, {gate!r}))
        self.second.connect("b.value", "c.value")

    def run_api(self, value: int) -> dict[str, int]:
        \"\"\"Runs two pipelines.\"\"\"
        middle = self.first.run({{"a": {{"value": value}}}})["a"]["value"]
        return self.second.run({{"b": {{"value": middle}}}})["c"]
"""
LOOP = """
components:
  join: {{type: haystack.components.joiners.branch.BranchJoiner, init_parameters: {{type_: int}}}}
  a: {{type: counting.Add, init_parameters: {{number: 1, log: {log}}}}}
  route:
    type: haystack.components.routers.conditional_router.ConditionalRouter
    init_parameters:
      routes:
        - {{condition: "{{{{value < 3}}}}", output: "{{{{value}}}}", output_name: again, output_type: int}}
        - {{condition: "{{{{True}}}}", output: "{{{{value}}}}", output_name: done, output_type: int}}
  c: {{type: counting.Add, init_parameters: {{number: 100, log: {log}, gate: {gate}}}}}
connections:
  - {{sender: join.value, receiver: a.value}}
  - {{sender: a.value, receiver: route.value}}
  - {{sender: route.again, receiver: join.value}}
  - {{sender: route.done, receiver: c.value}}
inputs: {{value: [join.value]}}
outputs: {{value: c.value}}
"""
LOST = """
from haystack import Pipeline, component
from mcp_server import PipelineWrapper as Base


@component
class Opens:
    @component.output_types(value=object)
    def run(self, value: int):
        return {"value": object()}


@component
class Uses:
    @component.output_types(value=str)
    def run(self, value: object, times: int = 1):
        return {"value": type(value).__name__ * times}


class PipelineWrapper(Base):
    record = "steps"

    def setup(self):
        self.pipeline = Pipeline()
        self.pipeline.add_component("opens", Opens())
        self.pipeline.add_component("uses", Uses())
        self.pipeline.connect("opens.value", "uses.value")

    def run_api(self, value: int) -> str:
        \"\"\"Has a value on the way that has no JSON form.\"\"\"
        return self.pipeline.run({"opens": {"value": value}})["uses"]["value"]
"""
TALKS = """
from haystack import Pipeline, component
from haystack.dataclasses import ChatMessage
from mcp_server import Context, PipelineWrapper as Base


@component
class Model:
    @component.output_types(replies=list[ChatMessage])
    def run(self):
        usage = {"prompt_tokens": 3, "completion_tokens": 4}
        return {"replies": [ChatMessage.from_assistant("Hi", meta={"usage": usage})]}


class PipelineWrapper(Base):
    def setup(self):
        self.pipeline = Pipeline()
        self.pipeline.add_component("model", Model())

    def run_api(self, context: Context) -> str:
        \"\"\"Tells how it goes.\"\"\"
        context.progress(1, 2, "half")
        context.log("info", "a line")
        return self.pipeline.run({})["model"]["replies"][0].text
"""
READS = """
from counting import Add
from haystack import Pipeline
from mcp_server import Context, File, PipelineWrapper as Base


class PipelineWrapper(Base):
    restartable = True

    def setup(self):
        self.pipeline = Pipeline()
        self.pipeline.add_component("a", Add(1, {log!r}))
        self.pipeline.add_component("c", Add(100, {log!r}, {gate!r}))
        self.pipeline.connect("a.value", "c.value")

    def run_api(self, context: Context, file: File | None = None) -> str:
        \"\"\"Adds to how long a file is; without one it leaves one.\"\"\"
        if file is None:
            return context.artifact("seven.txt", b"7 bytes")
        value = self.pipeline.run({{"a": {{"value": len(file.text)}}}})["c"]["value"]
        return f"{{file.name}}: {{value}}"
"""
KINDS = ("plain", "native", "wrapper", "loop")
YAMLS = ("plain", "native", "loop")
NEVER = "stubborn"
"""A wrapper that does not say that it may be continued."""
ONCE = Counter({"1": 1, "10": 1, "100": 1})
LOOPED = Counter({"1": 3, "100": 1})


@pytest.fixture(scope="module")
def importable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The module of the components, for YAML in this process and in servers."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "counting.py").write_text(COUNTING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("HAYSTACK_DESERIALIZATION_ALLOWLIST", "counting")
        patch.setattr(sys, "path", [*sys.path, str(folder)])
        yield


class Place:
    """A folder of pipelines, the gate that their last component waits at, and what ran."""

    def __init__(self, root: Path) -> None:
        self.root, self.gate, self.folder, self.state = (
            root,
            root / "gate",
            root / "pipelines",
            root / "state",
        )
        for name in (*KINDS, NEVER, "lost", "talks", "reads"):
            (self.folder / name).mkdir(parents=True)
            (self.folder / name / self._file(name)).write_text(self._text(name))

    def _file(self, name: str) -> str:
        return "pipeline_wrapper.py" if name not in YAMLS else "pipeline.yml"

    def _text(self, name: str) -> str:
        log, gate = str(self.root / name), str(self.gate)
        match name:
            case "wrapper" | "stubborn":
                return WRAPPER.format(restartable=name == "wrapper", log=log, gate=gate)
            case "loop":
                return LOOP.format(log=log, gate=gate)
            case "lost":
                return LOST
            case "talks":
                return TALKS
            case "reads":
                return READS.format(log=log, gate=gate)
            case _:
                kind = "counting.Add" if name == "plain" else "counting.AsyncAdd"
                return YAML.format(kind=kind, log=log, gate=gate)

    def ran(self, name: str) -> Counter[str]:
        """How often each component really ran."""
        log = self.root / name
        return Counter(log.read_text().split() if log.exists() else ())

    def count(self, name: str) -> Counter[str]:
        """The same since the last look."""
        found = self.ran(name)
        (self.root / name).unlink(missing_ok=True)
        return found


@pytest.fixture
def place(tmp_path: Path, importable: None) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, importable: None) -> Place:
    made = Place(tmp_path_factory.mktemp("shared"))
    made.gate.touch()
    return made


@pytest.fixture(scope="module")
async def served(shared: Place) -> AsyncIterator[Served]:
    async with serve(shared.folder, state=shared.state) as running:
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    async with managing(served) as connected:
        yield connected


def managing(served: Served) -> Client:
    """A client at the address that lists every tool."""
    return Client(f"{served.url}/mcp/manage")


async def answer(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a tool gives."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error and result.structured_content is not None, result.content
    return result.structured_content


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    """Why a tool refuses."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return result.content[0].model_dump()["text"]


async def ended(client: Client, run: str, limit: float = 60) -> dict[str, Any]:
    """A run once it has ended."""
    shown: dict[str, Any] = {}

    async def over() -> bool:
        shown.update(await answer(client, "get_run", run_id=run))
        return shown["status"] != "running"

    await until(over, limit)
    return await answer(client, "get_run", run_id=run)


async def begun(client: Client, name: str) -> str:
    return (await answer(client, "start_run", name=name, arguments={"value": 0}))["run_id"]


async def read(client: Client) -> str:
    """Begin a run that reads what another one left."""
    address = (await answer(client, "reads"))["result"]
    return (
        await answer(
            client, "start_run", name="reads", arguments={"file": {"uri": address, "name": "seven.txt"}}
        )
    )["run_id"]


def reused(shown: dict[str, Any]) -> list[str]:
    return [step["step"] for step in shown["steps"] if step["reused"]]


@pytest.mark.parametrize("name", KINDS)
async def test_a_fork_shares_the_past_and_runs_the_rest_with_other_inputs(
    client: Client, shared: Place, name: str
) -> None:
    whole = await ended(client, await begun(client, name))
    value = whole["result"]["value"]
    shared.count(name)
    forked = await answer(client, "fork_run", run_id=whole["run_id"], step="c", inputs={"extra": 1000})
    shown = await ended(client, forked["run_id"])
    assert shown["result"]["value"] == value + 1000
    assert shared.count(name) == Counter({"100": 1})
    assert forked["parent_run_id"] == whole["run_id"] != forked["run_id"]
    assert reused(shown) == [step["step"] for step in whole["steps"][:-1]]
    again = await answer(client, "fork_run", run_id=forked["run_id"], step="c", inputs={"value": 5})
    assert (await ended(client, again["run_id"]))["result"]["value"] == 5 + 100 + 1000, "changes add up"
    assert await ended(client, whole["run_id"]) == whole, "the first run is what it was"


@pytest.mark.parametrize("name", KINDS)
async def test_a_rewound_run_goes_on_under_its_id_and_keeps_what_came_later(
    client: Client, shared: Place, name: str
) -> None:
    whole = await ended(client, await begun(client, name))
    shared.count(name)
    step = "a#2" if name == "loop" else "b"
    back = await answer(
        client, "rewind_run", run_id=whole["run_id"], target_step=step, inputs={"extra": 1000}
    )
    shown = await ended(client, whole["run_id"])
    assert (back["run_id"], shown["status"]) == (whole["run_id"], "done")
    assert shown["result"]["value"] == whole["result"]["value"] + (1000 if name != "loop" else 999)
    assert shared.count(name) == Counter({"1": 1, "100": 1} if name == "loop" else {"10": 1, "100": 1})
    invalid = [each["step"] for each in shown["steps"] if each["status"] == "invalidated"]
    assert invalid == back["invalidated_steps"] != []


async def test_a_fork_in_a_loop_begins_at_the_call_that_is_named(client: Client, shared: Place) -> None:
    whole = await ended(client, await begun(client, "loop"))
    shared.count("loop")
    forked = await answer(client, "fork_run", run_id=whole["run_id"], step="a#3")
    assert (await ended(client, forked["run_id"]))["result"] == whole["result"]
    assert shared.count("loop") == Counter({"1": 1, "100": 1})


async def test_a_run_that_is_made_from_another_one_is_given_its_files_again(client: Client) -> None:
    first = await ended(client, await read(client))
    assert first["result"] == {"result": "seven.txt: 108"}
    run = {"run_id": first["run_id"]}
    for tool, more in (("rerun", {}), ("fork_run", {"step": "c"}), ("rewind_run", {"target_step": "c"})):
        made = await answer(client, tool, **run, **more)
        assert (await ended(client, made["run_id"])).get("result") == first["result"], tool


async def test_a_fork_with_a_key_is_made_once_and_not_for_another_request(
    client: Client, shared: Place
) -> None:
    run = (await ended(client, await begun(client, "plain")))["run_id"]
    shared.count("plain")

    async def forked(**inputs: int) -> Any:
        arguments = {"run_id": run, "step": "c", "inputs": inputs}
        meta: Any = {"haystack-mcp-server/idempotency-key": "fork"}
        return await client.call_tool("fork_run", arguments, meta=meta)

    first, again, other = await forked(extra=5), await forked(extra=5), await forked(extra=6)
    assert first.structured_content["run_id"] == again.structured_content["run_id"]
    assert other.is_error and "idempotency key" in other.content[0].text
    await ended(client, first.structured_content["run_id"])
    assert shared.count("plain") == Counter({"100": 1})


async def test_one_step_is_shown_with_what_it_got_and_gave(client: Client) -> None:
    run = (await ended(client, await begun(client, "plain")))["run_id"]
    shown = await answer(client, "get_run", run_id=run, step="b")
    assert (shown["inputs"], shown["outputs"]) == ({"value": 1, "extra": 0}, {"value": 11})
    part = await answer(client, "get_run", run_id=f"run://{run}/artifacts/b.outputs.json")
    assert part["text"] == '{"value":11}'


async def test_what_cannot_be_forked_is_refused_with_what_to_do(client: Client, shared: Place) -> None:
    run = (await ended(client, await begun(client, "plain")))["run_id"]
    told = await refusal(client, "fork_run", run_id=run, step="x")
    assert told.endswith("has no step x; it has a, b, c.")
    assert "it got value, extra" in await refusal(
        client, "fork_run", run_id=run, step="b", inputs={"much": 1}
    )
    assert "Name the `step`" in await refusal(client, "fork_run", run_id=run)
    typed = await answer(client, "fork_run", run_id=run, step="b", inputs={"extra": "much"})
    shown = await ended(client, typed["run_id"])
    assert shown["status"] == "failed" and shown["error"].startswith("`extra` of b")
    assert "no step-wise run" in await refusal(client, "rewind_run", run_id="0" * 32, target_step="a")
    plain = await client.call_tool("plain", {"value": 0})
    assert plain.meta is not None
    unrecorded = plain.meta["haystack-mcp-server/run"]["id"]
    assert "No component of run" in await refusal(client, "fork_run", run_id=unrecorded, step="b")
    assert "steps" not in await answer(client, "get_run", run_id=unrecorded)


async def test_behind_a_value_without_json_form_there_is_no_fork_but_at_it_there_is(client: Client) -> None:
    called = await client.call_tool("lost", {"value": 0})
    assert called.meta is not None
    run = called.meta["haystack-mcp-server/run"]["id"]
    shown = await answer(client, "get_run", run_id=run)
    assert "JSON form" in shown["steps"][0]["not_reusable"]
    assert "opens would run again" in await refusal(client, "fork_run", run_id=run, step="uses")
    forked = await answer(client, "fork_run", run_id=run, step="opens")
    assert (await ended(client, forked["run_id"]))["result"] == {"result": "object"}


async def at_the_gate(client: Client, place: Place, runs: dict[str, str]) -> None:
    """Wait until every run has recorded all of its components but the last, which waits."""

    async def there() -> bool:
        shown = [await answer(client, "get_run", run_id=run) for run in runs.values()]
        return all("100" in place.ran(name) for name in runs) and all(
            len(each.get("steps", ())) >= 2 for each in shown
        )

    await until(there, 60)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_runs_go_on_where_the_server_died(place: Place, end: signal.Signals) -> None:
    async with (
        serve(place.folder, "--drain-timeout", "0.2", state=place.state) as first,
        managing(first) as client,
        connected(first) as http,
    ):
        runs = {name: await begun(client, name) for name in (*KINDS, NEVER)}
        await at_the_gate(client, place, runs)
        reading = await read(client)
        task = (await call_as_task(http, "plain", {"value": 0}))["taskId"]
        first.process.send_signal(end)
        await first.process.wait()
    place.gate.touch()
    async with (
        serve(place.folder, state=place.state) as second,
        managing(second) as client,
        connected(second) as http,
    ):
        shown = {name: await ended(client, run) for name, run in runs.items()}
        done = await reached(http, task, "completed", "failed")
        assert (await ended(client, reading))["result"] == {"result": "seven.txt: 108"}
    assert shown.pop(NEVER)["error"] == "interrupted"
    assert {name: each["status"] for name, each in shown.items()} == dict.fromkeys(KINDS, "done")
    for name, each in shown.items():
        before = LOOPED if name == "loop" else ONCE
        twice = 2 if name == "plain" else 1  # the task ran it, too
        assert place.ran(name) == Counter({key: before[key] * twice for key in before}) + Counter(
            {"100": twice}
        ), f"{name}: only what was in flight ran again"
        assert reused(each) == [step["step"] for step in each["steps"][:-1]]
    assert done["result"]["structuredContent"] == {"value": 111}


async def test_a_server_on_the_same_store_takes_only_what_is_left(place: Place) -> None:
    ada = Caller(origin="mcp")
    settings = Settings.model_validate({"folder": place.folder, "state": place.state, "engine": "local"})
    async with Server(settings) as here, serve(place.folder, state=place.state) as other:
        async with managing(other) as client:
            run = await begun(client, "plain")
            await at_the_gate(client, place, {"plain": run})
            await here.history.recover()
            assert here.runs.live(run) is None
            assert (await here.runs.past.run(ada, run)).attempt == 1
            other.process.kill()
            await other.process.wait()
        place.gate.touch()
        await here.history.recover()

        async def over() -> bool:
            return (await here.runs.past.run(ada, run)).ended

        await until(over, 60)
        ended = await here.runs.past.run(ada, run)
        assert (ended.status, ended.attempt) == ("done", 2)
    assert place.ran("plain") == ONCE + Counter({"100": 1})


async def test_on_postgresql_a_run_goes_on_once_the_lease_of_its_server_is_over(
    place: Place, cluster: Cluster
) -> None:
    psycopg = pytest.importorskip("psycopg")
    url = cluster.database()
    async with serve(place.folder, "--store", url, state=place.state) as first, managing(first) as client:
        run = await begun(client, "native")
        await at_the_gate(client, place, {"native": run})
        first.process.kill()
        await first.process.wait()
    place.gate.touch()
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE instances SET lease = 0")
    async with serve(place.folder, "--store", url, state=place.state) as second, managing(second) as client:
        shown = await ended(client, run)
        forked = await answer(client, "fork_run", run_id=run, step="b", inputs={"extra": 1000})
        other = await ended(client, forked["run_id"])
    assert (shown["result"], reused(shown)) == ({"value": 111}, ["a", "b"])
    assert (other["result"], reused(other)) == ({"value": 1111}, ["a"])
    assert place.ran("native") == Counter({"1": 1, "10": 2, "100": 3})


async def test_a_run_whose_servers_die_again_and_again_is_given_up(place: Place) -> None:
    settings = Settings.model_validate(
        {"folder": place.folder, "state": place.state, "engine": "local", "drain_timeout": 0.05}
    )
    ada = Caller(origin="mcp")
    run = ""
    for attempt in range(1, 5):
        async with Server(settings) as server:
            await server.catalog.ready()
            run = run or (await server.runs.start(ada, "plain", {"value": 0}, detached=True)).run.id

            async def going(server: Server = server, run: str = run, attempt: int = attempt) -> bool:
                return server.runs.live(run) is not None and place.ran("plain")["100"] == attempt

            await until(going, 30)
            assert (await server.runs.past.run(ada, run)).attempt == attempt
    async with Server(settings) as server:
        ended = await server.runs.past.run(ada, run)
    assert (ended.status, ended.error) == ("failed", "interrupted")
    assert place.ran("plain") == Counter({"1": 1, "10": 1, "100": 4})


async def test_many_recorded_runs_at_once_keep_their_steps_apart(client: Client, shared: Place) -> None:
    runs = [await begun(client, KINDS[number % 4]) for number in range(50)]
    for run in runs:
        shown = await ended(client, run)
        steps = [(step["step"], step["status"]) for step in shown["steps"]]
        assert steps[-1] == ("c", "done") and len(steps) == len(set(steps)), shown
        assert shown["status"] == "done"


async def test_the_calls_in_the_documents_are_answered_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")  # with it, an example would ask a real model
    text = section("docs/runs.md", "Run a part again")
    calls = re.findall(r"^(\w+) (\{.*\})\n→ (.*)$", text, re.MULTILINE)
    run = SHORT
    async with serve(EXAMPLES) as served, managing(served) as client:
        for name, arguments, shown in calls:
            given = await answer(client, name, **json.loads(arguments.replace(SHORT, run)))
            assert_holds(given, json.loads(shown.replace(SHORT, given["run_id"])))
            run = given["run_id"]
            await ended(client, run)
    assert [name for name, _, _ in calls][-2:] == ["get_run", "rewind_run"]


async def test_progress_logs_and_tokens_of_a_recorded_run_are_kept(client: Client) -> None:
    run = (await answer(client, "start_run", name="talks"))["run_id"]
    shown = await ended(client, run)
    assert [event["kind"] for event in shown["events"]] == ["progress", "log"]
    assert shown["usage"] == {"input_tokens": 3, "output_tokens": 4}
