"""Pipelines as models of an MLOps platform: every route, every shape, every refusal."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import START_LIMIT

from mcp_server import Settings, create_app

from .conftest import wrapper

pytestmark = pytest.mark.anyio
NUMBER = float
"""Any JSON number."""
TIME = datetime
"""ISO 8601 in UTC."""
MODEL = {"name": str, "version": str, "status": str, "tags": {}}
SHAPES: dict[str, Any] = {
    "list": {"models": [MODEL | {"created_at": NUMBER}]},
    "show": MODEL | {"description": str},
    "delete": {"message": str},
    "transition": {
        "name": str,
        "version": str,
        "stage": str,
        "previous_stage": str,
        "archived": [str],
    },
    "register": {"model_id": str, "model_name": str, "version": str, "registration_timestamp": TIME},
    "compare": {
        "model1": {"name": str, "version": str, "accuracy": NUMBER},
        "model2": {"name": str, "version": str, "accuracy": NUMBER},
        "delta": {"accuracy": NUMBER},
        "recommendation": str,
    },
    "evaluate": {
        "model_name": str,
        "model_version": str,
        "dataset": str,
        "metrics": {"accuracy": NUMBER},
        "batch_id": str,
        "total": NUMBER,
        "failed": NUMBER,
    },
    "metrics": {
        "training_metrics": {"loss": NUMBER, "accuracy": NUMBER},
        "validation_metrics": {"accuracy": NUMBER},
        "production_metrics": {"latency_ms": NUMBER, "throughput_rps": NUMBER},
    },
    "lineage": {"model": str, "parents": [str], "training_data": [str], "experiments": [str]},
    "predictions": {
        "total_predictions": NUMBER,
        "date_range": {"start": str, "end": str},
        "daily_counts": [{"date": str, "count": NUMBER}],
    },
    "batch": {
        "total": NUMBER,
        "successful": NUMBER,
        "failed": NUMBER,
        "results": [{"action": str, "model": str, "success": bool}],
    },
    "production": {"models": [{"name": str, "version": str, "stage": str, "deployed_at": TIME}]},
    "history": {
        "model_id": str,
        "lineage": [{"version": str, "metrics": {}, "created_at": TIME}],
        "total_versions": NUMBER,
        "latest_version": str,
    },
    "impact": {
        "address": str,
        "total_models_improved": NUMBER,
        "total_improvement_score": NUMBER,
        "contributions": [{"model_id": str, "improvement_score": NUMBER, "contributed_at": TIME}],
        "first_contribution": TIME,
        "last_contribution": TIME,
    },
    "invalid": {"detail": [{"loc": [str], "msg": str, "type": str}]},
    "missing": {"detail": str},
}
"""The fields of each answer with their types, as the platform's reference has them."""
OPEN: Any = {"host": "0.0.0.0", "insecure_no_auth": True, "allow_deploy": True}
"""Settings that let a client in this process deploy."""
ADDRESS = "0x1234567890abcdef1234567890ABCDEF12345678"


def fits(shape: Any, value: Any, where: str = "answer") -> None:
    """Fail unless every field is there, with its type; a list must not be empty."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for key, inner in shape.items():
            assert key in value, f"{where}.{key}"
            fits(inner, value[key], f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list) and value, where
        for each in value:
            fits(shape[0], each, f"{where}[]")
    elif shape is NUMBER:
        assert isinstance(value, int | float) and not isinstance(value, bool), f"{where}: {value!r}"
    elif shape is TIME:
        assert datetime.fromisoformat(value).tzinfo == UTC, where
    else:
        assert type(value) is shape, f"{where}: {value!r}"


def says(word: str) -> str:
    """A pipeline that puts a word before its text, and fails for `bad`."""
    body = f'''
        def run_api(self, text: str) -> str:
            """Says something."""
            if text == "bad":
                raise ValueError("no")
            return "{word} " + text
    '''
    return wrapper(body)


GOLDEN = "".join(
    f'{{"inputs": {{"text": "{text}"}}, "expected": "{expected}"}}\n'
    for text, expected in (("a", "two a"), ("b", "Two B "), ("c", "three c"), ("bad", "two bad"))
)


@asynccontextmanager
async def registry(tmp_path: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server where version 1 of `say` says one, and version 2 is in production and says two."""
    app = create_app(Settings(state=tmp_path / "state", engine="local", **OPEN, **settings))
    (tmp_path / "state" / "datasets").mkdir(parents=True)
    (tmp_path / "state" / "datasets" / "words.jsonl").write_text(GOLDEN)
    with anyio.fail_after(START_LIMIT):
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1416") as client:
                for word in ("one", "two"):
                    files = {"pipeline_wrapper.py": says(word)}
                    deployed = {"name": "say", "files": files, "overwrite": True}
                    assert (await client.post("/deploy_files", json=deployed)).status_code == 200
                yield client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with registry(tmp_path) as connected:
        yield connected


@pytest.fixture(scope="module")
async def same(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """The client of one server for all refusals, which change nothing."""
    async with registry(tmp_path_factory.mktemp("registry")) as connected:
        yield connected


async def get(client: httpx.AsyncClient, path: str, status: int = 200) -> Any:
    answer = await client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


async def post(client: httpx.AsyncClient, path: str, body: Any, status: int = 200) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def measured(client: httpx.AsyncClient) -> None:
    """Register metrics of both versions, evaluate the second, and call it once."""
    for version, accuracy in (("1", 0.85), ("2", 0.95)):
        metadata = {"accuracy": accuracy, "loss": 0.05, "dataset": "customers_v2"}
        body = {"model_data": f"say:{version}", "model_type": "generation", "metadata": metadata}
        fits(SHAPES["register"], await post(client, "/models/register", body, 201))
    tags = {"contributor": ADDRESS, "benchmark_metric": "accuracy"}
    assert (await client.patch("/models/say/2", json={"tags": tags})).status_code == 200
    await post(client, "/say/run", {"text": "x"})


async def test_every_answer_has_the_fields_and_types_of_the_reference(client: httpx.AsyncClient) -> None:
    await measured(client)
    found = {"impact": await get(client, f"/models/contributors/{ADDRESS}/impact")}
    body = {"model_name": "say", "model_version": "2", "dataset_path": "words.jsonl"}
    found["evaluate"] = await post(client, "/models/evaluate", body | {"metrics": ["accuracy"]})
    for name, path in {
        "list": "",
        "show": "say/2",
        "compare": "compare?model1=say:1&model2=say:2",
        "metrics": "say/2/metrics",
        "lineage": "say/2/lineage",
        "predictions": "say/2/predictions",
        "production": "production",
        "history": "say/lineage",
    }.items():
        found[name] = await get(client, f"/models/{path}")
        assert name == "metrics" or found[name] == await get(client, f"/api/models/{path}")
    assert await get(client, "/api/models") == found["list"]
    found["missing"] = await get(client, "/models/say/9", 404)
    found["invalid"] = await post(client, "/models/register", {"model_data": "say:1"}, 422)
    operations = [{"action": "transition_stage", "model": "say:1", "stage": "Production"}]
    found["batch"] = await post(client, "/models/batch", {"operations": operations})
    body = {"stage": "Production", "archive_existing": True}
    found["transition"] = await post(client, "/models/say/2/transition", body)
    found["delete"] = (await client.delete("/models/say/1")).json()
    assert found.keys() | {"register"} == SHAPES.keys()
    for name, answer in found.items():
        fits(SHAPES[name], answer, name)


async def test_what_it_tells_is_what_the_catalog_and_the_runs_know(client: httpx.AsyncClient) -> None:
    await measured(client)
    (listed,) = (await get(client, "/models/?name=say"))["models"]
    assert (listed["version"], listed["status"], listed["tags"]["model_type"]) == ("2", "READY", "generation")
    assert abs(listed["created_at"] / 1000 - datetime.now(UTC).timestamp()) < START_LIMIT
    assert (await get(client, "/models/?name=nobody"))["models"] == []
    assert (await get(client, "/models"))["object"] == "list"  # OpenAI's
    assert (await get(client, "/models/say/2"))["description"] == "Says something."
    compared = await get(client, "/models/compare?model1=say:1&model2=say:2")
    assert compared["delta"] == {"accuracy": 0.1, "loss": 0.0}
    assert compared["recommendation"] == "Use version 2"
    lineage = await get(client, "/models/say/2/lineage")
    assert lineage == {
        "model": "say:2",
        "parents": ["say:1"],
        "training_data": ["customers_v2"],
        "experiments": [],
    }
    predictions = await get(client, "/models/say/2/predictions")
    today = datetime.now(UTC).date().isoformat()
    assert predictions["total_predictions"] == 1 and predictions["daily_counts"][0]["date"] <= today
    none = await get(client, "/models/say/1/predictions")
    assert (none["total_predictions"], none["date_range"]["start"], none["daily_counts"]) == (0, None, [])
    impact = await get(client, f"/models/contributors/{ADDRESS.lower()}/impact")
    assert (impact["total_models_improved"], impact["total_improvement_score"]) == (1, 0.1)
    nobody = await get(client, f"/models/contributors/0x{'0' * 40}/impact")
    assert nobody["contributions"] == [] and nobody["first_contribution"] is None


async def test_a_version_is_staged_archived_and_deleted(client: httpx.AsyncClient) -> None:
    rests = await post(client, "/models/say/1/transition", {"stage": "Archived"})
    assert (rests["stage"], rests["archived"]) == ("Archived", []), "it displaced no other"
    moved = await post(client, "/models/say/1/transition", {"stage": "Production", "archive_existing": True})
    assert (moved["previous_stage"], moved["stage"], moved["archived"]) == ("Archived", "Production", ["2"])
    assert (await post(client, "/say/run", {"text": "x"}))["result"] == "one x"
    tagged = await client.patch("/models/say/1", json={"tags": {"by": "me", "for": "you"}})
    assert tagged.json()["tags"] == {"by": "me", "for": "you"}
    tagged = await client.patch("/models/say/1", json={"tags": {"by": None}})
    assert tagged.json()["tags"] == {"for": "you"}
    assert "in production" in (await client.delete("/models/say/1")).json()["detail"]
    assert (await client.delete("/models/say/1")).status_code == 409
    gone = await client.delete("/models/say/2")
    assert gone.json() == {"message": "Model say:2 deleted successfully"}
    assert (await get(client, "/models/say/2", 404))["detail"] == "Model not found: say:2"


async def test_a_source_that_is_kept_is_registered_under_another_name(client: httpx.AsyncClient) -> None:
    digest = (await get(client, "/status/say"))["digest"]
    body = {"model_data": digest, "model_type": "generation", "metadata": {"name": "tell", "f1": 0.5}}
    assert (await post(client, "/models/register", body, 201))["model_name"] == "tell"
    assert (await get(client, "/models/tell/1"))["status"] == "PENDING"
    assert (await post(client, "/models/register", body, 201))["version"] == "1"  # the same source
    assert "tell" not in (await get(client, "/status"))["pipelines"]
    cross = await get(client, "/models/compare?model1=say:2&model2=tell:1")
    assert cross["delta"] == {} and cross["recommendation"].startswith("Use either")
    await post(client, "/models/tell/1/transition", {"stage": "Production"})
    assert (await post(client, "/tell/run", {"text": "x"}))["result"] == "two x"


async def test_a_source_is_downloaded_as_a_zip_that_is_the_same_each_time(client: httpx.AsyncClient) -> None:
    first = await client.get("/models/say/1/download")
    assert first.headers["content-type"] == "application/zip"
    assert "filename*=utf-8" in first.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
        assert archive.read("pipeline_wrapper.py").decode() == says("one")
    again = await client.get("/models/say/1/download", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await client.get("/models/say/1/download")).content == first.content


async def test_metrics_are_told_apart_by_where_they_come_from(client: httpx.AsyncClient) -> None:
    await measured(client)
    body = {"model_name": "say", "model_version": "2", "dataset_path": "words.jsonl"}
    made = await post(client, "/models/evaluate", body | {"metrics": ["exact_match", "accuracy"]})
    assert (made["metrics"], made["total"], made["failed"]) == ({"exact_match": 0.25, "accuracy": 0.5}, 4, 1)
    told = await get(client, "/models/say/2/metrics")
    assert told["training_metrics"] == {"accuracy": 0.95, "loss": 0.05}
    assert told["validation_metrics"] == {"exact_match": 0.25, "accuracy": 0.5}
    assert (await get(client, "/models/say/1/metrics"))["production_metrics"] == {
        "latency_ms": None,
        "throughput_rps": None,
    }
    lineage = await get(client, "/models/say/2/lineage")
    assert lineage["experiments"] == [made["batch_id"]]
    assert lineage["training_data"] == ["customers_v2", "words.jsonl"]
    (two, _) = (await get(client, "/pipelines/say/versions"))["versions"]
    assert two["metrics"] == {"accuracy": 0.5, "exact_match": 0.25, "loss": 0.05}


async def test_a_batch_does_what_it_can(client: httpx.AsyncClient) -> None:
    operations = [
        {"action": "transition_stage", "model": "say:1", "stage": "Staging"},
        {"action": "transition_stage", "model": "say:9", "stage": "Production"},
        {"action": "transition_stage", "model": "say:1", "stage": "Winning"},
        {"action": "fly", "model": "say:1"},
        {"action": "delete", "model": "say:2"},
    ]
    done = await post(client, "/models/batch", {"operations": operations})
    assert (done["total"], done["successful"], done["failed"]) == (5, 1, 4)
    assert [each["success"] for each in done["results"]] == [True, False, False, False, False]
    assert done["results"][1]["error"] == "Model not found: say:9"
    stages = [each["stage"] for each in (await get(client, "/pipelines/say/versions"))["versions"]]
    assert stages == ["production", "staging"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        ("GET", "nobody/1", None, 404, "Model not found: nobody:1"),
        ("GET", "say/first", None, 404, "Model not found: say:first"),
        ("GET", "nobody/lineage", None, 404, "Model not found: nobody"),
        ("GET", "say/9/download", None, 404, "Model not found: say:9"),
        ("PATCH", "say/9", {}, 404, "Model not found: say:9"),
        ("PATCH", "say/1", {"tags": {"a": 1}}, 422, "tags"),
        ("POST", "say/1/transition", {"stage": "Winning"}, 422, "stage"),
        ("POST", "say/9/transition", {"stage": "Production"}, 404, "Model not found: say:9"),
        ("POST", "say/2/transition", {"stage": "None"}, 409, "in production"),
        ("GET", "compare?model1=say:1", None, 422, "field required"),
        ("GET", "compare?model1=say:1&model2=say", None, 422, "name:version"),
        ("GET", "compare?model1=say:1&model2=say:9", None, 404, "Model not found: say:9"),
        ("POST", "register", {"model_data": "s3://bucket/x", "model_type": "x"}, 404, "nothing is fetched"),
        ("POST", "register", {"model_data": "0" * 64, "model_type": "x"}, 422, "name"),
        (
            "POST",
            "register",
            {"model_data": "../../etc", "model_type": "x", "metadata": {"name": "n"}},
            404,
            "digest",
        ),
        (
            "POST",
            "register",
            {"model_data": "say:1", "model_type": "x", "metadata": {"name": "batch"}},
            400,
            "reserved",
        ),
        ("POST", "register", {"model_data": "say:1", "model_type": "x", "metadata": {"a": []}}, 422, "a"),
        ("POST", "batch", {"operations": []}, 422, "operations"),
        ("GET", f"contributors/{ADDRESS}0/impact", None, 422, "40"),
        ("GET", f"contributors/{ADDRESS[2:]}/impact", None, 422, "0x"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_the_status_of_the_reference(
    same: httpx.AsyncClient, method: str, path: str, body: Any, status: int, told: str
) -> None:
    answer = await same.request(method, f"/models/{path}", json=body)
    assert (answer.status_code, told in str(answer.json()["detail"])) == (status, True), answer.text
    assert isinstance(answer.json()["detail"], list) == (status == 422)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("../state.db", 422),
        ("/etc/passwd", 422),
        ("../../../../../../etc/passwd", 422),
        ("a\0b", 422),
        ("x" * 5000, 422),
        ("none.jsonl", 404),
        ("pipeline_wrapper.py", 422),
        ("", 404),
    ],
)
async def test_a_dataset_lies_in_its_places_and_nowhere_else(
    same: httpx.AsyncClient, path: str, status: int
) -> None:
    body = {"model_name": "say", "model_version": "1", "dataset_path": path, "metrics": ["accuracy"]}
    answer = await same.post("/models/evaluate", json=body)
    assert answer.status_code == status, answer.text
    assert "root" not in answer.text
    lineage = await get(same, "/models/say/1/lineage")
    assert lineage["experiments"] == []


async def test_an_unknown_metric_is_refused_before_anything_runs(same: httpx.AsyncClient) -> None:
    body = {"model_name": "say", "model_version": "1", "dataset_path": "words.jsonl", "metrics": ["luck"]}
    refused = await post(same, "/models/evaluate", body, 422)
    assert "luck" in refused["detail"][0]["msg"] and refused["detail"][0]["loc"] == ["body", "metrics"]
    assert (await get(same, "/models/say/1/predictions"))["total_predictions"] == 0
