"""`GET /metrics`: everything that is counted, in Prometheus' text format.

The counters live in the parts that count; they are read when somebody asks, so that prometheus-client is
imported then, and a call pays for one addition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from ...server import Server

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

MEDIA = ("text/plain",)
TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "mcp_server"


class Metrics:
    """Reads the server's counters as a collector of prometheus-client does."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._registry: CollectorRegistry | None = None

    async def answer(self, request: Request) -> Response:
        """The figures as they are now."""
        if self._registry is None:
            self._registry = await to_thread.run_sync(registry, self)
        from prometheus_client import generate_latest  # only here: who is not asked does not need it

        return Response(generate_latest(self._registry), headers={"Content-Type": TYPE})

    def collect(self) -> Iterator[Metric]:
        """Every family with its samples."""
        yield from self._runs()
        yield from self._state()

    def _runs(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

        tally, labels = self._server.tally, ("pipeline", "status", "surface")
        runs = CounterMetricFamily(f"{PREFIX}_runs", "Runs that ended.", labels=labels)
        for key, count in tally.runs.items():
            runs.add_metric(key, count)
        yield runs
        text = "How long runs took, with waiting for people."
        took = HistogramMetricFamily(f"{PREFIX}_run_duration_seconds", text, labels=["pipeline"])
        for name, durations in tally.durations.items():
            took.add_metric([name], list(durations.rising()), durations.seconds)
        yield took
        answers = CounterMetricFamily(f"{PREFIX}_http_responses", "Answers over HTTP.", labels=["status"])
        for status, count in tally.responses.items():
            answers.add_metric([str(status)], count)
        yield answers

    def _state(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        server = self._server
        states = Counter(each.status for each in server.catalog.statuses())
        pipelines = GaugeMetricFamily(f"{PREFIX}_pipelines", "Pipelines by state.", labels=["state"])
        for state, count in states.items():
            pipelines.add_metric([state], count)
        yield pipelines
        going = GaugeMetricFamily(f"{PREFIX}_runs_going", "Runs that go on here.", labels=["status"])
        for status, count in Counter(live.run.status for live in server.runs.going()).items():
            going.add_metric([status], count)
        yield going
        opened = GaugeMetricFamily(f"{PREFIX}_breaker_open", "1 if calls are refused.", labels=["pipeline"])
        for name, state in server.runs.breakers.states().items():
            opened.add_metric([name], float(state["state"] != "closed"))
        yield opened
        revision = server.catalog.snapshot.revision
        yield GaugeMetricFamily(f"{PREFIX}_catalog_revision", "Rises when the tools change.", revision)
        yield CounterMetricFamily(f"{PREFIX}_runs_unrecorded", "Runs history lost.", server.history.lost)
        faulty = float(server.history.fault is not None)
        yield GaugeMetricFamily(f"{PREFIX}_store_faulty", "1 if the store does not work.", faulty)
        yield GaugeMetricFamily(
            f"{PREFIX}_webhooks_failing", "Deliveries that fail.", server.webhooks.failing
        )


def registry(metrics: Metrics) -> CollectorRegistry:
    """All there is to tell: the server's counters, and what the process uses."""
    from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

    found = CollectorRegistry()
    ProcessCollector(registry=found)
    PlatformCollector(registry=found)
    found.register(metrics)
    return found
