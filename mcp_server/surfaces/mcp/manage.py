"""The management tools: deploy, undeploy and the two statuses, with their schemas and answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...catalog.arguments import Arguments
from ...models import NAME, Caller, Json, Status
from ...server import Server

STRING: Json = {"type": "string"}
COUNT: Json = {"type": "integer"}
OBJECT: Json = {"type": "object"}
STATUS: Json = {
    "type": "object",
    "properties": {
        "name": STRING,
        "status": {"type": "string", "enum": ["running", "loading", "error", "undeployed"]},
        "version": STRING,
        "digest": STRING,
        "kind": STRING,
        "uptime": {"type": "number"},
        "calls": COUNT,
        "errors": COUNT,
        "description": STRING,
        "error": STRING,
        "warnings": {"type": "array", "items": STRING},
    },
    "required": ["name", "status"],
}
SHOWN = ("name", "description", "inputSchema")
"""What the answer to a deploy holds of the new tool."""


class Management:
    """The verbs by the name of their tool. Each gives its structured answer, or raises a `ServerError`."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog
        self._schemas = {tool["name"]: Arguments(tool["inputSchema"]) for tool in TOOLS}
        self.verbs: dict[str, Callable[[Caller, Json], Awaitable[Json]]] = {
            "deploy_pipeline": self.deploy,
            "undeploy_pipeline": self.undeploy,
            "get_pipeline_status": self.status,
            "get_all_pipeline_statuses": self.statuses,
        }

    async def call(self, name: str, caller: Caller, arguments: Json) -> Json:
        """Do what the tool `name` says. Raises `Invalid` for arguments that do not fit its schema."""
        self._schemas[name].check(arguments)
        return await self.verbs[name](caller, arguments)

    async def deploy(self, caller: Caller, arguments: Json) -> Json:
        """Deploy files as a pipeline; the answer holds its tool, for clients that do not list again."""
        name, files = arguments["name"], arguments["files"]
        overwrite, keep = arguments.get("overwrite", False), arguments.get("save_files", True)
        status = await self._catalog.deploy(name, files, overwrite=overwrite, keep=keep, author=caller.name)
        return {"pipeline": dumped(status), "tool": self._shown(name), "next": advice(name, keep)}

    def _shown(self, name: str) -> Json:
        """What a client needs to call the tool; empty if the pipeline is hidden from MCP."""
        tools = {tool["name"]: tool for tool in self._catalog.snapshot.tools}
        return {key: value for key, value in tools.get(name, {}).items() if key in SHOWN}

    async def undeploy(self, caller: Caller, arguments: Json) -> Json:
        """Take a pipeline out of service."""
        return dumped(await self._catalog.undeploy(arguments["pipeline_name"]))

    async def status(self, caller: Caller, arguments: Json) -> Json:
        """How one pipeline is doing."""
        return dumped(self._catalog.status(arguments["pipeline_name"]))

    async def statuses(self, caller: Caller, arguments: Json) -> Json:
        """How all pipelines are doing."""
        return {"pipelines": [dumped(each) for each in self._catalog.statuses()]}


def advice(name: str, keep: bool) -> str:
    """What to do after a deploy."""
    call = f"Call the tool {name} now with arguments that fit its inputSchema."
    return call if keep else f"{call} Its files were not saved: it is gone when the server stops."


def dumped(status: Status) -> Json:
    """A status as callers see it, without what is not known."""
    return status.model_dump(mode="json", exclude_none=True)


def tool(name: str, title: str, description: str, takes: Json, gives: Json, **hints: bool) -> Json:
    """An MCP tool in wire form; the hints not given are false."""
    known = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
    return {
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": takes,
        "outputSchema": gives,
        "annotations": {hint: hints.get(hint, False) for hint in known},
    }


def takes(properties: Json, *required: str) -> Json:
    """The schema of arguments: these and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*required],
        "additionalProperties": False,
    }


def gives(properties: Json) -> Json:
    """The schema of an answer that holds all of these."""
    return {"type": "object", "properties": properties, "required": [*properties]}


PIPELINE_NAME: Json = {"pipeline_name": STRING | {"description": "Name of a pipeline."}}
TOOLS: tuple[Json, ...] = (
    tool(
        "deploy_pipeline",
        "Deploy pipeline",
        "Deploys a Haystack pipeline from source files and serves it as a tool of the same name. "
        "Returns its status and tool. A deploy that fails changes nothing.",
        takes(
            {
                "name": STRING | {"pattern": f"^{NAME.pattern}$", "description": "Also the tool's name."},
                "files": {
                    "type": "object",
                    "additionalProperties": STRING,
                    "description": "Text by path: pipeline_wrapper.py or a Haystack YAML, and what it needs. "
                    "None at all: deploy again what was undeployed.",
                },
                "overwrite": {
                    "type": "boolean",
                    "default": False,
                    "description": "Replace the one of this name.",
                },
                "save_files": {"type": "boolean", "default": True, "description": "Keep it over a restart."},
            },
            "name",
            "files",
        ),
        gives({"pipeline": OBJECT, "tool": OBJECT, "next": STRING}),
        destructiveHint=True,
    ),
    tool(
        "undeploy_pipeline",
        "Undeploy pipeline",
        "Takes a pipeline out of service until it is deployed again. Deletes no file of the served folder.",
        takes(PIPELINE_NAME, "pipeline_name"),
        gives({"name": STRING, "status": STRING}),
        destructiveHint=True,
        idempotentHint=True,
    ),
    tool(
        "get_pipeline_status",
        "Pipeline status",
        "Tells how one pipeline is doing, and what is wrong if it does not load.",
        takes(PIPELINE_NAME, "pipeline_name"),
        STATUS,
        readOnlyHint=True,
        idempotentHint=True,
    ),
    tool(
        "get_all_pipeline_statuses",
        "All pipeline statuses",
        "Tells how every pipeline is doing, also those that do not load or are undeployed.",
        takes({}),
        gives({"pipelines": {"type": "array", "items": OBJECT}}),
        readOnlyHint=True,
        idempotentHint=True,
    ),
)
