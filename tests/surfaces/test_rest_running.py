"""`POST /{name}/run` on a real server: what a pipeline gives, what goes wrong, and a client that leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import Served, serve, until

from .conftest import WRAPPERS, wrapper

pytestmark = pytest.mark.anyio

LIMIT = 60.0
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MORE = {
    "chat_pipeline": '''
        def run_api(self, query: str) -> str:
            """Answers."""
            return f"You said: {query}"
    ''',
    "ask": '''
        def run_api(self, context: Context) -> str:
            """Asks first."""
            ok = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
            return context.ask("Sure?", ok).action
    ''',
    "give": f'''
        def run_api(self, what: str) -> object:
            """Gives what is wanted."""
            import base64
            from haystack.dataclasses import ByteStream
            png = base64.b64decode("{PNG}")
            return {{
                "object": {{"result": 5}},
                "record": {{"answer": 42, "result": 1}},
                "list": [1, None, "ü"],
                "nothing": None,
                "image": png,
                "file": ByteStream(b"a;b", meta={{"file_name": "ü b.csv"}}, mime_type="text/csv"),
                "both": {{"chart": png, "n": 1}},
                "long": {{"text": "x" * 3_000_000}},
                "longrecord": {{"result": "x" * 3_000_000}},
                "longtext": "y" * 3_000_000,
                "big": b"%PDF-" + bytes(3_000_000),
            }}[what]
    ''',
    "takes": '''
        def run_api(self, query: str, params: dict | None = None) -> dict:
            """Takes `params`."""
            return {"query": query, "params": params}
    ''',
    "fail": '''
        def run_api(self, after: int = 0) -> str:
            """Fails, after some text."""
            for number in range(after):
                yield f"piece {number} "
            raise RuntimeError("no luck with /etc/secret")
    ''',
    "chunks": '''
        def run_api(self, number: int) -> list[int]:
            """Streams numbers."""
            yield from range(number)
    ''',
    "picky": '''
        def run_api(self, when: "datetime.date") -> str:
            """Takes a day."""
            return when.isoformat()
    ''',
    "chain": '''
        def setup(self):
            from haystack import Pipeline, component

            @component
            class Note:
                """Appends its name to a file, then takes its time."""

                def __init__(self, name: str):
                    self.name = name

                @component.output_types(path=str)
                def run(self, path: str) -> dict:
                    import time
                    with open(path, "a") as file:
                        file.write(self.name + "\\n")
                    time.sleep(0.5)
                    return {"path": path}

            self.pipeline = Pipeline()
            for number in range(20):
                self.pipeline.add_component(f"c{number}", Note(f"c{number}"))
                if number:
                    self.pipeline.connect(f"c{number - 1}", f"c{number}")

        def run_api(self, path: str) -> str:
            """Runs twenty components, half a second each."""
            return self.pipeline.run({"c0": {"path": path}})["c19"]["path"]
    ''',
    "stuck": '''
        group = "alone"

        def run_api(self, path: str) -> str:
            """Hangs where no exception reaches it."""
            import socket
            with open(path, "w") as file:
                file.write(str(os.getpid()))
            ours, _ = socket.socketpair()
            ours.recv(1)
    ''',
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    made = tmp_path_factory.mktemp("pipelines")
    for name, body in {**WRAPPERS, **MORE}.items():
        (made / name).mkdir()
        head = "import datetime\n" if name == "picky" else ""
        (made / name / "pipeline_wrapper.py").write_text(head + wrapper(body))
    async with serve(made, "--soft-deadline", "3", "--shared-headers", "x-tenant") as running:
        yield running


@pytest.fixture(scope="module")
async def http(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as client:
        yield client


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream of them."""
    parts = (part.splitlines() for part in text.strip().split("\n\n"))
    lines = ([line.partition(": ")[2] for line in part] for part in parts if not part[0].startswith(":"))
    return [(kind, json.loads(data)) for kind, data in lines]


async def test_a_text_is_the_result(http: httpx.AsyncClient) -> None:
    response = await http.post("/chat_pipeline/run", json={"query": "Hello!"})
    assert (response.status_code, response.json()) == (200, {"result": "You said: Hello!"})
    assert response.headers["content-type"] == "application/json"


async def test_the_sample_of_the_pages_runs_with_its_params(http: httpx.AsyncClient) -> None:
    body = {"query": "What is the capital of France?", "params": {"temperature": 0.7}}
    assert (await http.post("/chat_pipeline/run", json=body)).json() == {
        "result": f"You said: {body['query']}"
    }
    assert (await http.post("/takes/run", json=body)).json() == {"result": body}


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("object", {"result": 5}),
        ("record", {"answer": 42, "result": 1}),
        ("list", [1, None, "ü"]),
        ("nothing", None),
        ("long", {"text": "x" * 3_000_000}),
        ("longrecord", {"result": "x" * 3_000_000}),
        ("longtext", "y" * 3_000_000),
    ],
)
async def test_any_value_is_the_result_as_it_is(http: httpx.AsyncClient, what: str, value: Any) -> None:
    assert (await http.post("/give/run", json={"what": what})).json() == {"result": value}


@pytest.mark.parametrize(
    ("what", "kind", "name", "size"),
    [
        ("image", "image/png", "give.png", 70),
        ("file", "text/csv; charset=utf-8", "%C3%BC%20b.csv", 3),
        ("big", "application/pdf", "give.pdf", 3_000_005),
    ],
)
async def test_a_file_is_answered_as_a_file(
    http: httpx.AsyncClient, what: str, kind: str, name: str, size: int
) -> None:
    response = await http.post("/give/run", json={"what": what})
    assert response.status_code == 200
    assert response.headers["content-type"] == kind
    assert response.headers["content-disposition"] == f"attachment; filename*=utf-8''{name}"
    assert len(response.content) == size


async def test_a_value_with_an_image_in_it_is_json_with_the_image_beside(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/give/run", json={"what": "both"})).json()
    assert answer["result"] == {"chart": "content[1] (image/png, 70 bytes)", "n": 1}
    assert answer["content"][1] == {"type": "image", "data": PNG, "mimeType": "image/png"}


async def test_a_stream_is_text_that_comes_piece_by_piece(http: httpx.AsyncClient) -> None:
    async with http.stream("POST", "/words/run", json={"count": 20}) as response:
        pieces = [piece async for piece in response.aiter_text()]
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert len(pieces) > 2
    assert "".join(pieces) == "".join(f"word{number} " for number in range(20))


async def test_a_client_that_accepts_json_gets_the_whole_stream_as_result(http: httpx.AsyncClient) -> None:
    json_only = {"Accept": "application/json"}
    assert (await http.post("/chunks/run", json={"number": 3}, headers=json_only)).json() == {
        "result": [0, 1, 2]
    }


async def test_events_are_sent_to_a_client_that_accepts_them(http: httpx.AsyncClient) -> None:
    accept = {"Accept": "text/event-stream"}
    response = await http.post("/steps/run", json={"count": 2}, headers=accept)
    assert response.headers["content-type"].startswith("text/event-stream")
    told = events(response.text)
    assert told[0] == ("run", {"run_id": response.headers["x-pipeline-run-id"]})
    assert told[1] == ("progress", {"done": 0.0, "total": 2.0, "message": "step 0"})
    assert told[-1] == ("result", {"result": 2})


async def test_a_plain_text_is_given_to_a_client_that_accepts_it(http: httpx.AsyncClient) -> None:
    response = await http.post("/echo/run", json={"text": "ab"}, headers={"Accept": "text/plain"})
    assert (response.headers["content-type"], response.text) == ("text/plain; charset=utf-8", "ab")


async def test_answers_carry_ids_and_the_time_it_took(http: httpx.AsyncClient) -> None:
    response = await http.post("/echo/run", json={"text": "a"}, headers={"X-Request-ID": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-processing-time-ms"].isdecimal()
    assert response.headers["x-pipeline-run-id"]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/echo/run", {}, 400, "Invalid arguments: `text` is required"),
        ("/echo/run", {"text": 5}, 400, "Invalid arguments: `text` must be of type string"),
        (
            "/echo/run",
            {"text": "a", "size": 1},
            400,
            "Invalid arguments: unknown: `size`; known are: text, times",
        ),
        ("/picky/run", {"when": "never"}, 400, "`when`: "),
        ("/nobody/run", {}, 404, "There is no pipeline named nobody."),
        ("/broken/run", {}, 404, "There is no pipeline named broken."),
        ("/fail/run", {}, 500, "RuntimeError: no luck with "),
        ("/leave/run", {}, 500, "The pipeline tried to end the process (exit code 3)."),
        ("/echo/run?version=9", {"text": "a"}, 404, "version"),
        ("/echo/run?version=x", {"text": "a"}, 400, "`version` must be a whole number from 1."),
        ("/echo/run?stage=best", {"text": "a"}, 400, "`stage` must be one of production, "),
        ("/echo/run?timeout=-1", {"text": "a"}, 400, "`timeout` must be a number of seconds above 0."),
    ],
)
async def test_what_goes_wrong_has_its_status_and_one_shape(
    http: httpx.AsyncClient, path: str, body: Any, status: int, text: str
) -> None:
    response = await http.post(path, json=body)
    error = response.json()
    assert response.status_code == status, response.text
    assert text in error["error"]["message"]
    assert "/etc" not in response.text
    assert error["error"]["code"] == status
    assert error["detail"] == error["error"]["message"]
    assert error["request_id"] == response.headers["x-request-id"]


async def test_a_stream_that_fails_says_so_at_its_end(http: httpx.AsyncClient) -> None:
    text = (await http.post("/fail/run", json={"after": 2})).text
    assert text.startswith("piece 0 piece 1 \nError: RuntimeError: no luck")
    told = await http.post("/fail/run", json={"after": 1}, headers={"Accept": "text/event-stream"})
    assert events(told.text)[-1][1]["error"]["code"] == 500


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[1]", "application/json", 400),
        (b"{", "application/json", 400),
        (b"nul", "application/json", 400),
        (b'{"text": "\xff"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"text", "text/plain", 415),
        (b"<a/>", "application/xml", 415),
        (b'{"text": "a"}', "application/problem+json; charset=utf-8", 200),
        (b'{"text": "' + b"x" * 17_000_000 + b'"}', "application/json", 413),
    ],
)
async def test_bodies_that_are_no_json_object_are_refused(
    http: httpx.AsyncClient, body: bytes, kind: str, status: int
) -> None:
    response = await http.post("/echo/run", content=body, headers={"Content-Type": kind})
    assert response.status_code == status, response.text


async def test_other_methods_are_told_which_are_allowed(http: httpx.AsyncClient) -> None:
    wrong = await http.get("/echo/run")
    assert (wrong.status_code, {*wrong.headers["allow"].split(", ")}) == (405, {"OPTIONS", "POST"})
    assert wrong.json()["error"]["type"] == "method_not_allowed_error"
    asked = await http.options("/echo/run")
    assert (asked.status_code, asked.headers["allow"]) == (204, "OPTIONS, POST")
    head = await http.head("/status")
    assert (head.status_code, head.content) == (200, b"")


async def test_a_run_that_asks_is_told_with_the_way_to_answer(http: httpx.AsyncClient) -> None:
    response = await http.post("/ask/run")
    told = response.json()
    assert response.status_code == 202
    assert told["status"] == "waiting"
    assert told["question"]
    assert response.headers["location"] == f"/runs/{told['run_id']}"
    assert f"/runs/{told['run_id']}/answer" in told["next"]


async def test_a_long_run_is_handed_over_and_a_given_timeout_is_waited_for(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    files = {"started": str(tmp_path / "started"), "stopped": str(tmp_path / "stopped")}
    response = await http.post("/wait/run", json=files)
    assert (response.status_code, response.json()["status"]) == (202, "running")
    assert not (tmp_path / "stopped").exists()
    late = await http.post("/wait/run?timeout=1", json=files)
    assert (late.status_code, "timeout of 1 s" in late.text) == (500, True)


async def test_a_call_sent_twice_with_a_key_runs_once(http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "once"}
    first = await http.post("/echo/run", json={"text": "a"}, headers=key)
    second = await http.post("/echo/run", json={"text": "a"}, headers=key)
    assert first.json() == second.json() == {"result": "a"}
    assert first.headers["x-pipeline-run-id"] == second.headers["x-pipeline-run-id"]
    assert (await http.post("/echo/run", json={"text": "b"}, headers=key)).status_code == 409
    assert (
        await http.post("/echo/run", json={"text": "b"}, headers={"Idempotency-Key": ""})
    ).status_code == 400


async def leaving(http: httpx.AsyncClient, path: str, body: Any, begun: Path) -> None:
    """Call, and leave once the pipeline is at work."""
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(http.post(path, json=body))
        await until(anyio.Path(begun).exists, LIMIT)
        asking.cancel()


@pytest.mark.parametrize("path", ["/wait/run", "/api/v1/dspy/execute"])
async def test_an_async_run_stops_at_once_when_its_client_leaves(
    http: httpx.AsyncClient, tmp_path: Path, path: str
) -> None:
    files = {"started": str(tmp_path / "started"), "stopped": str(tmp_path / "stopped")}
    body = files if path == "/wait/run" else {"program_id": "wait", "inputs": files}
    await leaving(http, path, body, tmp_path / "started")
    await until(anyio.Path(tmp_path / "stopped").exists, LIMIT)


async def test_a_haystack_pipeline_stops_between_components_when_its_client_leaves(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    await leaving(http, "/chain/run", {"path": str(notes)}, notes)

    async def at_rest() -> bool:
        before = notes.read_text()
        await anyio.sleep(2)  # four components' time
        return notes.read_text() == before

    await until(at_rest, LIMIT)
    assert len(notes.read_text().splitlines()) < 20


async def test_a_stuck_run_costs_its_host_when_its_client_leaves(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    await leaving(http, "/stuck/run?timeout=600", {"path": str(pid)}, pid)

    async def gone() -> bool:
        return not Path(f"/proc/{pid.read_text()}").exists()

    await until(gone, LIMIT)
    assert (await http.get("/status/stuck")).json()["status"] == "Up!"
