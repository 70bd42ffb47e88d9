"""The management tools of versions: list, describe, stage, compare, evaluate, delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import get_args

from ...catalog import Comparison, Stage, VersionStatus
from ...errors import Invalid
from ...evaluation import GOLDEN, METRIC
from ...evaluation.metrics import EVALUATORS, METRICS, check
from ...models import NAME, Json
from ...server import Server
from .schemas import COUNT, LIST, OBJECT, STRING, described, gives, takes, tool
from .search_tools import NUMBERS
from .views import Invocation, moment


class VersionTools:
    """Each method gives a structured answer, or raises a `ServerError`."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog
        self._evaluations = server.evaluations
        self._gate = server.gate
        self._patience = server.settings.soft_deadline
        self.answers: Mapping[str, Callable[[Invocation], Awaitable[Json]]] = {
            "list_versions": self.list,
            "update_version": self.update,
            "delete_version": self.delete,
            "set_stage": self.set_stage,
            "compare_versions": self.compare,
            "evaluate_version": self.evaluate,
        }

    async def list(self, call: Invocation) -> Json:
        """Every version of a pipeline, newest first."""
        return {"versions": [*map(shown, await self._catalog.versions(call.arguments["name"]))]}

    async def update(self, call: Invocation) -> Json:
        """Say something about a version."""
        tags, metrics = checked(call.arguments)
        description = call.arguments.get("description")
        name, version = named(call)
        return shown(
            await self._catalog.update_version(
                name, version, tags=tags, description=description, metrics=metrics
            )
        )

    async def delete(self, call: Invocation) -> Json:
        """Forget a version."""
        name, version = named(call)
        await self._catalog.delete_version(name, version)
        return {"pipeline": name, "version": str(version), "status": "deleted"}

    async def set_stage(self, call: Invocation) -> Json:
        """Promote, roll back or archive a version."""
        archive, share = call.arguments.get("archive_existing", False), call.arguments.get("share")
        name, version = named(call)
        return shown(
            await self._gate.set_stage(
                call.caller,
                name,
                version,
                call.arguments["stage"],
                archive_existing=archive,
                share=share,
                min_score=call.arguments.get("min_score"),
                listener=call.listener,
            )
        )

    async def compare(self, call: Invocation) -> Json:
        """Two versions side by side."""
        name, first = named(call, "first")
        found = await self._catalog.compare_versions(name, first, named(call, "second")[1])
        return compared(found, sources=call.caller.may("deploy"))

    async def evaluate(self, call: Invocation) -> Json:
        """Measure a version on golden cases, and wait a while; it goes on without its caller."""
        given = call.arguments
        name, version = named(call)
        metrics: list[str] = given.get("metrics", [METRIC])
        check(metrics)
        dataset = await self._evaluations.dataset(name, version, given.get("dataset", GOLDEN))
        made = await self._evaluations.evaluate(
            call.caller, name, version, dataset, metrics, listener=call.listener, within=self._patience
        )
        view: Json = {"pipeline": name, "version": str(version), "dataset": made.dataset}
        view |= {"batch_id": made.batch.id, "status": made.batch.status, "total": made.total}
        if not made.batch.ended:
            return view | {"next": "It goes on by itself; get_batch follows it, get_run has the metrics."}
        return view | {"failed": made.failed, "metrics": dict(made.metrics)}


def checked(arguments: Json) -> tuple[dict[str, str | None], dict[str, float | None]]:
    """The tags and metrics that somebody says. Raises `Invalid`."""
    tags, metrics = arguments.get("tags", {}), arguments.get("metrics", {})
    if not all(value is None or isinstance(value, str) for value in tags.values()):
        raise Invalid("The values of `tags` must be texts, or null to take a tag away.")
    if not all(value is None or type(value) in (int, float) for value in metrics.values()):
        raise Invalid("The values of `metrics` must be numbers, or null to take a metric away.")
    return tags, metrics


def named(call: Invocation, key: str = "version") -> tuple[str, int]:
    """The pipeline and the version that a call is about."""
    return call.arguments["name"], int(call.arguments[key])


def shown(version: VersionStatus) -> Json:
    """A version as callers see it, without what is not known."""
    view = version.model_dump(mode="json", exclude_none=True)
    view["version"] = str(view.pop("number"))
    view["created"] = moment(version.created)
    view |= {"deployed": moment(version.deployed)} if version.deployed else {}
    return view | ({"parent": str(version.parent)} if version.parent else {})


def compared(found: Comparison, *, sources: bool) -> Json:
    """A comparison as callers see it; `sources` says whether this one may read them.

    It is without `schema_changes` if a version does not load any more.
    """
    advice: Mapping[str, object] = {"reason": found.recommendation.reason}
    if found.recommendation.version:
        advice = {"version": str(found.recommendation.version), **advice}
    view: Json = {
        "first": shown(found.first),
        "second": shown(found.second),
        **({"source_diff": found.source} if sources else {}),
        "metric_deltas": dict(found.deltas),
        "recommendation": dict(advice),
    }
    if found.schemas is not None:
        changes = (each.model_dump(mode="json", exclude_none=True) for each in found.schemas)
        view["schema_changes"] = [*changes]
    return view


NUMBER: Json = {"type": "number"}
VERSION = gives(
    {
        "pipeline": STRING,
        "version": STRING,
        "digest": STRING,
        "stage": {"type": "string", "enum": [*get_args(Stage)]},
        "share": NUMBER,
        "author": STRING,
        "created": STRING,
        "deployed": STRING,
        "parent": STRING,
        "description": STRING,
        "tags": OBJECT,
        "metrics": OBJECT,
    }
)
PIPELINE: Json = {"name": described(STRING, "Name of a pipeline.", pattern=f"^{NAME.pattern}$")}


def number(description: str) -> Json:
    """The schema of a version's number."""
    return described(STRING, description, pattern=NUMBERS)


WHICH = PIPELINE | {"version": number("Number of a version.")}
TOOLS: tuple[Json, ...] = (
    tool(
        "list_versions",
        "List versions",
        "Lists the versions of a pipeline, newest first: stage, author, time, parent, tags, metrics.",
        takes(PIPELINE, "name"),
        gives({"versions": LIST}),
        readOnlyHint=True,
        idempotentHint=True,
    ),
    tool(
        "update_version",
        "Update version",
        "Sets a version's description, tags and metrics. What is not given stays; null takes a key away.",
        takes(
            WHICH
            | {
                "description": described(STRING, "What is special about it."),
                "tags": described(OBJECT, "Texts by key."),
                "metrics": described(OBJECT, "Numbers by name, such as accuracy."),
            },
            "name",
            "version",
        ),
        VERSION,
        idempotentHint=True,
    ),
    tool(
        "delete_version",
        "Delete version",
        "Deletes a version that is not in production. Its runs stay.",
        takes(WHICH, "name", "version"),
        gives({"pipeline": STRING, "version": STRING, "status": STRING}),
        destructiveHint=True,
    ),
    tool(
        "set_stage",
        "Set stage",
        "Promotes, rolls back or archives a version without losing a call. Production answers the calls, and "
        "is pinned; staging gets a share of them.",
        takes(
            WHICH
            | {
                "stage": {
                    "type": "string",
                    "enum": [*get_args(Stage)],
                    "description": "The stage to give it.",
                },
                "archive_existing": {
                    "type": "boolean",
                    "default": False,
                    "description": "Archive the version it displaces.",
                },
                "share": described(NUMBER, "For staging: share of the calls, 0 to 1.", minimum=0, maximum=1),
                "min_score": described(
                    NUMBER, "For production: score its golden cases must reach.", minimum=0, maximum=1
                ),
            },
            "name",
            "version",
            "stage",
        ),
        VERSION,
        destructiveHint=True,
        idempotentHint=True,
    ),
    tool(
        "evaluate_version",
        "Evaluate version",
        "Runs a version on golden cases and measures its answers; the metrics become the version's.",
        takes(
            WHICH
            | {
                "dataset": described(
                    STRING,
                    "A JSONL file in the pipeline's folder, or in `datasets` of the state directory; its "
                    "lines have `inputs` and `expected`.",
                    default=GOLDEN,
                ),
                "metrics": {
                    "type": "array",
                    "items": {"type": "string", "enum": [*METRICS, *EVALUATORS]},
                    "minItems": 1,
                    "description": f"What to measure. Default: {METRIC}.",
                },
            },
            "name",
            "version",
        ),
        gives(
            {
                "pipeline": STRING,
                "version": STRING,
                "dataset": STRING,
                "batch_id": STRING,
                "status": STRING,
                "total": COUNT,
                "failed": COUNT,
                "metrics": OBJECT,
            }
        ),
        openWorldHint=True,
    ),
    tool(
        "compare_versions",
        "Compare versions",
        "Compares two versions: schema changes, metric deltas, which one to use; to callers that may deploy "
        "also the source diff.",
        takes(
            PIPELINE | {"first": number("The older version."), "second": number("The newer version.")},
            "name",
            "first",
            "second",
        ),
        gives(
            {
                "first": OBJECT,
                "second": OBJECT,
                "source_diff": STRING,
                "schema_changes": LIST,
                "metric_deltas": OBJECT,
                "recommendation": OBJECT,
            }
        ),
        readOnlyHint=True,
        idempotentHint=True,
    ),
)
