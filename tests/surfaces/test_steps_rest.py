"""The routes of step-wise pipelines as their seed describes them, on a real server over real sockets."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml
from clients import Served, serve, until
from openai_server import openai_server
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

pytestmark = pytest.mark.anyio

LIMIT = 30.0
MOCK = "haystack.components.generators.chat.mock.MockChatGenerator"
ARTICLE = f"""
inputs: {{source_material: Facts., target_audience: Readers.}}
models:
  echo: {{type: {MOCK}, price: {{input: 1000, output: 1000}}}}
  fixed:
    type: {MOCK}
    init_parameters: {{responses: [{{role: assistant, content: [{{text: always this}}]}}]}}
steps:
  - name: angles
    description: Generate multiple article angles
    models: [echo, fixed]
    template: "Based on this source material: {{source_material}}"
  - {{name: outline, models: echo, template: "Outline of {{angles_output}}"}}
"""
INPUTS = {"source_material": "WASM", "target_audience": "developers"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def articles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    (made / "tech-article.yaml").write_text(ARTICLE)
    return made


@pytest.fixture(scope="module")
async def server(articles: Path) -> AsyncIterator[Served]:
    async with serve(articles) as running:
        yield running


@pytest.fixture
async def http(server: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=LIMIT) as client:
        yield client


async def started(http: httpx.AsyncClient) -> str:
    body = {"pipeline_path": "pipelines/tech-article.yaml", "user_inputs": INPUTS}
    response = await http.post("/pipeline/start", json=body)
    assert response.status_code == 201, response.text
    return response.json()["pipeline_run_id"]


async def executed(http: httpx.AsyncClient, run: str, **body: Any) -> list[dict[str, Any]]:
    """Execute the current step, and give what its websocket says."""
    response = await http.post(f"/step/{run}/execute", json=body)
    assert response.status_code == 202, response.text
    return await streamed(response.json()["websocket_url"])


async def streamed(url: str) -> list[dict[str, Any]]:
    with anyio.fail_after(LIMIT):
        async with connect(url, proxy=None) as socket:
            return [json.loads(message) async for message in socket]


async def posted(http: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    response = await http.post(path, json=body)
    assert response.is_success, response.text
    return response.json()


async def test_what_a_client_has_already_is_not_sent_again(http: httpx.AsyncClient) -> None:
    run = await started(http)
    for path in (f"/pipeline/{run}/status", f"/artifacts/{run}"):
        first = await http.get(path)
        tag = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}
        again = await http.get(path, headers=tag)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["x-pipeline-state-version"] == first.headers["x-pipeline-state-version"]
        assert (await http.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    before = await http.get(f"/pipeline/{run}/status")
    await executed(http, run)
    tag = {"If-None-Match": before.headers["etag"]}
    assert (await http.get(f"/pipeline/{run}/status", headers=tag)).status_code == 200


async def test_the_workflow_of_the_seed_runs(http: httpx.AsyncClient) -> None:
    start = await http.post(
        "/pipeline/start", json={"pipeline_path": "pipelines/tech-article.yaml", "user_inputs": INPUTS}
    )
    assert start.status_code == 201
    assert start.json()["first_step"] == {
        "step_name": "angles",
        "description": "Generate multiple article angles",
        "models": ["echo", "fixed"],
        "template": "Based on this source material: {source_material}",
    }
    run = start.json()["pipeline_run_id"]
    execute = await http.post(f"/step/{run}/execute", json={"step_name": "angles"})
    assert execute.status_code == 202
    assert execute.json()["models"] == ["echo", "fixed"]
    select = await http.post(
        f"/step/{run}/select", json={"response_ids": ["resp-001"], "user_feedback": "Good"}
    )
    assert select.status_code == 200
    assert select.json()["merged_output"] == "Based on this source material: WASM"
    assert select.json()["next_step"]["step_name"] == "outline"
    save = await http.post(f"/pipeline/{run}/save")
    assert save.status_code == 200


async def test_the_status_follows_the_run(http: httpx.AsyncClient) -> None:
    run = await started(http)

    async def status() -> tuple[Any, ...]:
        body = (await http.get(f"/pipeline/{run}/status")).json()
        assert body["created_at"].endswith("Z") and body["last_activity"].endswith("Z")
        return body["status"], body["current_step"], body["completed_steps"], body["progress_percent"]

    assert await status() == ("INITIALIZING", "angles", [], 0)
    await executed(http, run)
    assert await status() == ("PAUSED", "angles", [], 0)
    await posted(http, f"/step/{run}/select", response_ids=["resp-002"])
    assert await status() == ("PAUSED", "outline", ["angles"], 50)
    await executed(http, run)
    last = await posted(http, f"/step/{run}/select", response_ids=["resp-003"])
    assert (last["merged_output"], last["next_step"]) == ("Outline of always this", None)
    assert await status() == ("COMPLETED", None, ["angles", "outline"], 100)


async def test_the_websocket_streams_each_model_and_is_replayed_to_a_late_listener(
    http: httpx.AsyncClient, server: Served
) -> None:
    run = await started(http)
    messages = await executed(http, run)
    tokens, last = messages[:-1], messages[-1]
    assert {token["type"] for token in tokens} == {"stream_token"}
    said = "".join(token["content"] for token in tokens if token["response_id"] == "resp-001")
    assert said == "Based on this source material: WASM"
    assert {(token["model"], token["response_index"]) for token in tokens} == {("echo", 0), ("fixed", 1)}
    assert (last["type"], last["step_name"], last["total_responses"]) == ("stream_complete", "angles", 2)
    assert last["response_ids"] == ["resp-001", "resp-002"]
    assert await streamed(f"ws{server.url[4:]}/step/{run}/stream") == messages


async def test_a_websocket_of_a_foreign_page_is_refused(http: httpx.AsyncClient, server: Served) -> None:
    run = await started(http)
    with pytest.raises(InvalidStatus) as refused:
        async with connect(
            f"ws{server.url[4:]}/step/{run}/stream", proxy=None, origin="https://evil.example"
        ):
            pass
    assert refused.value.response.status_code == 403


async def test_a_websocket_without_a_run_says_so(server: Served) -> None:
    (message,) = await streamed(f"ws{server.url[4:]}/step/nothing/stream")
    assert (message["type"], message["error"]) == ("error", "pipeline_not_found")


async def test_rewind_fork_and_artifacts_answer_as_the_seed_shows(http: httpx.AsyncClient) -> None:
    run = await started(http)
    await executed(http, run, user_feedback="Focus on speed")
    await posted(http, f"/step/{run}/select", response_ids=["resp-001"])
    await executed(http, run)
    rewound = await posted(http, f"/step/{run}/rewind", target_step="angles")
    assert rewound["new_current_step"] == "angles"
    assert rewound["invalidated_steps"] == ["outline"]
    response = await http.post(
        f"/step/{run}/fork", json={"from_response_id": "resp-002", "branch_name": "other"}
    )
    assert response.status_code == 201
    fork = response.json()
    assert (fork["branch_point"], fork["parent_pipeline_run_id"], fork["branch_name"]) == (
        "angles",
        run,
        "other",
    )
    artifacts = (await http.get(f"/artifacts/{run}?step_name=angles")).json()
    assert artifacts["total_count"] == 2
    first = artifacts["artifacts"][0]
    assert first["prompt_used"].startswith("Based on this source material: WASM")
    assert (first["artifact_id"], first["model_name"], first["selected_for_next"]) == (
        "art-001",
        "echo",
        False,
    )
    assert first["tokens_used"] > 0 and first["cost_usd"] > 0
    short = (await http.get(f"/artifacts/{run}?include_responses=false&limit=1")).json()
    assert short["total_count"] == 3 and len(short["artifacts"]) == 1
    assert "raw_output" not in short["artifacts"][0]


async def test_a_saved_run_holds_the_keys_of_the_seed_and_lies_in_the_state_folder(
    http: httpx.AsyncClient, server: Served
) -> None:
    run = await started(http)
    await executed(http, run)
    await posted(http, f"/step/{run}/select", response_ids=["resp-001"], user_feedback="Good")
    saved = await posted(http, f"/pipeline/{run}/save", output_path="exports/my-article.yaml")
    assert saved["saved_path"] == "exports/my-article.yaml"
    text = (server.state / saved["saved_path"]).read_text()
    assert saved["file_size"] == len(text.encode())
    whole = yaml.safe_load(text)
    assert whole["metadata"]["pipeline_run_id"] == run
    assert whole["metadata"]["configuration"] == "tech-article"
    assert whole["metadata"]["total_cost"].startswith("$")
    assert whole["final_article"] is None
    angles = whole["pipeline_history"]["angles"]
    assert (angles["models_used"], angles["user_selection"], angles["user_feedback"]) == (
        ["echo", "fixed"],
        0,
        "Good",
    )
    assert len(angles["responses"]) == 2


@pytest.mark.parametrize("path", ["../out.yaml", "/out.yaml", "exports/../../out.yaml", "out.txt", ".a.yaml"])
async def test_an_export_stays_below_the_state_folder(http: httpx.AsyncClient, path: str) -> None:
    run = await started(http)
    response = await http.post(f"/pipeline/{run}/save", json={"output_path": path})
    assert (response.status_code, response.json()["error"]) == (400, "validation_error")


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "details"),
    [
        (
            "/pipeline/start",
            {"pipeline_path": "tech-article.yaml", "user_inputs": {"target_audience": "x"}},
            400,
            "validation_error",
            {"field": "user_inputs.source_material", "constraint": "required"},
        ),
        (
            "/pipeline/start",
            {"pipeline_path": "invalid-pipeline.yaml"},
            404,
            "config_not_found",
            {"pipeline_path": "invalid-pipeline.yaml"},
        ),
        (
            "/pipeline/start",
            {},
            400,
            "validation_error",
            {"field": "pipeline_path", "constraint": "required"},
        ),
        ("/step/nothing/execute", {}, 404, "pipeline_not_found", {}),
    ],
)
async def test_errors_have_the_shape_of_the_seed(
    http: httpx.AsyncClient, path: str, body: Any, status: int, code: str, details: Any
) -> None:
    response = await http.post(path, json=body, headers={"X-Request-ID": "req-12345"})
    told = response.json()
    assert (response.status_code, told["error"], told["details"]) == (status, code, details)
    assert told["request_id"] == response.headers["X-Request-ID"] == "req-12345"
    assert told["message"] and told["timestamp"].endswith("Z")


async def test_a_transition_that_the_state_does_not_allow_is_a_conflict(http: httpx.AsyncClient) -> None:
    run = await started(http)
    early = await http.post(f"/step/{run}/select", json={"response_ids": ["resp-001"]})
    assert (early.status_code, early.json()["error"]) == (409, "invalid_state_transition")
    wrong = await http.post(f"/step/{run}/execute", json={"step_name": "outline"})
    assert (wrong.status_code, wrong.json()["error"]) == (409, "invalid_state_transition")


async def test_answers_carry_the_headers_of_the_seed(http: httpx.AsyncClient) -> None:
    run = await started(http)
    response = await http.get(f"/pipeline/{run}/status")
    assert response.headers["X-Pipeline-Run-ID"] == run
    assert response.headers["Cache-Control"] == "no-cache, no-store"
    assert response.headers["X-Processing-Time-Ms"].isdecimal()
    before = int(response.headers["X-Pipeline-State-Version"])
    await executed(http, run)
    after = (await http.get(f"/pipeline/{run}/status")).headers["X-Pipeline-State-Version"]
    assert int(after) > before


async def test_a_run_goes_on_after_the_server_was_killed_between_two_steps(
    articles: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    run = ""
    for _ in range(2):
        async with serve(articles, state=state) as served:
            async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as http:
                run = run or await started(http)
                await executed(http, run)
                step = (await http.get(f"/pipeline/{run}/status")).json()["current_step"]
                artifacts = (await http.get(f"/artifacts/{run}?step_name={step}")).json()["artifacts"]
                await posted(http, f"/step/{run}/select", response_ids=[artifacts[-1]["response_id"]])
            served.process.send_signal(signal.SIGKILL)
            await served.process.wait()
    async with serve(articles, state=state) as served:
        async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as http:
            status = (await http.get(f"/pipeline/{run}/status")).json()
            assert (status["status"], status["completed_steps"]) == ("COMPLETED", ["angles", "outline"])
            saved = await posted(http, f"/pipeline/{run}/save")
        whole = yaml.safe_load((state / saved["saved_path"]).read_text())
    assert whole["final_article"] == "Outline of always this"


HALF = """
inputs: {topic: ""}
models:
  quick: {type: haystack.components.generators.chat.mock.MockChatGenerator}
  slow:
    type: haystack.components.generators.chat.openai.OpenAIChatGenerator
    init_parameters: {api_key: {type: env_var, env_vars: [OPENAI_API_KEY], strict: true}}
metadata: {mcp: {env: [OPENAI_API_KEY, OPENAI_BASE_URL]}}
steps:
  - {name: only, models: [quick, slow], template: "About {topic}"}
"""


async def test_a_step_that_a_kill_interrupts_is_continued_with_only_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "half.yml").write_text(HALF)
    asked, goes_on = threading.Event(), threading.Event()

    def slowly(body: dict[str, Any]) -> str:
        asked.set()
        assert goes_on.wait(LIMIT)
        return "at last"

    with openai_server(slowly) as model:
        for name, value in model.environment.items():
            monkeypatch.setenv(name, value)
        async with serve(tmp_path / "pipelines", state=tmp_path / "state") as served:
            async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as http:
                body = {"pipeline_path": "half", "user_inputs": {"topic": "tea"}}
                run = (await posted(http, "/pipeline/start", **body))["pipeline_run_id"]
                await posted(http, f"/step/{run}/execute")
                assert await anyio.to_thread.run_sync(asked.wait, LIMIT)

                async def kept() -> list[dict[str, Any]]:
                    return (await http.get(f"/artifacts/{run}")).json()["artifacts"]

                async def one() -> bool:
                    return len(await kept()) == 1

                await until(one, LIMIT)
                before = await kept()
                busy = await http.post(f"/step/{run}/execute", json={})
                assert (busy.status_code, busy.json()["error"]) == (409, "step_in_progress")
                assert busy.json()["details"] == {"current_step": "only", "step_status": "RUNNING"}
                assert (await http.get(f"/pipeline/{run}/status")).json()["status"] == "RUNNING"
                fork = (await posted(http, f"/step/{run}/fork", from_response_id="resp-001"))[
                    "new_pipeline_run_id"
                ]
                assert (await http.get(f"/pipeline/{fork}/status")).json()["status"] == "COMPLETED"
            served.process.send_signal(signal.SIGKILL)
            await served.process.wait()
        goes_on.set()
        async with (
            serve(tmp_path / "pipelines", state=tmp_path / "state") as served,
            httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as http,
        ):

            async def paused() -> bool:
                return (await http.get(f"/pipeline/{run}/status")).json()["status"] == "PAUSED"

            await until(paused, LIMIT)
            after = (await http.get(f"/artifacts/{run}")).json()["artifacts"]
    assert [each["raw_output"] for each in after] == ["About tea", "at last"]
    assert after[0] == before[0], "what was stored is not asked for again"
    assert len(model.requests) == 2
