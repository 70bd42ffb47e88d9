"""What the pages of Hayhooks show, sent to one server: the port and the name of the program are ours."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from clients import Served, loaded, serve

from .test_dropin import FILES

LIMIT = 60.0
SHOWN = "http://localhost:1416"
"""The address that the pages show."""
OLDER, NEWER, RUNNING = "older API page", "API page", "running pipelines"
KIND = "-H 'Content-Type: application/json'"
MORE = {
    "rag_pipeline/pipeline_wrapper.py": '''
from typing import List, Optional
from fastapi import UploadFile
from hayhooks import BasePipelineWrapper

class PipelineWrapper(BasePipelineWrapper):
    def setup(self) -> None:
        pass

    def run_api(
        self, query: str, files: Optional[List[UploadFile]] = None, temperature: float = 0.0
    ) -> str:
        """Tell what came."""
        told = [f"{file.filename}={file.file.read().decode()}" for file in files or []]
        return " ".join([query, str(temperature), *sorted(told)])
''',
    "web_pipeline/pipeline_wrapper.py": '''
from typing import List
from hayhooks import BasePipelineWrapper

class PipelineWrapper(BasePipelineWrapper):
    def setup(self) -> None:
        pass

    def run_api(self, urls: List[str], question: str) -> str:
        """Tell what is asked of which pages."""
        return f"{question} {urls}"
''',
    "shaky_pipeline/pipeline_wrapper.py": '''
from hayhooks import BasePipelineWrapper

class PipelineWrapper(BasePipelineWrapper):
    def setup(self) -> None:
        self.calls = 0

    def run_api(self, query: str) -> str:
        """Answer from the second call on."""
        self.calls += 1
        if self.calls == 1:
            raise ConnectionError("not yet")
        return query
''',
}
UPLOADS = {
    "document.pdf": "d",
    "doc1.pdf": "1",
    "doc2.txt": "2",
    "documents/a.txt": "a",
    "documents/b/c.txt": "c",
}
SAYS = "class PipelineWrapper:\n    def run_api(self, query: str) -> str:\n        return query\n"


class Sample(NamedTuple):
    """One sample: where it stands, what is sent, and parts of what is printed."""

    page: str
    heading: str
    code: str
    answer: tuple[str, ...]


def post(path: str, body: str) -> str:
    """A body of JSON, sent by curl."""
    return f"curl -sS -X POST {SHOWN}{path} {KIND} -d '{body}'"


def get(path: str) -> str:
    """An address, read by curl; the status is printed last."""
    return f"curl -sS -w ' %{{http_code}}' {SHOWN}{path}"


def chat(model: str, text: str, more: str = "") -> str:
    """The body of a chat."""
    return f'{{"model": "{model}", "messages": [{{"role": "user", "content": "{text}"}}]{more}}}'


HELLO, ASKED = '{"query": "Hello!"}', '{"query": "What is Haystack?"}'
SAID = ('"object":"chat.completion"', '"role":"assistant"', '"content":"Hello!"', '"finish_reason":"stop"')
WELL = ('{"result":"Well: What is Haystack?"}',)
RUN = "mcp-server pipeline run"
SHELL = [
    Sample(
        page,
        "Deploy Pipeline, Undeploy Pipeline",
        post(
            "/deploy_files",
            f'{{"name": "{name}", "files": {{"pipeline_wrapper.py": {{SAYS}}, "other.py": ""}}, '
            '"save_files": true, "overwrite": false}',
        ).replace("{SAYS}", '"' + SAYS.replace("\n", "\\n") + '"')
        + f" && {post(f'/{name}/run', HELLO)} && curl -sS -X POST {SHOWN}/undeploy/{name}",
        ('"status":"success","message":', '{"result":"Hello!"}', "was undeployed."),
    )
    for page, name in ((OLDER, "pipeline_older"), (NEWER, "pipeline_newer"))
]
SHELL += [
    Sample(
        OLDER,
        "Deploy via cURL",
        f"""curl -sS -X POST {SHOWN}/pipelines/deploy {KIND} -d '{{"name": "sent_pipeline", "files": [
            {{"name": "pipeline_wrapper.py", "content": "'$(base64 -w 0 pipeline_wrapper.py)'"}}]}}' """
        f"&& {post('/sent_pipeline/run', HELLO)} && curl -sS -X POST {SHOWN}/undeploy/sent_pipeline",
        ('"status":"success"', '{"result":"Hello!"}'),
    ),
    Sample(
        OLDER,
        "Get Pipeline Status",
        get("/pipelines/my_pipeline/status"),
        ('"name":"my_pipeline"', '"status":"running"', '"version":"1"', '"uptime":', " 200"),
    ),
    Sample(
        NEWER, "Get Pipeline Status", get("/status/my_pipeline"), ('"status":"Up!"', '"pipeline":', " 200")
    ),
    Sample(
        OLDER, "Get All Pipeline Statuses", get("/status"), ('"details":[{', '"status":"running"', " 200")
    ),
    Sample(
        NEWER,
        "Get All Pipeline Statuses",
        get("/status"),
        ('"status":"Up!"', '"pipelines":["chat_pipeline","my_pipeline"', " 200"),
    ),
    Sample(OLDER, "MCP Health Check", get("/mcp/health"), ('"status":"healthy"', '"version":', " 200")),
    Sample(
        OLDER,
        "List MCP Tools",
        get("/mcp/tools"),
        ('"tools":[', '"name":"deploy_pipeline"', '"description":', " 200"),
    ),
    Sample(OLDER, "Chat Completion", post("/chat/completions", chat("chat_pipeline", "Hello!")), SAID),
    Sample(
        RUNNING,
        "With custom headers",
        post("/my_pipeline/run", ASKED) + " -H 'Authorization: Bearer token'",
        WELL,
    ),
    Sample(
        RUNNING,
        "Multipart Form Data",
        f"""curl -sS -X POST {SHOWN}/rag_pipeline/run -F 'files=@document.pdf' -F 'query="Summarize it"'""",
        ('{"result":"Summarize it 0.0 document.pdf=d"}',),
    ),
    Sample(
        RUNNING,
        "Multipart Form Data: Multiple files",
        f"curl -sS -X POST {SHOWN}/rag_pipeline/run -F 'files=@doc1.pdf' -F 'files=@doc2.txt' "
        """-F 'query="Compare them"'""",
        ('{"result":"Compare them 0.0 doc1.pdf=1 doc2.txt=2"}',),
    ),
    Sample(
        RUNNING,
        "Streaming chat completion",
        post("/v1/chat/completions", chat("my_pipeline", "What is Haystack?", ', "stream": true')),
        ('"role":"assistant"', '"delta":{"content":"', '"finish_reason":"stop"', "data: [DONE]"),
    ),
    Sample(
        OLDER, "Error Response Format", post("/nowhere/run", HELLO), ('"error":{"message":', '"code":404')
    ),
    Sample(
        NEWER,
        "Error Response Format",
        post("/my_pipeline/run", '{"quarry": 1}'),
        ('"error":{"message":"Invalid arguments: ', '"type":"invalid_request_error"', '"code":400'),
    ),
    Sample(
        RUNNING, "CLI: JSON", f"""{RUN} my_pipeline --param 'query="What is it?"'""", ("Well: What is it?\n",)
    ),
    Sample(
        RUNNING,
        "CLI: multiple parameters",
        f"""{RUN} my_pipeline --param 'query="What is it?"' --param 'temperature=0.7'""",
        ("Well: What is it?\n",),
    ),
    Sample(
        RUNNING,
        "CLI: complex JSON",
        f"""{RUN} web_pipeline --param 'urls=["https://example.com"]' --param 'question="What is this?"'""",
        ("What is this? ['https://example.com']\n",),
    ),
    Sample(
        RUNNING,
        "CLI: directory",
        f"""{RUN} rag_pipeline --dir ./documents --param 'query="Analyze"'""",
        ("Analyze 0.0 a.txt=a b/c.txt=c\n",),
    ),
    Sample(
        RUNNING,
        "CLI: multiple files",
        f"""{RUN} rag_pipeline --file doc1.pdf --file doc2.txt --param 'query="Compare"'""",
        ("Compare 0.0 doc1.pdf=1 doc2.txt=2\n",),
    ),
    Sample(
        RUNNING,
        "CLI: file, additional parameters",
        f"""{RUN} rag_pipeline --file document.pdf --param 'query="Analyze"' --param 'temperature=0.5'""",
        ("Analyze 0.5 document.pdf=d\n",),
    ),
    Sample(NEWER, "CLI", f"""{RUN} chat_pipeline --param 'query="Hello!"'""", ("Hello!\n",)),
]
SHELL += [
    Sample(page, "Run Pipeline", post("/my_pipeline/run", body), WELL)
    for page in (OLDER, NEWER)
    for body in ('{"query": "What is Haystack?", "params": {"temperature": 0.7}}',)
]
SHELL += [
    Sample(page, "Run", post(f"/{name}/run", body), (answer,))
    for page, name, body, answer in (
        (OLDER, "chat_pipeline", HELLO, '{"result":"Hello!"}'),
        (NEWER, "chat_pipeline", HELLO, '{"result":"Hello!"}'),
        (RUNNING, "my_pipeline", ASKED, *WELL),
    )
]
SHELL += [
    Sample(
        page,
        "OpenAI-Compatible Chat Completion",
        post("/v1/chat/completions", chat(name, "Hello!", more)),
        SAID,
    )
    for page, name, more in (
        (OLDER, "chat_pipeline", ""),
        (NEWER, "chat_pipeline", ', "stream": false, "temperature": 0.7'),
        (RUNNING, "my_pipeline", ""),
    )
]
SHELL += [
    Sample(NEWER, "OpenAPI Schema", get(f"/openapi.{kind}"), ("/my_pipeline/run", " 200"))
    for kind in ("json", "yaml")
]
SHELL += [
    Sample(NEWER, "Interactive API Documentation", get(page), ("<html", " 200"))
    for page in ("/docs", "/redoc")
]

RUN_CODE = f"""
import requests
response = requests.post("{SHOWN}/{{name}}/run", json={{body}})
print(response.json())
"""
CHAT_CODE = f"""
import requests
response = requests.post("{SHOWN}/v1/chat/completions", json={{body}})
print(response.json())
"""
HTTPX_CODE = f"""
import asyncio
import httpx

async def main():
    async with httpx.AsyncClient() as client:
        ran = await client.post("{SHOWN}/my_pipeline/run", json={ASKED})
        print(ran.json())
        chatted = await client.post("{SHOWN}/v1/chat/completions", json={chat("chat_pipeline", "Hello!")})
        print(chatted.json())

asyncio.run(main())
"""
OPENAI_CODE = f"""
from openai import OpenAI
with OpenAI(base_url="{SHOWN}/v1", api_key="not-needed") as client:
    answer = client.chat.completions.create(**{chat("chat_pipeline", "Hello!")})
    print(answer.choices[0].message.content)
"""
RETRY_CODE = f"""
import time
import requests

def answered(name, params, most=3):
    for attempt in range(most):
        try:
            response = requests.post(f"{SHOWN}/{{name}}/run", json=params)
            response.raise_for_status()
            return response.json()
        except requests.exceptions.RequestException as error:
            print("attempt", attempt + 1, error.response.status_code)
            time.sleep(2**attempt)

print(answered("shaky_pipeline", {ASKED}))
"""
FILES_CODE = f"""
from contextlib import ExitStack
from pathlib import Path
import requests

with ExitStack() as stack:
    paths = {{paths}}
    files = [("files", stack.enter_context(open(path, "rb"))) for path in paths]
    response = requests.post("{SHOWN}/rag_pipeline/run", files=files, data={{{{"query": "Summarize"}}}})
    print(response.json())
"""
ANSWERED = ("'object': 'chat.completion'", "'role': 'assistant'", "'content': 'Hello!'")
PYTHON = [
    Sample(
        NEWER,
        "Running a Pipeline",
        RUN_CODE.format(name="chat_pipeline", body=HELLO),
        ("{'result': 'Hello!'}",),
    ),
    Sample(
        RUNNING, "Python", RUN_CODE.format(name="my_pipeline", body=ASKED), ("{'result': 'Well: What is",)
    ),
    Sample(NEWER, "Chat Completion", CHAT_CODE.format(body=chat("chat_pipeline", "Hello!")), ANSWERED),
    Sample(NEWER, "Chat Completion by OpenAI's client", OPENAI_CODE, ("Hello!\n",)),
    Sample(RUNNING, "Async Python", HTTPX_CODE, ("{'result': 'Well: What is Haystack?'}", *ANSWERED)),
    Sample(RUNNING, "Error Handling", RETRY_CODE, ("attempt 1 500\n{'result': 'What is Haystack?'}",)),
    Sample(
        RUNNING,
        "File uploads with requests",
        FILES_CODE.format(paths='["document.pdf"]'),
        ("{'result': 'Summarize 0.0 document.pdf=d'}",),
    ),
    Sample(
        RUNNING,
        "Upload a directory",
        FILES_CODE.format(paths='[each for each in Path("documents").rglob("*") if each.is_file()]'),
        ("{'result': 'Summarize 0.0 a.txt=a c.txt=c'}",),
    ),
]


def named(samples: list[Sample]) -> list[str]:
    return [f"{sample.page}: {sample.heading}" for sample in samples]


@pytest.fixture(scope="module")
async def served(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder, shared = tmp_path_factory.mktemp("pipelines"), tmp_path_factory.mktemp("shared")
    write(folder, {**FILES, **MORE})
    write(shared, {"shared_code.py": "greeting = 'Well: '\n"})
    async with serve(folder, "--python-path", str(shared)) as running:
        await loaded(running.url)
        yield running


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with the files that the samples send."""
    write(tmp_path, {**UPLOADS, "pipeline_wrapper.py": SAYS})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "localhost")


def write(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def assert_printed(sample: Sample, printed: str) -> None:
    assert [part for part in sample.answer if part not in printed] == [], printed


@pytest.mark.parametrize("sample", SHELL, ids=named(SHELL))
def test_what_is_typed_in_a_shell_is_answered(served: Served, sample: Sample) -> None:
    url = served.url.replace("127.0.0.1", "localhost")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-c", sample.code.replace(SHOWN, url)],
        env={**os.environ, "MCP_SERVER_URL": url, "PATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert ended.returncode == 0, ended.stderr
    assert_printed(sample, ended.stdout)


@pytest.mark.parametrize("sample", PYTHON, ids=named(PYTHON))
def test_what_is_written_in_python_is_answered(served: Served, sample: Sample) -> None:
    printed = io.StringIO()
    code = sample.code.replace(SHOWN, served.url.replace("127.0.0.1", "localhost"))
    with contextlib.redirect_stdout(printed):
        exec(compile(code, sample.heading, "exec"), {})
    assert_printed(sample, printed.getvalue())
