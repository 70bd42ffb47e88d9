"""The management tools of pipelines: deploy, undeploy, and how they are doing."""

from __future__ import annotations

from ...models import NAME, Json, Status
from ...server import Server
from .schemas import LIST, OBJECT, STRING, described, gives, takes, tool
from .views import Invocation, View

STATUS = gives({"name": STRING, "status": STRING, "version": STRING, "error": STRING})
"""What a client needs to know of a status; the answers have all of its fields."""
SHOWN = ("name", "description", "inputSchema")
"""What the answer to a deploy holds of the new tool."""


class PipelineTools:
    """Each method gives a structured answer, or raises a `ServerError`."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog

    async def deploy(self, call: Invocation) -> Json:
        """Deploy files as a pipeline; the answer holds its tool, for clients that do not list again."""
        name, files = call.arguments["name"], call.arguments["files"]
        overwrite, keep = call.arguments.get("overwrite", False), call.arguments.get("save_files", True)
        status = await self._catalog.deploy(
            name, files, overwrite=overwrite, keep=keep, author=call.caller.name
        )
        view = call.view()
        shown = {key: value for key, value in view.pipelines.get(name, {}).items() if key in SHOWN}
        return {"pipeline": dumped(status), "tool": shown, "next": advice(name, view, keep)}

    async def undeploy(self, call: Invocation) -> Json:
        """Take a pipeline out of service."""
        return dumped(await self._catalog.undeploy(call.arguments["pipeline_name"]))

    async def status(self, call: Invocation) -> Json:
        """How one pipeline is doing."""
        await self._catalog.ready(tools=False)
        return dumped(self._catalog.status(call.arguments["pipeline_name"]))

    async def statuses(self, call: Invocation) -> Json:
        """How all pipelines are doing."""
        await self._catalog.ready(tools=False)
        return {
            "pipelines": [
                dumped(each) for each in self._catalog.statuses() if call.caller.may("read", each.name)
            ]
        }


def advice(name: str, view: View, keep: bool) -> str:
    """What to do after a deploy. A pipeline that is not in the list of tools can be run all the same."""
    tool = f"the tool {name}" if name in view.tools else f"run_pipeline with the name {name}"
    how = f"Call {tool} now with arguments that fit its inputSchema."
    if name not in view.pipelines:
        how = "It is hidden from MCP, and cannot be called here."
    return how if keep else f"{how} Its files were not saved: it is gone when the server stops."


def dumped(status: Status) -> Json:
    """A status as callers see it, without what is not known."""
    return status.model_dump(mode="json", exclude_none=True)


PIPELINE_NAME: Json = {"pipeline_name": described(STRING, "Name of a pipeline.")}
TOOLS: tuple[Json, ...] = (
    tool(
        "deploy_pipeline",
        "Deploy pipeline",
        "Deploys a Haystack pipeline from source files and serves it as a tool of the same name. "
        "Returns its status and tool. A deploy that fails changes nothing.",
        takes(
            {
                "name": described(STRING, "Also the tool's name.", pattern=f"^{NAME.pattern}$"),
                "files": described(
                    OBJECT,
                    "Text by path: pipeline_wrapper.py or a Haystack YAML, and what it needs. "
                    "None: deploy again what was undeployed.",
                    additionalProperties=STRING,
                ),
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
        "Takes a pipeline out of service until it is deployed again. Deletes no file.",
        takes(PIPELINE_NAME, "pipeline_name"),
        gives({"name": STRING, "status": STRING}),
        destructiveHint=True,
        idempotentHint=True,
    ),
    tool(
        "get_pipeline_status",
        "Pipeline status",
        "Tells how one pipeline is doing, and what to mend.",
        takes(PIPELINE_NAME, "pipeline_name"),
        STATUS,
        readOnlyHint=True,
        idempotentHint=True,
    ),
    tool(
        "get_all_pipeline_statuses",
        "All pipeline statuses",
        "Tells how every pipeline is doing, also those that do not serve.",
        takes({}),
        gives({"pipelines": LIST}),
        readOnlyHint=True,
        idempotentHint=True,
    ),
)
