"""The server's own resources: the card and the source of each pipeline, runs, and what runs left."""

from __future__ import annotations

from contextlib import suppress

import orjson

from ...access import sight
from ...artifacts import TEMPLATE as ARTIFACT
from ...catalog.versions import version_number
from ...errors import Broken, NotFound, Unavailable
from ...models import Caller, Json, Source
from ...pipelines.diagrams import ADDRESS as DIAGRAM
from ...pipelines.diagrams import MERMAID
from ...pipelines.uris import Template
from ...server import Server
from ...store.measurements import Measurement
from ..management.run_views import detailed
from ..management.version_tools import shown
from ..management.views import moment

JSON = "application/json"
CARD = Template("pipeline://{name}")
VERSION = Template("pipeline://{name}/versions/{version}")
SOURCE = Template("pipeline://{name}/source/{+path}")
OLD_SOURCE = Template("pipeline://{name}/versions/{version}/source/{+path}")
RUN = Template("run://{run_id}")
TEMPLATES: tuple[Json, ...] = (
    {
        "uriTemplate": CARD.text,
        "name": "pipeline",
        "title": "Pipeline card",
        "description": "What a pipeline does and takes, which version serves, how it is doing.",
        "mimeType": JSON,
    },
    {
        "uriTemplate": DIAGRAM.text,
        "name": "pipeline_diagram",
        "title": "Pipeline diagram",
        "description": "The components of a Haystack pipeline and their connections, as a Mermaid diagram.",
        "mimeType": MERMAID,
    },
    {
        "uriTemplate": VERSION.text,
        "name": "pipeline_version",
        "title": "Pipeline version",
        "description": "Stage, author, parent, tags, metrics, evaluations and files of a version.",
        "mimeType": JSON,
    },
    {
        "uriTemplate": SOURCE.text,
        "name": "pipeline_source",
        "title": "Pipeline source",
        "description": "A file of the version that serves.",
        "mimeType": "text/plain",
    },
    {
        "uriTemplate": OLD_SOURCE.text,
        "name": "pipeline_version_source",
        "title": "Source of a version",
        "description": "A file of any version; the version's own resource names its files.",
        "mimeType": "text/plain",
    },
    {
        "uriTemplate": RUN.text,
        "name": "run",
        "title": "Run",
        "description": "How one of your runs is doing, what it asks, what it gave.",
        "mimeType": JSON,
    },
    {
        "uriTemplate": ARTIFACT,
        "name": "run_artifact",
        "title": "Artifact of a run",
        "description": "What a run left beside its answer, in parts if it is large.",
    },
)

TOLD = ("title", "inputSchema", "outputSchema", "annotations")
"""What a card holds of a pipeline's tool, beside its status."""


class Cards:
    """Reads and completes them. All of them are made on reading."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog
        self._runs = server.runs
        self._measured = server.evaluations.measured
        self._made = (
            (CARD, JSON, self._card),
            (VERSION, JSON, self._version),
            (SOURCE, "text/plain", self._source),
            (OLD_SOURCE, "text/plain", self._source),
        )

    async def read(self, caller: Caller, uri: str) -> Json | None:
        """The one content of a resource; None for a URI that is none of the server's own.

        Raises `NotFound` for what is not there or not for this caller, `Unavailable` for a source.
        """
        if uri.startswith("run:"):
            return await self._run(caller, uri)
        for template, kind, make in self._made:
            if values := template.values(uri):
                sight.check(caller, "read", values["name"])
                return {"uri": uri, "mimeType": kind, "text": await make(caller, **values)}
        return None

    async def complete(self, caller: Caller, of: str, argument: str, given: Json) -> list[str]:
        """All values a variable of one of the templates can have now; none for ids of runs."""
        if "name" in given and argument != "name":
            sight.check(caller, "read", given["name"])
        reads = "name" in given and may_read_source(caller)
        match of, argument:
            case ((CARD.text | DIAGRAM.text | VERSION.text | SOURCE.text | OLD_SOURCE.text), "name"):
                names = (status.name for status in self._catalog.statuses())
                return [name for name in names if caller.may("read", name)]
            case ((VERSION.text | OLD_SOURCE.text), "version") if "name" in given:
                return [str(each.number) for each in await self._catalog.versions(given["name"])]
            case SOURCE.text, "path" if reads:
                return sorted((await self._catalog.source(given["name"])).files)
            case OLD_SOURCE.text, "path" if reads and "version" in given:
                return sorted((await self._files(given["name"], given["version"])).files)
            case _:
                return []

    async def _run(self, caller: Caller, uri: str) -> Json:
        values = RUN.values(uri)
        if values is None:
            return (await self._runs.past.part(caller, uri)).wire(uri)
        identity = values["run_id"]
        view = detailed(await self._runs.past.run(caller, identity), self._runs.live(identity))
        return {"uri": uri, "mimeType": JSON, "text": orjson.dumps(view).decode()}

    async def _card(self, caller: Caller, name: str) -> str:
        if name not in self._catalog.snapshot.entries:
            await self._catalog.ready()
        status = self._catalog.status(name).model_dump(mode="json", exclude_none=True)
        statistics = {key: status.pop(key) for key in ("calls", "errors", "uptime")}
        entry = self._catalog.snapshot.entries[name]
        tool = entry.manifest.tool if entry.manifest else {}
        about = {key: value for key, value in tool.items() if key in TOLD}
        return orjson.dumps({**status, **about, "statistics": statistics}).decode()

    async def _version(self, caller: Caller, name: str, version: str) -> str:
        known = await self._catalog.version(name, numbered(name, version))
        found = await self._measured.of(name, known.number)
        scores = [evaluated(measurement) for measurement in found if measurement.total]
        view = shown(known) | {"evaluations": scores}
        if may_read_source(caller):
            with suppress(Broken, Unavailable):  # its files are gone, and all else is still known
                view["files"] = sorted((await self._files(name, version)).files)
        return orjson.dumps(view).decode()

    async def _source(self, caller: Caller, name: str, path: str, version: str | None = None) -> str:
        if not may_read_source(caller):
            raise NotFound(f"There is no pipeline named {name[:64]}.")
        source = await (self._files(name, version) if version else self._catalog.source(name))
        if path not in source.files:
            raise NotFound(f"{name} has no file {path[:200]}.")
        return source.files[path].decode()

    async def _files(self, name: str, version: str) -> Source:
        return await self._catalog.version_source(name, numbered(name, version))


def numbered(name: str, version: str) -> int:
    """The number that is meant. Raises `NotFound` for a text that is none."""
    number = version_number(version)
    if number is None:
        raise NotFound(f"{name[:64]} has no version {version[:20]}.")
    return number


def evaluated(measurement: Measurement) -> Json:
    """What a version reached on a dataset, as a card shows it."""
    return {
        "batch_id": measurement.id,
        "dataset": measurement.dataset,
        "metrics": dict(measurement.metrics),
        "total": measurement.total,
        "failed": measurement.failed,
        "created": moment(measurement.created),
    }


def may_read_source(caller: Caller) -> bool:
    """True for callers that may deploy."""
    return caller.may("deploy")


def card_entry(tool: Json) -> Json:
    """The card of a pipeline as MCP lists it."""
    name: str = tool["name"]
    entry = {"uri": CARD.uri(name=name), "name": name, "title": tool.get("title", name), "mimeType": JSON}
    return {**entry, "description": f"The card of the pipeline {name}: schemas, version, statistics."}
