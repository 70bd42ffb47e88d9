"""Files sent to a pipeline on a real server: in any form it takes them, bounded, and gone afterwards."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import Served, serve, until

pytestmark = pytest.mark.anyio

LIMIT = 60.0
TAKES = """
from pathlib import Path
from typing import List, Optional

from fastapi import UploadFile
from haystack.dataclasses import ByteStream
import mcp_server
from mcp_server import Context, PipelineWrapper as Base


class PipelineWrapper(Base):
"""
WRAPPERS = {
    "rag_pipeline": TAKES
    + '''
    def run_api(self, query: str, files: Optional[List[UploadFile]] = None) -> dict:
        """Reads files as Hayhooks' wrappers do."""
        told = [[f.filename, f.content_type, f.size, f.file.read().decode()] for f in files or []]
        assert all(isinstance(f, UploadFile) for f in files or [])
        return {"query": query, "files": told}
''',
    "ours": TAKES
    + '''
    async def run_api_async(self, file: mcp_server.UploadFile) -> list:
        """Reads a file as ours."""
        first = await file.read(2)
        await file.seek(1)
        rest = await file.read()
        await file.close()
        about = [file.filename, file.content_type, file.size, dict(file.headers)]
        return [*about, first.decode(), rest.decode()]
''',
    "kinds": TAKES
    + '''
    def run_api(
        self,
        stream: ByteStream | None = None,
        file: mcp_server.File | None = None,
        raw: bytes | None = None,
        path: Path | None = None,
    ) -> list:
        """Takes a file in four ways."""
        return [
            stream and [stream.data.decode(), stream.mime_type, stream.meta],
            file and [file.text, file.mime_type, file.name],
            raw and raw.decode(),
            path and path.read_text(),
        ]
''',
    "typed": TAKES
    + '''
    def run_api(
        self, text: str = "", number: int = 0, ratio: float | None = None, flag: bool = False,
        names: list[str] | None = None, numbers: list[int] | None = None, extra: dict | None = None,
    ) -> dict:
        """Gives back what is not the default."""
        given = {k: v for k, v in locals().items() if k != "self"}
        return {k: v for k, v in given.items() if v not in (None, "", 0, False)}
''',
    "keep": TAKES
    + '''
    restartable = True

    async def run_api_async(self, file: Path, fail: bool = False, wait: bool = False) -> str:
        """Tells where the file is, then ends as it is told."""
        import asyncio
        if wait:
            (Path(__file__).parent / "began").write_text(str(file))
            await asyncio.Event().wait()
        if fail:
            raise RuntimeError(str(file.read_text()))
        text = file.read_text()
        return text if len(text) < 100 else str(len(text))
''',
    "leave": TAKES
    + '''
    def run_api(self, context: Context) -> str:
        """Leaves a file."""
        return context.artifact("notes.txt", "from a run")
''',
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    for name, text in WRAPPERS.items():
        (made / name).mkdir()
        (made / name / "pipeline_wrapper.py").write_text(text)
    return made


@pytest.fixture(scope="module")
async def served(folder: Path) -> AsyncIterator[Served]:
    async with serve(folder, "--upload-limit", str(20 * 2**20)) as running:
        yield running


@pytest.fixture(scope="module")
async def http(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT) as client:
        yield client


def kept(state: Path) -> list[Path]:
    """The files of requests that are there now."""
    found = (Path(folder) / name for folder, _, names in os.walk(state / "uploads") for name in names)
    return [path for path in found if path.name != "lock"]


async def gone(state: Path) -> bool:
    return not kept(state)


async def test_the_sample_of_the_page_sends_a_folder(http: httpx.AsyncClient, served: Served) -> None:
    files = [("files", (f"docs/{number}.txt", b"x", "text/plain")) for number in range(30)]
    answer = await http.post("/rag_pipeline/run", files=files, data={"query": "Analyze all documents"})
    assert [file[0] for file in answer.json()["result"]["files"]] == [f"docs/{n}.txt" for n in range(30)]
    await until(lambda: gone(served.state), LIMIT)


async def test_no_files_are_fine_too(http: httpx.AsyncClient) -> None:
    for more in ({"data": {"query": "q"}}, {"json": {"query": "q"}}, {"files": {"query": (None, "q")}}):
        answer = await http.post("/rag_pipeline/run", **more)  # pyright: ignore
        assert answer.json() == {"result": {"query": "q", "files": []}}, more


async def test_our_own_upload_file_has_the_same_interface(http: httpx.AsyncClient) -> None:
    answer = await http.post("/ours/run", files={"file": ("a.txt", b"hello", "text/plain")})
    expected = ["a.txt", "text/plain", 5, {"content-type": "text/plain"}, "he", "ello"]
    assert answer.json() == {"result": expected}


async def test_a_file_comes_as_the_type_that_is_wanted(http: httpx.AsyncClient) -> None:
    file = ("a/b.md", "ü".encode(), "text/markdown")
    answer = await http.post("/kinds/run", files=dict.fromkeys(("stream", "file", "raw", "path"), file))
    stream = ["ü", "text/markdown", {"file_path": "b.md"}]
    assert answer.json() == {"result": [stream, ["ü", "text/markdown", "b.md"], "ü", "ü"]}


@pytest.mark.parametrize(
    ("data", "result"),
    [
        ({"text": "123"}, {"text": "123"}),
        ({"text": '"quoted"'}, {"text": "quoted"}),
        ({"text": "null"}, {"text": "null"}),
        ({"text": '{"a": 1}'}, {"text": '{"a": 1}'}),
        ({"number": "12", "ratio": "0.5", "flag": "true"}, {"number": 12, "ratio": 0.5, "flag": True}),
        ({"names": ["a", "1"]}, {"names": ["a", "1"]}),
        ({"names": '["a", "b"]'}, {"names": ["a", "b"]}),
        ({"names": "a"}, {"names": ["a"]}),
        ({"numbers": ["1", "2"]}, {"numbers": [1, 2]}),
        ({"extra": '{"a": [1]}'}, {"extra": {"a": [1]}}),
    ],
)
@pytest.mark.parametrize("multipart", [True, False])
async def test_form_values_are_read_as_their_parameter_says(
    http: httpx.AsyncClient, data: dict[str, Any], result: Any, multipart: bool
) -> None:
    files = [
        (key, (None, each))
        for key, value in data.items()
        for each in ([value] if isinstance(value, str) else value)
    ]
    answer = await http.post("/typed/run", **({"files": files} if multipart else {"data": data}))  # pyright: ignore
    assert answer.json() == {"result": result}


@pytest.mark.parametrize(
    ("given", "kept_as"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\temp\\x.txt", "x.txt"),
        ("..", "file"),
        ("a\x00b\x1f.txt", "ab.txt"),
        ("ü b.txt", "ü b.txt"),
        ("x" * 300 + ".txt", "x" * 196 + ".txt"),
    ],
)
async def test_names_are_made_relative_and_stay_inside(
    http: httpx.AsyncClient, given: str, kept_as: str
) -> None:
    name = given.replace("\\", "\\\\").encode()
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n'
        b"Content-Type: text/plain\r\n\r\nhello\r\n--b--\r\n"
    )
    answer = await http.post(
        "/ours/run", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["result"][0] == kept_as


HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "status", "text"),
    [
        ("multipart/form-data", HEAD + b"x\r\n--b--\r\n", 400, "names no boundary"),
        ("multipart/form-data; boundary=b", b"nonsense", 400, "cannot be read"),
        ("multipart/form-data; boundary=b", HEAD + b"x", 400, "ends too early"),
        ("multipart/form-data; boundary=b", b"", 400, "ends too early"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n", 400, "has no name"),
        ("multipart/form-data; boundary=b", b"--b\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 400, "form"),
        ("multipart/form-data; boundary=b", HEAD + b"x" * 21 * 2**20, 413, "larger than"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"x" * 5 * 2**20,
            413,
            "texts of the form",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n' * 1001,
            413,
            "more than 1000 parts",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\xff\r\n--b--\r\n',
            400,
            "is not UTF-8",
        ),
    ],
)
async def test_broken_and_too_large_forms_are_refused_and_leave_nothing(
    http: httpx.AsyncClient, served: Served, kind: str, body: bytes, status: int, text: str
) -> None:
    response = await http.post("/ours/run", content=body, headers={"Content-Type": kind})
    assert response.status_code == status, response.text
    assert text in response.json()["detail"]
    await until(lambda: gone(served.state), LIMIT)


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"other": ("a", b"x")}, "unknown: `other`"),
        ({"text": ("a", b"x")}, "`text` takes no file"),
        ([("number", (None, "1")), ("number", (None, "2"))], "`number` was given more than once"),
        ({"number": (None, "many")}, "`number` must be of type integer"),
    ],
)
async def test_what_does_not_fit_is_named(
    http: httpx.AsyncClient, served: Served, files: Any, text: str
) -> None:
    response = await http.post("/typed/run", files=files)
    assert (response.status_code, text in response.json()["detail"]) == (400, True), response.text
    await until(lambda: gone(served.state), LIMIT)


async def test_a_large_file_goes_to_disk_and_not_to_other_routes(
    http: httpx.AsyncClient, served: Served
) -> None:
    file = {"file": ("a", b"x" * 18 * 2**20)}
    assert (await http.post("/keep/run", files=file)).json() == {"result": str(18 * 2**20)}
    assert (await http.post("/deploy_files", files=file)).status_code == 413
    assert (await http.post("/deploy_files", files={"file": b"x"})).status_code == 415
    await until(lambda: gone(served.state), LIMIT)


async def test_files_are_gone_after_a_failure(http: httpx.AsyncClient, served: Served) -> None:
    response = await http.post("/keep/run", files={"file": b"what was sent"}, data={"fail": "true"})
    assert (response.status_code, "what was sent" in response.text) == (500, True)
    await until(lambda: gone(served.state), LIMIT)


async def test_files_stay_while_a_run_goes_on_and_are_gone_when_its_client_leaves(
    http: httpx.AsyncClient, served: Served
) -> None:
    began = served.folder / "keep" / "began"
    began.unlink(missing_ok=True)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(http.post("/keep/run", files={"file": b"x"}, data={"wait": "true"}))
        await until(anyio.Path(began).exists, LIMIT)
        assert kept(served.state)
        asking.cancel()
    await until(lambda: gone(served.state), LIMIT)


async def test_what_a_crash_leaves_is_swept_at_the_next_start_and_its_run_is_over(
    folder: Path, tmp_path: Path
) -> None:
    began = folder / "keep" / "began"
    began.unlink(missing_ok=True)
    async with (
        serve(folder, state=tmp_path) as first,
        httpx.AsyncClient(base_url=first.url, trust_env=False, timeout=LIMIT) as client,
    ):
        sent = {"files": {"file": b"x"}, "data": {"wait": "true"}, "headers": {"Idempotency-Key": "k"}}
        asking = asyncio.create_task(client.post("/keep/run", **sent))
        await until(anyio.Path(began).exists, LIMIT)
        first.process.send_signal(signal.SIGKILL)
        await asyncio.wait([asking], timeout=LIMIT)
        assert asking.exception()
    assert kept(tmp_path)
    async with (
        serve(folder, state=tmp_path) as second,
        httpx.AsyncClient(base_url=second.url, trust_env=False, timeout=LIMIT) as client,
    ):
        assert not kept(tmp_path)

        async def over() -> bool:
            (run,) = (await client.get("/runs")).json()["runs"]
            return (run["status"], run.get("error")) == ("failed", "interrupted")

        await until(over, LIMIT)


async def test_the_same_parameter_takes_text_base64_and_artifacts_over_mcp(
    http: httpx.AsyncClient, served: Served
) -> None:
    address = (await http.post("/leave/run")).json()["result"]
    data = base64.b64encode(b"from a run").decode()
    stream, file = ["from a run", "text/plain", {"file_path": "a.txt"}], ["from a run", "text/plain", "a.txt"]
    async with served.client() as client:
        for content in ({"text": "from a run"}, {"data": data}, {"uri": address}):
            each = {"name": "a.txt", **content}
            given = {"stream": each, "file": each, "path": each, "raw": content.get("uri", data)}
            result = await client.call_tool("kinds", given)
            assert result.structured_content == {"result": [stream, file, "from a run", "from a run"]}
        missing = await client.call_tool("kinds", {"stream": {"uri": "run://0a/artifacts/x"}})
        assert missing.is_error
        for forged in ("/etc/passwd", "upload:1-x", "file:///etc/passwd"):
            refused = await client.call_tool("kinds", {"path": {"uri": forged}})
            assert refused.is_error
            assert "there is no file at this address" in refused.content[0].model_dump()["text"]
    await until(lambda: gone(served.state), LIMIT)


async def test_a_disk_that_refuses_files_is_said_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("in the way")
    async with (
        serve(folder, state=tmp_path) as running,
        httpx.AsyncClient(base_url=running.url, trust_env=False, timeout=LIMIT) as client,
    ):
        address = (await client.post("/leave/run")).json()["result"]
        sent = await client.post("/keep/run", files={"file": b"x"})
        named = await client.post("/kinds/run", json={"stream": {"uri": address}})
    assert (sent.status_code, "disk refuses" in sent.text) == (503, True)
    assert (named.status_code, "disk refuses" in named.text) == (500, True)
