"""One trace from the caller to the components of a Haystack pipeline, at a real collector; and log lines."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import httpx
import pytest
from clients import START_LIMIT, loaded, serve, stop
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .conftest import wrapper
from .test_bad_input import ask, modern
from .test_http import HEADERS

pytestmark = pytest.mark.anyio

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
YAML = """
components:
  prompt_builder:
    type: haystack.components.builders.prompt_builder.PromptBuilder
    init_parameters:
      template: "Hello {{ name }}"
inputs:
  name: [prompt_builder.name]
outputs:
  text: prompt_builder.prompt
"""
FAILS = '''
    def run_api(self) -> str:
        """Fails."""
        raise RuntimeError("two\\nlines \\x1b[31mred")
'''

SAYS = '''
    def run_api(self) -> str:
        """Says something."""
        return "something"
'''


class Collector(ThreadingHTTPServer):
    """Takes what OTLP exporters send."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiving)
        self.spans: list[Span] = []
        self.metrics: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def span(self, name: str) -> Span:
        (found,) = [span for span in self.spans if span.name == name]
        return found


class Receiving(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            for each in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.server.spans += [span for scope in each.scope_spans for span in scope.spans]
        elif self.path == "/v1/metrics":
            for one in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.server.metrics |= {made.name for scope in one.scope_metrics for made in scope.metrics}
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, daemon=True)
        thread.start()
        yield collector
        collector.shutdown()


async def test_a_call_is_one_trace_from_its_caller_to_its_components(tmp_path: Path) -> None:
    (tmp_path / "hello.yml").write_text(YAML)
    with collecting() as collector:
        async with (
            serve(tmp_path, "--otlp-endpoint", collector.url) as served,
            httpx.AsyncClient(
                base_url=served.url, trust_env=False, timeout=START_LIMIT, headers=HEADERS
            ) as http,
        ):
            await loaded(served.url)
            body = modern("tools/call", {"name": "hello", "arguments": {"name": "Ada"}})
            body["params"]["_meta"]["traceparent"] = TRACEPARENT
            assert "Hello Ada" in (await ask(http, body)).text
            with anyio.fail_after(START_LIMIT):
                await stop(served.process)  # what is left is sent
        request, run = collector.span("tools/call hello"), collector.span("run hello")
        component = collector.span("haystack.component.run")
    assert request.trace_id.hex() == TRACE and request.parent_span_id.hex() == PARENT
    assert run.trace_id.hex() == TRACE and run.parent_span_id == request.span_id
    assert component.trace_id.hex() == TRACE
    attributes = {each.key: each.value.string_value for each in request.attributes}
    assert attributes["mcp.method.name"] == "tools/call" and attributes["gen_ai.tool.name"] == "hello"
    assert "mcp.server.operation.duration" in collector.metrics


async def test_the_trace_in_the_headers_of_a_rest_call_reaches_the_pipeline(tmp_path: Path) -> None:
    (tmp_path / "hello.yml").write_text(YAML)
    with collecting() as collector:
        async with serve(tmp_path, "--otlp-endpoint", collector.url) as served:
            await loaded(served.url)
            async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=START_LIMIT) as http:
                answer = await http.post(
                    "/hello/run", json={"name": "Ada"}, headers={"traceparent": TRACEPARENT}
                )
            assert answer.status_code == 200
            await stop(served.process)
        run = collector.span("run hello")
    assert run.trace_id.hex() == TRACE and run.parent_span_id.hex() == PARENT


async def test_the_log_is_one_json_object_a_line_that_tells_run_and_request(tmp_path: Path) -> None:
    (tmp_path / "fails").mkdir()
    (tmp_path / "fails" / "pipeline_wrapper.py").write_text(wrapper(FAILS))
    async with serve(tmp_path, "--log-format", "json", "--log-level", "info") as served:
        await loaded(served.url)
        async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=START_LIMIT) as http:
            answer = await http.post("/fails/run", headers={"X-Request-ID": "mine-7"}, json={})
        assert answer.status_code == 500
        identity = answer.headers["x-pipeline-run-id"]
        await stop(served.process)
        lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    (failure,) = [line for line in lines if "two lines" in line["message"]]
    assert failure["level"] == "warning" and failure["run_id"] == identity
    (ended,) = [line for line in lines if line.get("run_id") == identity and line is not failure]
    assert ended["request_id"] == "mine-7" and ended["status"] == "failed" and ended["pipeline"] == "fails"


async def test_text_lines_cannot_be_broken_by_what_a_pipeline_says(tmp_path: Path) -> None:
    (tmp_path / "fails").mkdir()
    (tmp_path / "fails" / "pipeline_wrapper.py").write_text(wrapper(FAILS))
    async with serve(tmp_path) as served:
        await loaded(served.url)
        async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=START_LIMIT) as http:
            await http.post("/fails/run", json={})
        await stop(served.process)
        (line,) = [line for line in served.log.read_text().splitlines() if "two" in line]
    assert "two lines \\x1b[31mred" in line


async def test_the_log_names_the_request_of_each_call_whichever_way_it_goes(tmp_path: Path) -> None:
    (tmp_path / "says").mkdir()
    (tmp_path / "says" / "pipeline_wrapper.py").write_text(wrapper(SAYS))
    body = modern("tools/call", {"name": "says", "arguments": {}})
    watched = modern("tools/call", {"name": "says", "arguments": {}})
    watched["params"]["_meta"]["progressToken"] = "p"
    async with serve(tmp_path, "--log-format", "json", "--log-level", "info") as served:
        await loaded(served.url)
        async with httpx.AsyncClient(
            base_url=served.url, trust_env=False, timeout=START_LIMIT, headers=HEADERS
        ) as http:
            # the express lane, the same behind a known head, and the SDK's way
            answers = [await ask(http, each) for each in (body, body, body, watched)]
        await stop(served.process)
        lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert all('"isError":false' in answer.text for answer in answers)
    ended = [line["request_id"] for line in lines if line["message"] == "run ended"]
    assert ended == [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ended)) == len(answers)
