"""What the registry tells of pipelines and their versions: each method is one route."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import date

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from ...catalog import VersionStatus
from ...catalog.comparing import deltas, recommended
from ...catalog.versions import version_number
from ...errors import NotFound
from ...models import Json, Source
from ...server import Server
from ...store import Figures
from ...store.measurements import latest
from ..callers import caller_of
from ..management.registry_tools import ADDRESS, RegistryTools
from ..operations import as_json, iso
from ..rest.answers import disposition
from .bodies import Reference, fault, reference

STAGES: Mapping[str, str] = {
    "production": "Production",
    "staging": "Staging",
    "archived": "Archived",
    "none": "None",
}
ORIGIN = "registry"
DAYS = 366
"""Days with calls that are told of."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in a zip, so that the same source is the same zip."""


class Reading:
    """Raises `NotFound` for models and versions that are not there."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog
        self._past = server.runs.past
        self._measured = server.evaluations.measured
        self._impact = RegistryTools(server).impact_of

    async def models(self, request: Request) -> Response:
        """List the models, each in its latest version."""
        wanted, by = request.query_params.get("name"), caller_of(request, ORIGIN)
        await self._catalog.ready()
        newest: dict[str, VersionStatus] = {}
        for each in await self._catalog.all_versions():
            if wanted in (None, each.pipeline) and by.may("read", each.pipeline):
                newest.setdefault(each.pipeline, each)
        ready = await self._catalog.readiness(newest.values())
        shown = [
            {
                "name": name,
                "version": str(each.number),
                "status": ready[name].upper(),
                "created_at": int(each.created * 1000),
                "tags": dict(each.tags),
            }
            for name, each in newest.items()
        ]
        return as_json({"models": shown})

    async def model(self, request: Request) -> Response:
        """Show a version."""
        return as_json(await self.shown(await self.version(request, reference_of(request))))

    async def shown(self, version: VersionStatus) -> Json:
        """A version as the registry shows it; without words of its own it has those of its tool."""
        ready = await self._catalog.readiness([version])
        entry = self._catalog.snapshot.entries.get(version.pipeline)
        tool = entry.manifest.tool if entry and entry.manifest else {}
        return {
            "name": version.pipeline,
            "version": str(version.number),
            "status": ready[version.pipeline].upper(),
            "description": version.description or tool.get("description", ""),
            "tags": dict(version.tags),
        }

    async def production(self, request: Request) -> Response:
        """List what is in production."""
        await self._catalog.ready()
        by = caller_of(request, ORIGIN)
        shown = [
            {
                "name": each.pipeline,
                "version": str(each.number),
                "stage": "Production",
                "deployed_at": iso(each.deployed or each.created),
            }
            for each in await self._catalog.all_versions()
            if each.stage == "production" and by.may("read", each.pipeline)
        ]
        return as_json({"models": shown})

    async def compare(self, request: Request) -> Response:
        """Compare two versions by their metrics."""
        query = request.query_params
        one, other = [
            await self.version(request, reference(query.get(key), "query", key))
            for key in ("model1", "model2")
        ]
        if one.pipeline == other.pipeline and one.number != other.number:
            found = await self._catalog.compare_versions(one.pipeline, one.number, other.number)
            rises, advice = found.deltas, found.recommendation
            names = {each.number: f"version {each.number}" for each in (one, other)}
        else:
            rises = deltas(one.metrics, other.metrics)
            advice = recommended((1, 2), rises, ())
            names = {place: f"{each.pipeline}:{each.number}" for place, each in ((1, one), (2, other))}
        use = f"Use {names[advice.version]}" if advice.version else f"Use either: {advice.reason}"
        sides = {key: compared(each) for key, each in (("model1", one), ("model2", other))}
        return as_json({**sides, "delta": dict(rises), "recommendation": use})

    async def metrics(self, request: Request) -> Response:
        """Tell the metrics of a version: registered, measured, and of its calls."""
        version = await self.version(request, reference_of(request))
        measured = await self._measured.of(version.pipeline, version.number)
        validation = latest(measured, "validation")
        said = {name: value for name, value in version.metrics.items() if name not in validation}
        known = await self._past.statistics(version.pipeline, version.number, 1)
        mean = known.whole.mean
        return as_json(
            {
                "training_metrics": {**said, **latest(measured, "training")},
                "validation_metrics": dict(validation),
                "production_metrics": {
                    "latency_ms": None if mean is None else round(1000 * mean, 3),
                    "throughput_rps": throughput(known.days),
                },
            }
        )

    async def lineage(self, request: Request) -> Response:
        """Tell where a version comes from, and what it was measured on."""
        version = await self.version(request, reference_of(request))
        measured = await self._measured.of(version.pipeline, version.number)
        datasets = [version.tags.get("dataset", ""), *(each.dataset for each in measured)]
        parent = [f"{version.pipeline}:{version.parent}"] if version.parent else []
        return as_json(
            {
                "model": f"{version.pipeline}:{version.number}",
                "parents": parent,
                "training_data": [*dict.fromkeys(filter(None, datasets))],
                "experiments": [each.id for each in measured if each.kind == "validation"],
            }
        )

    async def history(self, request: Request) -> Response:
        """Tell how a model became what it is, version by version."""
        name = request.path_params["model_id"]
        versions = [each for each in await self._catalog.all_versions() if each.pipeline == name]
        if not versions or not caller_of(request, ORIGIN).may("read", name):
            raise NotFound(f"Model not found: {name[:64]}")
        line = [
            {"version": str(each.number), "metrics": dict(each.metrics), "created_at": iso(each.created)}
            for each in reversed(versions)
        ]
        newest = str(versions[0].number)
        return as_json(
            {"model_id": name, "lineage": line, "total_versions": len(line), "latest_version": newest}
        )

    async def predictions(self, request: Request) -> Response:
        """Count the calls of a version, by day."""
        version = await self.version(request, reference_of(request))
        known = await self._past.statistics(version.pipeline, version.number, DAYS)
        counts = [
            {"date": day.isoformat(), "count": each.total + each.cached}
            for day, each in sorted(known.days.items())
        ]
        dates = [each["date"] for each in counts] or [None]
        return as_json(
            {
                "total_predictions": known.whole.total + known.whole.cached,
                "date_range": {"start": dates[0], "end": dates[-1]},
                "daily_counts": counts,
            }
        )

    async def impact(self, request: Request) -> Response:
        """Tell how much an address improved models: the gain of their metric over the version before."""
        address: str = request.path_params["address"]
        if not ADDRESS.fullmatch(address):
            raise fault("write 0x and 40 hexadecimal digits", "path", "address")
        return as_json(await self._impact(caller_of(request, ORIGIN), address))

    async def download(self, request: Request) -> Response:
        """Download the source of a version as a zip; data files are left out."""
        version = await self.version(request, reference_of(request))
        headers = {"ETag": f'"{version.digest}"', "Cache-Control": "no-cache"}
        if headers["ETag"] in (each.strip() for each in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        source = await self._catalog.version_source(version.pipeline, version.number)
        content = await to_thread.run_sync(zipped, source)
        name = disposition(f"{version.pipeline}-{version.number}.zip")
        return Response(content, headers=headers | {"Content-Disposition": name}, media_type=ZIP)

    async def version(self, request: Request, wanted: Reference) -> VersionStatus:
        """The version that is meant. Raises `NotFound`, also for one that this caller may not see."""
        number = version_number(wanted.version)
        with suppress(NotFound):
            if number and caller_of(request, ORIGIN).may("read", wanted.name):
                return await self._catalog.version(wanted.name, number)
        raise NotFound(f"Model not found: {wanted.name[:64]}:{wanted.version[:20]}")


ZIP = "application/zip"


def reference_of(request: Request) -> Reference:
    """The version that the path names."""
    return Reference(request.path_params["name"], request.path_params["version"])


def compared(version: VersionStatus) -> Json:
    """A version with its metrics beside its name."""
    return {**version.metrics, "name": version.pipeline, "version": str(version.number)}


def throughput(days: Mapping[date, Figures]) -> float | None:
    """Calls per second on the last day with calls; of today, as far as it has gone."""
    for day, figures in days.items():
        today = str(day) == iso()[:10]
        seconds = max(1.0, time.time() % 86400) if today else 86400.0
        return round((figures.total + figures.cached) / seconds, 6)
    return None


def zipped(source: Source) -> bytes:
    """The files of a source; the same source gives the same bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(source.files.items()):
            archive.writestr(zipfile.ZipInfo(path, EPOCH), content, zipfile.ZIP_DEFLATED)
    return made.getvalue()
