"""The management tools of the registry: register what is kept as a version, tell who improved what."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping

from ...catalog import VersionStatus
from ...catalog.comparing import gained
from ...catalog.versions import version_number
from ...errors import Conflict, Invalid
from ...models import Caller, Json
from ...runs import new_id
from ...server import Server
from ...store.measurements import Measurement
from .schemas import LIST, OBJECT, STRING, described, gives, takes, tool
from .version_tools import PIPELINE, VERSION, checked, shown
from .views import Invocation, moment

CONTRIBUTOR, BENCHMARK = "contributor", "benchmark_metric"
"""The tags of a version that say whose it is, and by which metric its pipeline is judged."""
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class RegistryTools:
    """Each method gives a structured answer, or raises a `ServerError`."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog
        self._measured = server.evaluations.measured
        self.answers: Mapping[str, Callable[[Invocation], Awaitable[Json]]] = {
            "register_version": self.register,
            "get_contributor_impact": self.impact,
        }

    async def register(self, call: Invocation) -> Json:
        """Make a version of a source that is kept here; it does not serve yet."""
        given = call.arguments
        tags, metrics = checked(given)
        source: str = given["source"]
        name, colon, text = source.rpartition(":")
        number = version_number(text) if colon else None
        if colon and number is None:
            raise Invalid("Write `source` as name:version, or as a digest.")
        digest = await self.digest(name, number) if number else source
        return shown(await self.registered(call.caller, given["name"], digest, tags, metrics))

    async def digest(self, name: str, number: int) -> str:
        """The source of a version. Raises `NotFound`, and `Conflict` for one that is not saved."""
        version = await self._catalog.version(name, number)
        if version.unsaved:
            raise Conflict("This version is not saved; deploy it with its files kept.")
        return version.digest

    async def registered(
        self,
        caller: Caller,
        name: str,
        digest: str,
        tags: Mapping[str, str | None],
        metrics: Mapping[str, float | None],
    ) -> VersionStatus:
        """The version of `name` with this source, and what is said about it. Raises as `add_version`."""
        made = await self._catalog.add_version(name, digest, author=caller.name)
        measurement = Measurement(
            id=new_id(),
            pipeline=name,
            version=made.number,
            kind="training",
            dataset=tags.get("dataset") or "",
            digest="",
            metrics={key: value for key, value in metrics.items() if value is not None},
            total=0,
            failed=0,
            created=time.time(),
        )
        await self._measured.keep(measurement)
        return await self._catalog.update_version(name, made.number, tags=tags, metrics=metrics)

    async def impact(self, call: Invocation) -> Json:
        """What an address brought."""
        return await self.impact_of(call.caller, call.arguments["address"])

    async def impact_of(self, caller: Caller, address: str) -> Json:
        """How much an address improved pipelines: the gain of their metric over the version before."""
        every = await self._catalog.all_versions()
        known = {(each.pipeline, each.number): each for each in every if caller.may("read", each.pipeline)}
        own = [each for each in known.values() if each.tags.get(CONTRIBUTOR, "").lower() == address.lower()]
        own.sort(key=lambda each: each.created)
        scores = {(each.pipeline, each.number): score(each, known) for each in own}
        times = [moment(each.created) for each in own] or [None]
        return {
            "address": address,
            "total_models_improved": len({name for (name, _), gain in scores.items() if gain > 0}),
            "total_improvement_score": round(sum(scores.values()), 10),
            "contributions": [
                {
                    "model_id": each.pipeline,
                    "improvement_score": scores[each.pipeline, each.number],
                    "contributed_at": moment(each.created),
                }
                for each in own
            ],
            "first_contribution": times[0],
            "last_contribution": times[-1],
        }


def score(version: VersionStatus, known: Mapping[tuple[str, int], VersionStatus]) -> float:
    """How much better it is than its parent in the metric that counts; 0 where that cannot be told."""
    parent = known.get((version.pipeline, version.parent or 0))
    metric = version.tags.get(BENCHMARK) or (parent.tags.get(BENCHMARK) if parent else None)
    if parent is None or metric is None or metric not in version.metrics or metric not in parent.metrics:
        return 0.0
    return float(round(gained(metric, version.metrics[metric] - parent.metrics[metric]), 10))


TOOLS: tuple[Json, ...] = (
    tool(
        "register_version",
        "Register version",
        "Makes a version of a source that is kept here already; it does not serve until it gets a stage.",
        takes(
            PIPELINE
            | {
                "source": described(STRING, "name:version, or a digest."),
                "tags": described(OBJECT, "Texts by key."),
                "metrics": described(OBJECT, "Numbers by name."),
            },
            "name",
            "source",
        ),
        VERSION,
        idempotentHint=True,
    ),
    tool(
        "get_contributor_impact",
        "Contributor impact",
        "Tells how much the versions with this address as their tag `contributor` improved their pipelines.",
        takes(
            {"address": described(STRING, "0x and 40 hex digits.", pattern=f"^{ADDRESS.pattern}$")}, "address"
        ),
        gives({"address": STRING, "contributions": LIST}),
        readOnlyHint=True,
        idempotentHint=True,
    ),
)
