"""Spans and metrics by OpenTelemetry, sent by OTLP over HTTP. Imported only when an endpoint is set.

The process that serves and every host have one of these. What belongs to one call is one trace: the span of
the request (the MCP SDK makes it, by the semantic conventions for MCP), below it the run in its host, below
that the components of its Haystack pipeline.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

from ..models import Result, Run
from .spans import Mark

SERVICE = "haystack-mcp-server"
SCOPE = "mcp_server"


class Tracing:
    """Sends what this process does to an OpenTelemetry collector, in the background."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint` is a collector's base address, such as `http://127.0.0.1:4318`."""
        base = endpoint.rstrip("/")
        resource = Resource.create({"service.name": SERVICE})
        self._spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{base}/v1/metrics"))
        self._metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._durations = self._metrics.get_meter(SCOPE).create_histogram(
            "mcp.server.operation.duration", unit="s", description="How long requests took to be answered."
        )

    def install(self) -> None:
        """Make it the one that libraries use; one that the program has set already stays."""
        trace.set_tracer_provider(self._spans)
        metrics.set_meter_provider(self._metrics)

    def carrier(self) -> Mapping[str, str]:
        """The span that is open here as W3C headers; empty if none is."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier

    @contextmanager
    def below(self, carrier: Mapping[str, str]) -> Generator[None]:
        """What is begun in this block belongs to the trace that the caller's headers carry."""
        token = context.attach(propagate.extract(dict(carrier)))
        try:
            yield
        finally:
            context.detach(token)

    def measured(self, seconds: float, attributes: Mapping[str, str]) -> None:
        """Count how long a request took (semantic conventions, `mcp.server.operation.duration`)."""
        self._durations.record(seconds, attributes)

    def close(self) -> None:
        """Send what is left; may block for as long as the collector does not answer, some seconds."""
        self._spans.shutdown()
        self._metrics.shutdown()


@contextmanager
def spanned(run: Run) -> Generator[Mark]:
    """The span of a run, below whatever its caller was doing."""
    about = {"mcp_server.pipeline": run.pipeline, "mcp_server.run_id": run.id}
    above = propagate.extract(dict(run.client.trace))
    with trace.get_tracer(SCOPE).start_as_current_span(
        f"run {run.pipeline}", above, attributes=about
    ) as span:

        def mark(result: Result) -> None:
            if result.is_error:
                span.set_status(Status(StatusCode.ERROR))

        yield mark
