"""Deploys, versions and runs by plain HTTP on a real server, with the bodies of the Hayhooks pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import Served, serve

from .conftest import WRAPPERS, wrapper

pytestmark = pytest.mark.anyio

LIMIT = 60.0
ASK = '''
def run_api(self, context: Context) -> str:
    """Asks first."""
    ok = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    return context.ask("Sure?", ok).action
'''
LEAVE = '''
def run_api(self, context: Context) -> str:
    """Leaves a file."""
    context.artifact("notes ü.txt", b"left", "text/plain")
    return "done"
'''
YAML = """
components:
  prompt:
    type: haystack.components.builders.prompt_builder.PromptBuilder
    init_parameters: {template: "Hello {{ name }}!", required_variables: [name]}
inputs: {name: prompt.name}
outputs: {prompt: prompt.prompt}
"""


def said(text: str) -> str:
    """The wrapper of a pipeline that says this."""
    return wrapper(f'def run_api(self, query: str) -> str:\n    """Says."""\n    return {text!r} + query')


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    made = tmp_path_factory.mktemp("pipelines")
    for name, body in {
        "ask": ASK,
        "leave": LEAVE,
        "hidden": WRAPPERS["hidden"],
        "wait": WRAPPERS["wait"],
    }.items():
        (made / name).mkdir()
        (made / name / "pipeline_wrapper.py").write_text(wrapper(body))
    (made / "broken").mkdir()
    (made / "broken" / "pipeline_wrapper.py").write_text("def nothing(:\n")
    (made / "greeting.yml").write_text(YAML)
    async with serve(made) as running:
        yield running


@pytest.fixture(scope="module")
async def http(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as client:
        yield client


async def deployed(http: httpx.AsyncClient, name: str, text: str, **more: Any) -> httpx.Response:
    body = {"name": name, "files": {"pipeline_wrapper.py": said(text)}, **more}
    return await http.post("/deploy_files", json=body)


async def test_the_body_of_both_pages_deploys_files(http: httpx.AsyncClient) -> None:
    files = {
        "pipeline_wrapper.py": "from .other import TEXT\n" + said("").replace("'' +", "TEXT +"),
        "other.py": "TEXT = 'a'",
    }
    body = {"name": "pipeline_name", "files": files, "save_files": True, "overwrite": False}
    response = await http.post("/deploy_files", json=body)
    assert response.status_code == 200, response.text
    assert response.json()["status"] == "success"
    assert response.json()["message"]
    assert response.json()["pipeline"]["version"] == "1"
    assert (await http.post("/pipeline_name/run", json={"query": "b"})).json() == {"result": "ab"}
    again = await http.post("/deploy_files", json=body)
    assert (again.status_code, again.json()["error"]["type"]) == (409, "conflict_error")
    detailed = (await http.get("/pipelines/pipeline_name/status")).json()
    assert (detailed["name"], detailed["status"], detailed["version"]) == ("pipeline_name", "running", "1")
    assert detailed["uptime"] >= 0
    assert (await http.get("/status/pipeline_name")).json()["status"] == "Up!"
    undeployed = await http.post("/undeploy/pipeline_name")
    assert (undeployed.status_code, undeployed.json()["status"]) == (200, "success")
    assert "pipeline_name" not in (await http.get("/status")).json()["pipelines"]
    assert (await http.post("/pipeline_name/run", json={"query": "b"})).status_code == 404


async def test_a_yaml_is_deployed_with_what_its_request_says_of_it(http: httpx.AsyncClient) -> None:
    body = {"name": "hello", "source_code": YAML, "description": "Greets.", "skip_mcp": True}
    response = await http.post("/deploy-yaml", json=body)
    assert response.status_code == 200, response.text
    assert response.json()["pipeline"]["description"] == "Greets."
    assert (await http.post("/hello/run", json={"name": "Ada"})).json() == {
        "result": {"prompt": "Hello Ada!"}
    }
    tools = (await http.get("/mcp/tools")).json()["tools"]
    assert "hello" not in {tool["name"] for tool in tools}
    assert {"greeting", "deploy_pipeline"} <= {tool["name"] for tool in tools}
    again = await http.post("/deploy-yaml", json={**body, "source_code": YAML + "metadata: {}\n"})
    assert (again.status_code, "metadata" in again.text) == (400, True)


async def test_mcp_says_that_it_is_well(http: httpx.AsyncClient) -> None:
    answer = (await http.get("/mcp/health")).json()
    assert answer["status"] == "healthy"
    assert answer["version"]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/deploy_files", {}, 400, "`name`: Field required; `files`: Field required"),
        ("/deploy_files", {"name": "a", "files": ["x"]}, 400, "`files`: "),
        ("/deploy_files", {"name": "a", "files": {}, "overwite": True}, 400, "`overwite`: "),
        ("/deploy_files", {"name": "a", "files": {}, "overwrite": "yes"}, 400, "`overwrite`: "),
        ("/deploy_files", {"name": "runs", "files": {"pipeline_wrapper.py": ""}}, 400, "reserved"),
        ("/deploy_files", {"name": "../a", "files": {"pipeline_wrapper.py": ""}}, 400, "Not a name"),
        ("/deploy_files", {"name": "a", "files": {"../x.py": ""}}, 400, "cannot be a part of a path"),
        ("/deploy_files", {"name": "a", "files": {"/etc/x.py": ""}}, 400, "a path is relative"),
        ("/deploy_files", {"name": "a", "files": {"pipeline_wrapper.py": "def x(:"}}, 400, "line 1"),
        ("/pipelines/deploy", {"name": "a", "files": [{"name": "x", "content": "???"}]}, 400, "base64"),
        ("/pipelines/deploy", {"name": "a", "files": [{"name": "x", "content": "é"}]}, 400, "base64"),
        (
            "/pipelines/deploy",
            {"name": "a", "files": [{"name": "x", "content": ""}, {"name": "x", "content": ""}]},
            400,
            "two files of the same name",
        ),
        ("/deploy-yaml", {"name": "a", "source_code": "components: ["}, 400, "pipeline.yml"),
        ("/undeploy/nobody", None, 404, "nobody"),
        ("/runs", {"name": "nobody"}, 404, "nobody"),
        ("/runs", {"name": "ask", "arguments": 5}, 400, "`arguments` must be of type object"),
        ("/runs/0a/answer", {"answers": {}}, 404, "There is no run 0a."),
        ("/runs/0a/cancel", {}, 404, "There is no run 0a."),
    ],
)
async def test_bad_changes_are_refused_and_leave_nothing(
    http: httpx.AsyncClient, path: str, body: Any, status: int, text: str
) -> None:
    before = (await http.get("/status")).json()["pipelines"]
    response = await http.post(path, json=body)
    assert response.status_code == status, response.text
    assert text in response.json()["error"]["message"]
    assert (await http.get("/status")).json()["pipelines"] == before


async def test_versions_are_listed_described_staged_compared_and_deleted(http: httpx.AsyncClient) -> None:
    await deployed(http, "many", "one ")
    await deployed(http, "many", "two ", overwrite=True)
    listed = (await http.get("/pipelines/many/versions")).json()["versions"]
    assert [(each["version"], each["stage"]) for each in listed] == [("2", "production"), ("1", "none")]
    first = "/pipelines/many/versions/1"
    told = await http.patch(first, json={"description": "The first.", "metrics": {"accuracy": 0.5}})
    assert (told.json()["description"], told.json()["metrics"]) == ("The first.", {"accuracy": 0.5})
    staged = await http.put(f"{first}/stage", json={"stage": "production", "archive_existing": True})
    assert (staged.status_code, staged.json()["stage"]) == (200, "production")
    assert (await http.post("/many/run", json={"query": "x"})).json() == {"result": "one x"}
    assert (await http.post("/many/run?version=2", json={"query": "x"})).json() == {"result": "two x"}
    production = await http.post("/many/run?stage=production", json={"query": "x"})
    assert production.json() == {"result": "one x"}
    compared = await http.get("/pipelines/many/compare", params={"first": 1, "second": 2})
    assert "two " in compared.json()["source_diff"]
    assert (await http.delete(first)).status_code == 409
    assert (await http.delete("/pipelines/many/versions/2")).json()["status"] == "deleted"
    assert (await http.put(f"{first}/stage", json={"stage": "best"})).status_code == 400
    assert (await http.get("/pipelines/many/statistics")).json()["total"] == 3


async def test_a_run_begun_on_its_own_is_followed_listed_and_repeated(http: httpx.AsyncClient) -> None:
    await deployed(http, "say", "I say ")
    begun = await http.post("/runs", json={"name": "say", "arguments": {"query": "hi"}})
    run = begun.json()["run_id"]
    assert (begun.status_code, begun.headers["location"]) == (202, f"/runs/{run}")
    assert (await ended(http, run))["result"] == {"result": "I say hi"}
    again = (await http.post(f"/runs/{run}/rerun")).json()
    assert again["parent_run_id"] == run
    assert (await ended(http, again["run_id"]))["status"] == "done"
    listed = (await http.get("/runs", params={"pipeline": "say", "limit": 1})).json()
    assert [each["run_id"] for each in listed["runs"]] == [again["run_id"]]
    rest = (await http.get("/runs", params={"pipeline": "say", "cursor": listed["next_cursor"]})).json()
    assert [each["run_id"] for each in rest["runs"]] == [run]
    assert (await http.get("/runs", params={"status": "sad"})).status_code == 400
    assert (await http.get("/runs", params={"limit": "many"})).status_code == 400
    assert (await http.get("/runs", params={"color": "red"})).status_code == 400
    hidden = await http.post("/runs", json={"name": "hidden"})
    assert (await ended(http, hidden.json()["run_id"]))["result"] == {"result": "found"}


async def ended(http: httpx.AsyncClient, run: str) -> Any:
    with anyio.fail_after(LIMIT):
        while (told := (await http.get(f"/runs/{run}")).json())["status"] == "running":
            await anyio.sleep(0.02)
    return told


async def test_a_run_that_asks_is_answered(http: httpx.AsyncClient) -> None:
    told = (await http.post("/ask/run")).json()
    key = next(iter(told["question"]))
    wrong = await http.post(f"/runs/{told['run_id']}/answer", json={"answers": {"other": {}}})
    assert (wrong.status_code, key in wrong.text) == (400, True)
    answered = await http.post(f"/runs/{told['run_id']}/answer", json={"answers": {key: {"ok": True}}})
    assert (answered.status_code, answered.json()["result"]) == (200, {"result": "accept"})


async def test_a_run_is_cancelled(http: httpx.AsyncClient, tmp_path: Path) -> None:
    files = {"started": str(tmp_path / "started"), "stopped": str(tmp_path / "stopped")}
    run = (await http.post("/runs", json={"name": "wait", "arguments": files})).json()["run_id"]
    assert (await http.post(f"/runs/{run}/cancel")).json()["status"] == "cancelled"
    assert (await http.get(f"/runs/{run}")).json()["status"] == "cancelled"


async def test_what_a_run_left_is_read_as_a_file(http: httpx.AsyncClient) -> None:
    response = await http.post("/leave/run")
    answer, run = response.json(), response.headers["x-pipeline-run-id"]
    assert answer["result"] == "done"
    link = next(block for block in answer["content"] if block["type"] == "resource_link")
    file = await http.get(f"/runs/{run}/artifacts/{link['name']}")
    assert (file.content, file.headers["content-type"]) == (b"left", "text/plain; charset=utf-8")
    assert (await http.get(f"/runs/{run}/artifacts/other")).status_code == 404


async def test_a_pipeline_is_drawn_as_mermaid(http: httpx.AsyncClient) -> None:
    drawn = await http.get("/draw/greeting")
    assert drawn.headers["content-type"] == "text/plain; charset=utf-8"
    assert "graph TD" in drawn.text and "prompt" in drawn.text
    typed = await http.get("/draw/greeting", headers={"Accept": "text/vnd.mermaid"})
    assert typed.headers["content-type"].startswith("text/vnd.mermaid")
    assert (await http.get("/draw/ask")).status_code == 404
    assert (await http.get("/draw/broken")).status_code == 503
