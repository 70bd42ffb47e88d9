"""Looking back over MCP: the calls of the documents, idempotency keys, runs and artifacts after a restart."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from clients import serve, until
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextResourceContents

from .conftest import wrapper

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
SHORT = "01a1…"
"""How the documents write the id of a run."""
KEY = "haystack-mcp-server/idempotency-key"
RUN = "haystack-mcp-server/run"


def section(page: str, title: str) -> str:
    """The text under a heading of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def assert_holds(whole: Any, shortened: Any) -> None:
    """Everything shown is there; objects may have more."""
    if isinstance(shortened, dict):
        for key, value in shortened.items():
            assert_holds(whole[key], value)
    elif isinstance(shortened, list):
        for each, value in zip(whole, shortened, strict=True):
            assert_holds(each, value)
    else:
        assert whole == shortened


async def settled(client: Client, run: str) -> None:
    """Wait until a run, or a batch, has ended."""

    async def ended() -> bool:
        shown = (await client.call_tool("get_run", {"run_id": run})).structured_content
        return shown is not None and shown["status"] != "running"

    await until(ended)


async def test_the_calls_in_the_documents_are_answered_as_they_say(tmp_path: Path) -> None:
    (tmp_path / "greet").mkdir()
    code = re.findall(r"```python\n(.*?)```", section("README.md", "Write a pipeline"), re.DOTALL)[0]
    (tmp_path / "greet" / "pipeline_wrapper.py").write_text(code)
    run = SHORT
    calls = re.findall(r"^(\w+) (\{.*\})\n→ (.*)$", section("docs/runs.md", "Look back"), re.MULTILINE)
    assert calls
    async with serve(tmp_path) as served, served.client() as client:
        for name, arguments, shown in calls:
            result = await client.call_tool(name, json.loads(arguments.replace(SHORT, run)))
            answer = result.structured_content
            assert answer is not None and not result.is_error, result.content
            if name in ("start_run", "rerun", "run_batch"):
                run = answer.get("batch_id") or answer["run_id"]
                await settled(client, run)
            assert_holds(answer, json.loads(shown.replace(SHORT, run)))


async def test_they_are_listed_at_manage_only(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        async with Client(f"{served.url}/mcp/manage") as client:
            managing = {tool.name for tool in (await client.list_tools()).tools}
        async with served.client() as client:
            plain = {tool.name for tool in (await client.list_tools()).tools}
    names = {"start_run", "rerun", "list_runs", "get_statistics", "run_batch", "get_batch", "clear_cache"}
    assert names <= managing
    assert not names & plain


COUNT = '''
    calls = 0

    def run_api(self, by: int) -> int:
        """Counts."""
        self.calls += by
        return self.calls
'''


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_header_is_a_key_as_well(tmp_path: Path, mode: Any) -> None:
    (tmp_path / "count").mkdir()
    (tmp_path / "count" / "pipeline_wrapper.py").write_text(wrapper(COUNT))
    keyed = httpx2.AsyncClient(headers={"Idempotency-Key": "once"}, timeout=60)
    async with serve(tmp_path) as served, keyed as http:
        transport = streamable_http_client(f"{served.url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client, served.client(mode=mode) as plain:
            answers = [
                await client.call_tool("count", {"by": 1}),
                await client.call_tool("count", {"by": 1}),
                await client.call_tool("count", {"by": 1}, meta={KEY: "once"}),  # type: ignore[arg-type]
                await plain.call_tool("count", {"by": 1}, meta={KEY: "once"}),  # type: ignore[arg-type]
            ]
            assert [each.structured_content for each in answers] == [{"result": 1}] * 4
            both = await client.call_tool("count", {"by": 1}, meta={KEY: "twice"})  # type: ignore[arg-type]
            assert both.is_error and "differ; give one" in both.content[0].model_dump()["text"]
            other = await client.call_tool("count", {"by": 2})
            assert other.is_error and "other arguments" in other.content[0].model_dump()["text"]
            http.headers["Idempotency-Key"] = "x" * 257
            long = await client.call_tool("count", {"by": 1})
            assert long.is_error and "Idempotency-Key" in long.content[0].model_dump()["text"]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_kept_result_says_so_until_it_is_cleared(tmp_path: Path, mode: Any) -> None:
    (tmp_path / "count").mkdir()
    (tmp_path / "count" / "pipeline_wrapper.py").write_text(wrapper("    cache = 600\n" + COUNT))
    async with serve(tmp_path) as served, served.client(mode=mode) as client:

        async def count() -> Any:
            result = await client.call_tool("count", {"by": 1})
            assert result.meta is not None
            return result.structured_content, result.meta[RUN]

        first, again = await count(), await count()
        assert again == (first[0], first[1] | {"cached": True})
        told = (await client.call_tool("get_statistics", {"pipeline": "count"})).structured_content
        assert_holds(told, {"total": 1, "cached": 1, "days": [{"total": 1, "cached": 1}]})
        cleared = await client.call_tool("clear_cache", {"name": "count"})
        assert cleared.structured_content == {"cleared": 1}
        assert (await count())[0] == {"result": 2}


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_call_sent_twice_with_a_key_runs_once(tmp_path: Path, mode: Any) -> None:
    (tmp_path / "count").mkdir()
    (tmp_path / "count" / "pipeline_wrapper.py").write_text(wrapper(COUNT))
    async with serve(tmp_path) as served, served.client(mode=mode) as client:
        meta: Any = {KEY: "once"}
        first = await client.call_tool("count", {"by": 1}, meta=meta)
        again = await client.call_tool("count", {"by": 1}, meta=meta)
        assert first.structured_content == again.structured_content == {"result": 1}
        assert first.meta is not None and again.meta is not None
        assert first.meta[RUN]["id"] == again.meta[RUN]["id"]
        other = await client.call_tool("count", {"by": 2}, meta=meta)
        assert other.is_error and "other arguments" in other.content[0].model_dump()["text"]
        plain = await client.call_tool("count", {"by": 1})
        assert plain.structured_content == {"result": 2}
        bad = await client.call_tool("count", {"by": 1}, meta={KEY: ""})  # type: ignore[arg-type]
        assert bad.is_error


async def test_runs_and_artifacts_are_there_after_the_server_was_killed(tmp_path: Path) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    for name, body in {
        "long": '''
            def run_api(self, size: int) -> str:
                """Gives a long text."""
                return "x" * size
        ''',
        "sleep": '''
            async def run_api_async(self) -> str:
                """Never ends."""
                await asyncio.sleep(1000)
        ''',
    }.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "pipeline_wrapper.py").write_text(wrapper(body))
    async with serve(folder, state=state) as served, served.client() as client:
        called = await client.call_tool("long", {"size": 500_000})
        assert called.meta is not None
        (link,) = (block for block in called.content if block.type == "resource_link")
        started = await client.call_tool("start_run", {"name": "sleep"})
        assert started.structured_content is not None
        await client.call_tool("get_run", {"run_id": called.meta[RUN]["id"]})
        served.process.send_signal(signal.SIGKILL)
        await served.process.wait()
    async with serve(folder, state=state) as served, served.client() as client:
        ended = await client.call_tool("get_run", {"run_id": called.meta[RUN]["id"]})
        assert_holds(ended.structured_content, {"pipeline": "long", "status": "done"})
        part = (await client.read_resource(link.uri)).contents[0]
        assert isinstance(part, TextResourceContents) and part.text.startswith("xxx")
        lost = await client.call_tool("get_run", {"run_id": started.structured_content["run_id"]})
        assert_holds(lost.structured_content, {"status": "failed", "error": "interrupted"})


async def test_the_status_tells_what_is_not_recorded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "pipelines").mkdir()
    store = f"sqlite:///{tmp_path}/file/state.db"
    async with (
        serve(tmp_path / "pipelines", "--store", store) as served,
        httpx.AsyncClient(trust_env=False) as client,
    ):

        async def told() -> bool:
            return "history" in (await client.get(f"{served.url}/status")).json()

        with anyio.fail_after(20):
            await until(told)
        history = (await client.get(f"{served.url}/status")).json()["history"]
        assert history["error"] and str(tmp_path) not in history["error"]


async def test_a_call_that_somebody_cancels_says_so_and_get_run_tells_how_far_it_was(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "pipeline_wrapper.py").write_text(
        wrapper('''
            async def run_api_async(self, context: Context) -> str:
                """Gets half way."""
                context.progress(2, 4, "half")
                await asyncio.Event().wait()
        ''')
    )
    async with serve(tmp_path) as served, served.client() as calling, served.client() as other:
        results: list[Any] = []

        async def call() -> None:
            results.append(await calling.call_tool("far", {}))

        async def found() -> dict[str, Any]:
            listed = (await other.call_tool("list_runs", {"status": "running"})).structured_content or {}
            runs = [await other.call_tool("get_run", {"run_id": run["run_id"]}) for run in listed["runs"]]
            return next((run.structured_content for run in runs if run.structured_content), {})

        async def half() -> bool:
            return "progress" in await found()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await until(half)
            run = await found()
            assert run["progress"] == {"done": 2.0, "total": 4.0, "message": "half", "percent": 50.0}
            cancelled = await other.call_tool("cancel_run", {"run_id": run["run_id"]})
            assert_holds(cancelled.structured_content, {"status": "cancelled"})
        assert results[0].is_error
        assert "was cancelled" in results[0].content[0].model_dump()["text"]


async def test_a_batch_goes_on_after_its_server_was_killed(tmp_path: Path) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    (folder / "slow").mkdir(parents=True)
    (folder / "slow" / "pipeline_wrapper.py").write_text(
        wrapper('''
            async def run_api_async(self, place: str, number: int) -> int:
                """Notes that it begins, and ends when it may."""
                with open(f"{place}/begun", "a") as file:
                    file.write(f"{number} ")
                while not os.path.exists(f"{place}/end-{number}"):
                    await asyncio.sleep(0.01)
                return 2 * number
        ''')
    )
    inputs = [{"place": str(tmp_path), "number": number} for number in range(5)]
    shown: dict[str, Any] = {}

    async def looked(client: Client) -> dict[str, Any]:
        shown.update((await client.call_tool("get_batch", {"batch_id": batch})).structured_content or {})
        return shown

    async with serve(folder, state=state) as served, served.client() as client:
        asked = {"name": "slow", "inputs_list": inputs, "concurrency": 1}
        begun = await client.call_tool("run_batch", asked)
        assert begun.structured_content
        batch = begun.structured_content["batch_id"]
        for number in (0, 1):
            (tmp_path / f"end-{number}").touch()

        async def third() -> bool:
            return (await looked(client))["done"] == 2 and "2" in (tmp_path / "begun").read_text()

        await until(third, 30)
        first = [item["run_id"] for item in shown["items"][:2]]
        served.process.send_signal(signal.SIGKILL)
        await served.process.wait()
    for number in (2, 3, 4):
        (tmp_path / f"end-{number}").touch()
    async with serve(folder, state=state) as served, served.client() as client:

        async def ended() -> bool:
            return (await looked(client))["status"] == "done"

        await until(ended, 60)
    assert [item["result"] for item in shown["items"]] == [{"result": 2 * number} for number in range(5)]
    assert [item["run_id"] for item in shown["items"][:2]] == first
    assert (tmp_path / "begun").read_text().split() == ["0", "1", "2", "2", "3", "4"]
