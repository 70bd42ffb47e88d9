"""Pipelines as the programs of an MLOps platform: run to the end, in batches, counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import START_LIMIT

from mcp_server import Settings, create_app

from .conftest import wrapper
from .test_registry import NUMBER, OPEN, fits

pytestmark = pytest.mark.anyio
ROOT = "/api/v1/dspy"
EXECUTION = {
    "execution_id": str,
    "success": bool,
    "execution_time": NUMBER,
    "program_name": str,
    "metadata": {},
}
RATES = {"total_executions": NUMBER, "success_rate": NUMBER}
SHAPES: dict[str, Any] = {
    "execute": EXECUTION | {"outputs": {"result": str}, "error": type(None)},
    "failed": EXECUTION | {"outputs": type(None), "error": str},
    "batch": {
        "batch_id": str,
        "total": NUMBER,
        "successful": NUMBER,
        "failed": NUMBER,
        "results": [EXECUTION],
    },
    "programs": [
        {
            "program_id": str,
            "name": str,
            "version": str,
            "signatures": [{"input_fields": [str], "output_fields": [str]}],
            "description": str,
        }
    ],
    "execution": EXECUTION | {"outputs": {"result": str}, "status": str},
    "stats": {
        "statistics": RATES | {"average_execution_time": NUMBER},
        "cache_enabled": bool,
        "mlflow_tracking": bool,
    },
    "health": RATES | {"status": str},
}
"""The fields of each answer with their types, as the platform's reference has them."""
BODY = '''
    title = "Say it"
    cache = 60

    def run_api(self, text: str) -> str:
        """Says something."""
        if text == "bad":
            raise ValueError("no such word")
        return "well, " + text
'''
ASKS = """
    def run_api(self, context: Context) -> str:
        return str(context.ask("Really?", {"type": "object", "properties": {"yes": {"type": "boolean"}}}))
"""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings(state=tmp_path / "state", engine="local", **OPEN))
    with anyio.fail_after(START_LIMIT):
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1416") as client:
                for name, body in (("say", BODY), ("ask", ASKS)):
                    files = {"pipeline_wrapper.py": wrapper(body)}
                    deployed = await client.post("/deploy_files", json={"name": name, "files": files})
                    assert deployed.status_code == 200, deployed.text
                yield client


async def post(client: httpx.AsyncClient, path: str, body: Any, status: int = 200) -> Any:
    answer = await client.post(ROOT + path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def get(client: httpx.AsyncClient, path: str, status: int = 200) -> Any:
    answer = await client.get(ROOT + path)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_every_answer_has_the_fields_and_types_of_the_reference(client: httpx.AsyncClient) -> None:
    body = {"program_id": "say", "inputs": {"text": "yes"}, "mode": "normal", "timeout": 300}
    found = {"execute": await post(client, "/execute", body)}
    found["failed"] = await post(client, "/execute", body | {"inputs": {"text": "bad"}})
    many = {"program_id": "say", "inputs_list": [{"text": "a"}, {"text": "bad"}, {"word": "b"}]}
    found["batch"] = await post(client, "/execute/batch", many)
    found["execution"] = await get(client, f"/execution/{found['execute']['execution_id']}")
    for name in ("stats", "health"):
        found[name] = await get(client, f"/{name}")
    assert [each["program_id"] for each in await get(client, "/programs")] == ["ask", "say"]
    found["programs"] = (await get(client, "/programs"))[1:]
    assert found.keys() == SHAPES.keys()
    for name, answer in found.items():
        fits(SHAPES[name], answer, name)
    assert found["execute"]["outputs"] == {"result": "well, yes"}
    assert "no such word" in found["failed"]["error"]
    assert found["execution"]["status"] == "done"
    batch = found["batch"]
    assert (batch["total"], batch["successful"], batch["failed"]) == (3, 1, 2)
    assert [each["success"] for each in batch["results"]] == [True, False, False]
    assert found["programs"][0]["signatures"] == [{"input_fields": ["text"], "output_fields": ["result"]}]
    assert found["stats"]["cache_enabled"] is True
    counted = found["stats"]["statistics"]
    assert counted["total_executions"] == found["health"]["total_executions"] == 5
    assert counted["success_rate"] == 0.4


async def test_what_could_not_begin_is_refused(client: httpx.AsyncClient) -> None:
    for identity in ("nobody", "say:9", "say:x", "say:"):
        body = {"program_id": identity, "inputs": {"text": "x"}}
        told = await post(client, "/execute", body, 404)
        assert told["detail"] == f"Program not found: {identity}"
    wrong = {"program_id": "say", "inputs": {"word": "x"}}
    told = await post(client, "/execute", wrong, 422)
    assert told["detail"][0]["loc"] == ["body", "inputs"] and "`text`" in told["detail"][0]["msg"]
    for body in ({}, {"program_id": "say", "mode": "fast"}, {"program_id": "say", "timeout": 0}):
        assert isinstance((await post(client, "/execute", body, 422))["detail"], list)
    assert (await post(client, "/execute/batch", {"program_id": "say", "inputs_list": []}, 422))["detail"]
    assert (await get(client, "/execution/none", 404))["detail"] == "Execution not found: none"
    assert (await get(client, "/stats"))["statistics"]["total_executions"] == 0


async def test_one_that_asks_tells_how_to_go_on(client: httpx.AsyncClient) -> None:
    waits = await post(client, "/execute", {"program_id": "ask"})
    assert not waits["success"] and "Really?" in waits["error"]
    assert (await get(client, f"/execution/{waits['execution_id']}"))["status"] == "waiting"
    answers = {"answers": {"answer": {"yes": True}}}
    answered = await client.post(f"/runs/{waits['execution_id']}/answer", json=answers)
    assert answered.status_code == 200, answered.text


async def test_kept_results_are_forgotten_by_whoever_may_deploy(client: httpx.AsyncClient) -> None:
    body = {"program_id": "say", "inputs": {"text": "yes"}}
    ran = [(await post(client, "/execute", body))["execution_id"] for _ in range(2)]
    assert await post(client, "/cache/clear", {}) == {"message": "Cache cleared successfully"}
    ran.append((await post(client, "/execute", body))["execution_id"])
    assert ran[0] == ran[1] != ran[2]
