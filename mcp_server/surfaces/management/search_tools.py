"""The tools for many pipelines: find one, read what it takes, run it by name."""

from __future__ import annotations

import re

from anyio import to_thread

from ...catalog import Stage
from ...errors import NotFound
from ...models import Json
from ...server import Server
from .samples import sample
from .schemas import COUNT, LIST, OBJECT, STRING, described, gives, takes, tool
from .views import VERSION, Invocation

NUMBERS = r"^[1-9][0-9]{0,8}$"
"""What the number of a version looks like on the wire, where it is a text."""
FOUND = 5
MOST = 50
"""Pipelines that a search gives: unless asked for more, and at all."""
SUMMARY = 200
"""Characters of a description in the result of a search."""
PATIENCE = 8.0
"""Seconds to wait for pipelines that still load."""
DESCRIBED = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")


class SearchTools:
    """Each method gives a structured answer, or raises a `ServerError`."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog

    async def search(self, call: Invocation) -> Json:
        """The pipelines that fit a query best, and how many there are."""
        await self._catalog.ready(PATIENCE)
        view = call.view()
        index = await to_thread.run_sync(lambda: view.index)  # making it takes long when pipelines are many
        names = index.search(call.arguments["query"], call.arguments.get("limit", FOUND))
        return {
            "pipelines": [summary(view.pipelines[name], view.tags[name]) for name in names],
            "of": len(view.pipelines),
        }

    async def describe(self, call: Invocation) -> Json:
        """Everything a caller needs to run one pipeline. Raises `NotFound`."""
        await self._catalog.ready(PATIENCE)
        found = call.view().pipelines.get(call.arguments["name"])
        if found is None:
            raise missing(call.arguments["name"])
        arguments = {"name": found["name"], "arguments": sample(found["inputSchema"])}
        view: Json = {key: found[key] for key in DESCRIBED if key in found}
        view["version"] = found["_meta"][VERSION]["number"]
        return view | {"example": {"tool": "run_pipeline", "arguments": arguments}}


def chosen(arguments: Json) -> tuple[int | None, Stage | None]:
    """The version or stage that the arguments name."""
    number = arguments.get("version")
    return int(number) if number else None, arguments.get("stage")


def missing(name: str) -> NotFound:
    """The refusal of a name that no pipeline has here."""
    return NotFound(f"There is no pipeline named {name[:64]}; search_pipelines finds those that serve.")


def summary(tool: Json, tags: tuple[str, ...]) -> Json:
    """A pipeline in the result of a search: enough to choose, too little to call."""
    view: Json = {"name": tool["name"], "title": tool.get("title"), "tags": [*tags]}
    view["description"] = shortened(tool.get("description", ""))
    view["parameters"] = [*tool["inputSchema"].get("properties", {})]
    return {key: value for key, value in view.items() if value}


def shortened(text: str) -> str:
    """The first paragraph, cut between words."""
    plain = " ".join(re.split(r"\n\s*\n", text.strip(), maxsplit=1)[0].split())
    return plain if len(plain) <= SUMMARY else plain[:SUMMARY].rpartition(" ")[0] + " …"


CHOICE: Json = {
    "version": described(STRING, "A version.", pattern=NUMBERS),
    "stage": described(STRING, "A stage.", enum=["production", "staging"]),
}
"""The arguments that say which version is to run."""
TASKED: Json = {"execution": {"taskSupport": "optional"}}
TOOLS: tuple[Json, ...] = (
    tool(
        "search_pipelines",
        "Search pipelines",
        "Finds pipelines by words. describe_pipeline gives their schemas.",
        takes(
            {
                "query": described(STRING, "Such as `translate a text`."),
                "limit": described(COUNT, "How many at most.", minimum=1, maximum=MOST, default=FOUND),
            },
            "query",
        ),
        gives({"pipelines": LIST, "of": COUNT}),
        readOnlyHint=True,
        idempotentHint=True,
    ),
    tool(
        "describe_pipeline",
        "Describe pipeline",
        "Describes one pipeline: its schemas, its version, an example call.",
        takes({"name": described(STRING, "Name of a pipeline.")}, "name"),
        gives(
            {"name": STRING, "inputSchema": OBJECT, "example": OBJECT},
        ),
        readOnlyHint=True,
        idempotentHint=True,
    ),
    TASKED
    | tool(  # without an output schema: it answers as the pipeline's own tool, which may give blocks only
        "run_pipeline",
        "Run pipeline",
        "Runs a pipeline by name; describe_pipeline tells what it takes.",
        takes(
            {
                "name": described(STRING, "Name of a pipeline."),
                "arguments": described(OBJECT, "What fits its inputSchema."),
            }
            | CHOICE,
            "name",
        ),
        destructiveHint=True,
        openWorldHint=True,
    ),
)
