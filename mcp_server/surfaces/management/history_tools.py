"""The management tools of what happened: runs and batches begun on their own, listed, repeated, counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import get_args

from ...errors import Invalid
from ...models import Json, Run, RunStatus
from ...server import Server
from ...store import Figures
from .run_tools import RUN_ID
from .run_views import gave, shown
from .schemas import COUNT, LIST, OBJECT, STRING, described, gives, takes, tool
from .search_tools import CHOICE, NUMBERS, chosen, missing
from .views import Invocation

NUMBER: Json = {"type": "number"}
LIMIT = 50
"""Runs in one answer unless the caller says otherwise."""
MOST = 200
AT_ONCE = 4
"""Items of a batch that run at once unless the caller says otherwise."""


class HistoryTools:
    """Each method gives a structured answer, or raises a `ServerError`."""

    def __init__(self, server: Server) -> None:
        self._runs = server.runs
        self._recorded = server.recorded
        self._batches = server.batches
        self._catalog = server.catalog
        self.answers: Mapping[str, Callable[[Invocation], Awaitable[Json]]] = {
            "start_run": self.start,
            "rerun": self.rerun,
            "list_runs": self.runs,
            "get_statistics": self.statistics,
            "run_batch": self.begin_batch,
            "get_batch": self.batch,
            "clear_cache": self.clear,
        }
        """What answers each tool."""

    async def start(self, call: Invocation) -> Json:
        """Begin a run that goes on without its caller."""
        given = call.arguments
        version, stage = chosen(given)
        live = await self._runs.start(
            call.caller,
            await self._runnable(call),
            given.get("arguments", {}),
            timeout=given.get("timeout"),
            key=call.key,
            version=version,
            stage=stage,
            detached=True,
        )
        return shown(live.run)

    async def rerun(self, call: Invocation) -> Json:
        """Begin a run with the inputs of an earlier one."""
        live = await self._recorded.rerun(call.caller, call.arguments["run_id"], call.key)
        return shown(live.run) | {"parent_run_id": live.run.parent}

    async def runs(self, call: Invocation) -> Json:
        """A page of the caller's runs."""
        given = call.arguments
        page = await self._runs.past.list(
            call.caller,
            pipeline=given.get("pipeline"),
            status=given.get("status"),
            version=chosen(given)[0],
            parent=given.get("parent_run_id"),
            origin=given.get("origin"),
            since=seconds_of(given, "since"),
            until=seconds_of(given, "until"),
            limit=given.get("limit", LIMIT),
            cursor=given.get("cursor"),
        )
        listed = {"runs": [shown(run) for run in page.runs]}
        return listed | {"next_cursor": page.next} if page.next else listed

    async def statistics(self, call: Invocation) -> Json:
        """How the calls of a pipeline went."""
        name: str = call.arguments["pipeline"]
        version, _ = chosen(call.arguments)
        known = await self._runs.past.statistics(name, version)
        if not known.whole.total:
            self._catalog.status(name)  # refuses a name that nobody ever called or deployed
        days = [{"day": day.isoformat(), **told(figures)} for day, figures in known.days.items()]
        return {"pipeline": name, **told(known.whole), "days": days}

    async def begin_batch(self, call: Invocation) -> Json:
        """Begin to run a pipeline for each of many inputs."""
        given = call.arguments
        version, stage = chosen(given)
        batch = await self._batches.begin(
            call.caller,
            await self._runnable(call),
            given["inputs_list"],
            concurrency=given.get("concurrency", AT_ONCE),
            timeout=given.get("timeout"),
            version=version,
            stage=stage,
            key=call.key,
        )
        return {"batch_id": batch.id, "status": batch.status, "total": len(given["inputs_list"])}

    async def batch(self, call: Invocation) -> Json:
        """How a batch is doing, item by item."""
        batch = await self._batches.get(call.caller, call.arguments["batch_id"])
        ended = [item for item in batch.items if item and item.ended]
        done = sum(1 for item in ended if item.status == "done")
        return {
            "batch_id": batch.run.id,
            "pipeline": batch.run.pipeline,
            "status": batch.run.status,
            "total": len(batch.items),
            "done": done,
            "failed": len(ended) - done,
            "items": [
                item_shown(place, item, "cancelled" if batch.run.ended else "queued")
                for place, item in enumerate(batch.items)
            ],
        }

    async def clear(self, call: Invocation) -> Json:
        """Forget kept results."""
        return {"cleared": self._runs.cache.clear(call.arguments.get("name"))}

    async def _runnable(self, call: Invocation) -> str:
        """The pipeline that the call names. Raises `NotFound` if it cannot be run here."""
        name: str = call.arguments["name"]
        await self._catalog.find(name, *chosen(call.arguments))
        if name not in call.view().pipelines:
            raise missing(name)
        return name


def seconds_of(given: Json, name: str) -> float | None:
    """A time that an argument names (ISO 8601, UTC unless it says otherwise), in seconds since the epoch."""
    if name not in given:
        return None
    try:
        moment = datetime.fromisoformat(given[name])
    except ValueError:
        raise Invalid(f"`{name}` must be a date or a time, such as 2026-01-31T15:30:00Z.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def item_shown(place: int, item: Run | None, otherwise: str) -> Json:
    """An item of a batch: its status, and what it gave or why it failed; `otherwise` if it never began."""
    if item is None:
        return {"index": place, "status": otherwise}
    view: Json = {"index": place, "run_id": item.id, "status": item.status}
    return view | ({"error": item.error} if item.error else gave(item))


def told(figures: Figures) -> Json:
    """The figures, in seconds, rounded to what they are worth."""
    rate = 1 - figures.failed / figures.total if figures.total else None
    numbers = {key: value for key, value in asdict(figures).items() if value is not None}
    seconds = {
        f"{key}_seconds": round(numbers.pop(key), 4) for key in ("mean", "p50", "p95") if key in numbers
    }
    return numbers | ({} if rate is None else {"success_rate": round(rate, 4)}) | seconds


NAME: Json = {"name": described(STRING, "Name of a pipeline.")}
TIMEOUT: Json = {
    "timeout": described(NUMBER, "Seconds it may take, up to the server's maximum.", exclusiveMinimum=0)
}
STATUSES = get_args(RunStatus)
TOOLS: tuple[Json, ...] = (
    tool(
        "start_run",
        "Start run",
        "Begins a run of a pipeline that goes on without you; get_run follows it.",
        takes(
            NAME | {"arguments": described(OBJECT, "What its inputSchema asks for.")} | CHOICE | TIMEOUT,
            "name",
        ),
        gives({"run_id": STRING, "status": STRING}),
        openWorldHint=True,
    ),
    tool(
        "rerun",
        "Run again",
        "Begins a run with the inputs of an earlier one, of the pipeline as it is now; get_run follows it.",
        takes(RUN_ID, "run_id"),
        gives({"run_id": STRING, "status": STRING, "parent_run_id": STRING}),
        openWorldHint=True,
    ),
    tool(
        "list_runs",
        "List runs",
        "Lists your runs, the newest first, without inputs and results.",
        takes(
            {
                "pipeline": described(STRING, "Only runs of this pipeline."),
                "status": described(STRING, "Only runs with this status.", enum=[*STATUSES]),
                "version": described(STRING, "Only runs of this version.", pattern=NUMBERS),
                "parent_run_id": described(STRING, "Only what was made from this run, or batch."),
                "origin": described(STRING, "Only runs that came this way: mcp, rest or openai."),
                "since": described(STRING, "Only runs begun then or later, as 2026-01-31 or with a time."),
                "until": described(STRING, "Only runs begun before that."),
                "limit": described(COUNT, "How many at most.", minimum=1, maximum=MOST, default=LIMIT),
                "cursor": described(STRING, "next_cursor of the answer before."),
            }
        ),
        gives({"runs": LIST, "next_cursor": STRING}),
        readOnlyHint=True,
        idempotentHint=True,
    ),
    tool(
        "get_statistics",
        "Statistics",
        "Tells how the calls of a pipeline went: counts, success rate, seconds (mean, p50, p95), and by day.",
        takes(
            {"pipeline": described(STRING, "Name of a pipeline."), "version": CHOICE["version"]}, "pipeline"
        ),
        gives({"pipeline": STRING, "total": COUNT, "failed": COUNT, "success_rate": NUMBER, "days": LIST}),
        readOnlyHint=True,
        idempotentHint=True,
    ),
    tool(
        "run_batch",
        "Run batch",
        "Begins to run a pipeline once for each of many inputs; get_batch follows it. "
        "An item that fails, fails alone.",
        takes(
            NAME
            | {
                "inputs_list": {
                    "type": "array",
                    "items": OBJECT,
                    "minItems": 1,
                    "maxItems": 1000,
                    "description": "The arguments of each run.",
                },
                "concurrency": described(COUNT, "Runs at once.", minimum=1, maximum=32, default=AT_ONCE),
            }
            | CHOICE
            | TIMEOUT,
            "name",
            "inputs_list",
        ),
        gives({"batch_id": STRING, "status": STRING, "total": COUNT}),
        openWorldHint=True,
    ),
    tool(
        "get_batch",
        "Batch status",
        "Tells how a batch is doing, with the status and result of each item.",
        takes({"batch_id": described(STRING, "Id of a batch, as run_batch named it.")}, "batch_id"),
        gives({"batch_id": STRING, "status": STRING, "done": COUNT, "failed": COUNT, "items": LIST}),
        readOnlyHint=True,
        idempotentHint=True,
    ),
    tool(
        "clear_cache",
        "Clear cache",
        "Forgets the kept results of a pipeline, or of all, so that the next calls run.",
        takes({"name": described(STRING, "Name of a pipeline. Default: all.")}),
        gives({"cleared": COUNT}),
        idempotentHint=True,
    ),
)
