"""Wrappers written for Hayhooks work unchanged where it is not installed."""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from anyio import to_thread

from mcp_server.content import render
from mcp_server.models import Caller, Client, Event, Run
from mcp_server.pipelines import load
from mcp_server.pipelines.context import Context
from mcp_server.pipelines.hayhooks import get_last_user_message, log

pytestmark = pytest.mark.anyio

WRAPPER = '''
from typing import Generator, List
from haystack import Pipeline
from haystack.components.generators.chat import MockChatGenerator
from hayhooks import BasePipelineWrapper, log, streaming_generator
from hayhooks import async_streaming_generator, get_last_user_message

class PipelineWrapper(BasePipelineWrapper):
    def __init__(self):
        super().__init__()
        assert self.pipeline is None

    def setup(self) -> None:
        self.pipeline = Pipeline()
        self.pipeline.add_component("llm", MockChatGenerator("one two"))

    def run_api(self, urls: List[str], question: str) -> str:
        """Ask a question about some pages."""
        log.info(f"Running pipeline with urls: {urls}")
        import hayhooks
        assert hayhooks.log is log
        return self.pipeline.run({"llm": {"messages": question}})["llm"]["replies"][0].text

    def run_chat_completion(self, model: str, messages: List[dict], body: dict) -> Generator:
        question = get_last_user_message(messages)
        return streaming_generator(pipeline=self.pipeline, pipeline_run_args={"llm": {"messages": question}})
'''


@pytest.mark.skipif(importlib.util.find_spec("hayhooks") is not None, reason="hayhooks is installed")
def test_hayhooks_names_work_and_nobody_else_sees_them(tmp_path: Path) -> None:
    (tmp_path / "pipeline_wrapper.py").write_text(WRAPPER)
    pipeline = load("old", tmp_path)
    context = Context("run", Caller(), lambda event: None)
    assert pipeline.call({"urls": ["u"], "question": "q"}, context) == "one two"
    assert "hayhooks" not in sys.modules
    assert importlib.util.find_spec("hayhooks") is None
    pipeline.close()


@pytest.mark.skipif(importlib.util.find_spec("hayhooks") is not None, reason="hayhooks is installed")
@pytest.mark.parametrize(
    "imports",
    [
        "from hayhooks.server.utils.base_pipeline_wrapper import BasePipelineWrapper\n"
        "from hayhooks.server.logger import log\n"
        "from hayhooks.server.pipelines.utils import get_last_user_message, streaming_generator\n"
        "from hayhooks.open_webui import OpenWebUIEvent, create_status_event\n"
        "from hayhooks.callbacks import default_on_tool_call_start, default_on_tool_call_end",
        "import hayhooks\nimport hayhooks.open_webui\nimport hayhooks.server.pipelines.utils as utils\n"
        "BasePipelineWrapper, log = hayhooks.BasePipelineWrapper, hayhooks.server.logger.log\n"
        "create_status_event = hayhooks.open_webui.create_status_event\n"
        "get_last_user_message = utils.get_last_user_message",
        "from hayhooks import BasePipelineWrapper, AsyncPipeline, log, open_webui, get_last_user_message\n"
        "from hayhooks.events import PipelineEvent, create_status_event\nassert AsyncPipeline().run_async",
    ],
)
def test_names_are_found_wherever_hayhooks_has_them(tmp_path: Path, imports: str) -> None:
    (tmp_path / "pipeline_wrapper.py").write_text(
        f"{imports}\n\nclass PipelineWrapper(BasePipelineWrapper):\n"
        "    def run_api(self, text: str) -> str:\n"
        "        log.info({'event': 'called'})\n"
        "        event = create_status_event(text, done=True).to_event_dict()\n"
        "        said = get_last_user_message([{'role': 'user', 'content': text}])\n"
        "        return f\"{event['type']} {event['data']['description']} {said}\"\n"
    )
    pipeline = load("old", tmp_path)
    assert pipeline.call({"text": "hi"}, Context("run", Caller(), lambda event: None)) == "status hi hi"
    pipeline.close()


def test_a_method_that_asks_for_headers_gets_those_that_pipelines_may_see(tmp_path: Path) -> None:
    (tmp_path / "pipeline_wrapper.py").write_text(
        "from starlette.datastructures import Headers\nfrom hayhooks import BasePipelineWrapper\n\n"
        "class PipelineWrapper(BasePipelineWrapper):\n"
        "    def run_api(self, text: str, headers: Headers | None = None) -> str:\n"
        "        return f\"{text} {headers['X-Tenant']}\"\n\n"
        "    def run_chat_completion(self, model, messages, body, headers: Headers | None = None):\n"
        "        return headers['X-Tenant']\n"
    )
    pipeline = load("old", tmp_path)
    assert list(pipeline.manifest.tool["inputSchema"]["properties"]) == ["text"]
    client = Client(headers={"x-tenant": "acme"})
    context = Context("run", Caller(), lambda event: None, client)
    assert pipeline.call({"text": "hi"}, context) == "hi acme"
    body = {"messages": [{"role": "user", "content": "hi"}]}
    run = Run(id="r", pipeline="old", version=1, digest="", inputs=body, verb="chat", timeout=9)
    assert b'"content":"acme"' in pipeline.prepare(run).call(context).structured
    pipeline.close()


def test_an_installed_hayhooks_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site" / "hayhooks"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("class BasePipelineWrapper:\n    real = True\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    folder = tmp_path / "pipeline"
    folder.mkdir()
    (folder / "pipeline_wrapper.py").write_text(
        "from hayhooks import BasePipelineWrapper\n"
        "class PipelineWrapper(BasePipelineWrapper):\n"
        "    def run_api(self) -> bool:\n        return self.real\n"
    )
    pipeline = load("new", folder)
    assert pipeline.call({}, Context("run", Caller(), lambda event: None)) is True
    pipeline.close()
    sys.modules.pop("hayhooks")


def test_the_last_user_message_is_found_in_every_form() -> None:
    messages = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"text": "b"}]},
        {"role": "assistant", "content": "no"},
    ]
    assert get_last_user_message(messages) == "a\nb"
    assert get_last_user_message(messages[:1]) == "first"
    assert get_last_user_message([SimpleNamespace(role="user", content="object")]) == "object"
    assert get_last_user_message([]) is None


def test_log_lines_are_formatted_and_never_break_a_pipeline(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(5, "mcp_server.pipelines.log")
    log.info("found {} in {where}", 3, where="here")
    log.debug({"event": "done", "seconds": 1.5})
    log.warning("{not a place} {}", 1)
    log.success("100% {done}")
    log.bind(user="ann").error("failed")
    log.opt(colors=True).trace("deep")
    log.log("WARNING", "named")
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("caught")
    lines = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert lines[0] == (logging.INFO, "found 3 in here")
    assert json.loads(lines[1][1]) == {"event": "done", "seconds": 1.5}
    assert lines[2:7] == [
        (logging.WARNING, "{not a place} {}"),
        (logging.INFO, "100% {done}"),
        (logging.ERROR, "failed | user=ann"),
        (5, "deep"),
        (logging.WARNING, "named"),
    ]
    assert caplog.records[-1].exc_info is not None
    assert caplog.records[0].filename == Path(__file__).name


RESPONSES = """
from pathlib import Path
BINARY = "application/octet-stream"
from fastapi import Form
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from hayhooks import BasePipelineWrapper, SSEStream

def pieces():
    yield "one "
    yield b"two"

class PipelineWrapper(BasePipelineWrapper):
    def run_api(self, what: str = Form(...)):
        about = {"Content-Disposition": 'attachment; filename="b.bin"'}
        return {
            "file": lambda: FileResponse(Path(__file__).parent / "a.csv", media_type="text/csv"),
            "json": lambda: JSONResponse({"a": 1}),
            "text": lambda: PlainTextResponse("plain"),
            "bytes": lambda: Response(b"%PDF-1", media_type="application/pdf"),
            "stream": lambda: StreamingResponse(pieces(), media_type="text/plain"),
            "binary": lambda: StreamingResponse(iter([b"1", b"2"]), 200, about, BINARY),
            "events": lambda: SSEStream(iter(["x", "y"])),
        }[what]()
"""


@pytest.mark.parametrize(
    ("what", "text", "media"),
    [
        ("file", "content[1] (text/csv, 3 bytes)", ("a.csv", "text/csv")),
        ("json", '{"a":1}', None),
        ("text", "plain", None),
        ("bytes", "content[1] (application/pdf, 6 bytes)", ("file", "application/pdf")),
        ("stream", "one two", None),
        ("binary", None, ("b.bin", "application/octet-stream")),
        ("events", "xy", None),
    ],
)
@pytest.mark.parametrize("method", ["run_api", "run_api_async"])
async def test_a_response_that_is_returned_is_what_it_would_send(
    tmp_path: Path, method: str, what: str, text: str | None, media: tuple[str, str] | None
) -> None:
    pytest.importorskip("fastapi")
    declared = {"run_api": "def run_api", "run_api_async": "async def run_api_async"}[method]
    (tmp_path / "pipeline_wrapper.py").write_text(RESPONSES.replace("def run_api", declared))
    (tmp_path / "a.csv").write_text("a;b")
    pipeline = load("old", tmp_path)
    events: list[Event] = []
    value = await to_thread.run_sync(pipeline.call, {"what": what}, Context("run", Caller(), events.append))
    content = json.loads(render(await value if inspect.isawaitable(value) else value).content)
    shown = content[0]["text"].strip('"')
    assert text is None or shown == text
    found = [block["resource"] for block in content[1:]]
    told = [(each["uri"].rpartition("/")[2], each["mimeType"]) for each in found]
    assert told == ([media] if media else [])
    assert bool(events) == (what in ("stream", "events"))
    pipeline.close()
