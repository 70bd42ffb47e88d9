"""The management tools: pipelines and their statuses, runs and their questions, with schemas and answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio
import orjson

from ...catalog.arguments import Arguments
from ...errors import Conflict, Invalid
from ...models import NAME, Answers, Caller, Json, Question, Status
from ...runs import Live
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
RUN: Json = {
    "type": "object",
    "properties": {
        "run_id": STRING,
        "pipeline": STRING,
        "version": STRING,
        "status": {"type": "string", "enum": ["running", "waiting", "done", "failed", "cancelled"]},
        "seconds": {"type": "number"},
        "question": OBJECT,
        "content": {"type": "array", "items": OBJECT},
        "result": OBJECT,
    },
    "required": ["run_id", "pipeline", "status"],
}
ACTIONS = ("accept", "decline", "cancel")
PATIENCE = 45.0
"""Seconds `answer_run` waits for what follows; clients give up on a call after 60."""
SHOWN = ("name", "description", "inputSchema")
"""What the answer to a deploy holds of the new tool."""


class Management:
    """The verbs by the name of their tool. Each gives its structured answer, or raises a `ServerError`."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog
        self._runs = server.runs
        self._schemas = {tool["name"]: Arguments(tool["inputSchema"]) for tool in TOOLS}
        self.verbs: dict[str, Callable[[Caller, Json], Awaitable[Json]]] = {
            "deploy_pipeline": self.deploy,
            "undeploy_pipeline": self.undeploy,
            "get_pipeline_status": self.status,
            "get_all_pipeline_statuses": self.statuses,
            "get_run": self.run,
            "answer_run": self.answer,
            "cancel_run": self.cancel,
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

    async def run(self, caller: Caller, arguments: Json) -> Json:
        """How one run is doing, what it asks, what it gave."""
        return shown(self._runs.find(caller, arguments["run_id"]))

    async def answer(self, caller: Caller, arguments: Json) -> Json:
        """Answer what a run asks, then wait for its end or its next question."""
        live = self._runs.find(caller, arguments["run_id"])
        question = live.question
        if question is None:
            raise Conflict(f"Run {live.run.id} is not waiting for an answer.")
        live.answer(completed(question, arguments["answers"]))
        with anyio.move_on_after(PATIENCE):
            await live.next()
        return shown(live)

    async def cancel(self, caller: Caller, arguments: Json) -> Json:
        """Stop a run."""
        live = self._runs.find(caller, arguments["run_id"])
        live.cancel()
        with anyio.move_on_after(PATIENCE):
            await live.end()
        return shown(live)


def shown(live: Live) -> Json:
    """A run as callers see it: what is asked while it waits, its result once it has ended."""
    run, result = live.run, live.run.result
    view: Json = {
        "run_id": run.id,
        "pipeline": run.pipeline,
        "version": str(run.version),
        "status": run.status,
        "seconds": round((run.finished or time.time()) - run.started, 3),
    }
    if live.question is not None:
        view["question"] = dict(live.question.requests)
    if result is not None:
        view["content"] = orjson.loads(result.content)
        if result.structured is not None:
            view["result"] = orjson.loads(result.structured)
    return view


def completed(question: Question, given: Json) -> Answers:
    """Answers in wire form from what a caller wrote: a form's fields, a text, a list, or the form itself.

    Raises `Invalid` that names a key which is missing or was not asked.
    """
    if given.keys() != question.requests.keys():
        raise Invalid(f"`answers` must be an object with {', '.join(question.requests)}, and nothing else.")
    return {key: wire(question.requests[key]["method"], value) for key, value in given.items()}


def wire(method: str, value: Any) -> Json:
    """One answer as the MCP result of that method."""
    given = cast(Json, value) if isinstance(value, dict) else None
    if method == "roots/list":
        return {"roots": value} if given is None else given
    if method == "sampling/createMessage":
        return {"content": {"type": "text", "text": value}} if given is None else given
    if given is None:
        return {"action": value if value in ACTIONS else "cancel"}
    return given if given.get("action") in ACTIONS else {"action": "accept", "content": given}


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


RUN_ID: Json = {"run_id": STRING | {"description": "Id of a run, as a result named it."}}
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
    tool(
        "get_run",
        "Run status",
        "Tells how a run is doing, what it asks while it waits, and what it gave.",
        takes(RUN_ID, "run_id"),
        RUN,
        readOnlyHint=True,
        idempotentHint=True,
    ),
    tool(
        "answer_run",
        "Answer run",
        "Answers what a waiting run asks, then returns its result or its next question.",
        takes(
            RUN_ID
            | {
                "answers": {
                    "type": "object",
                    "description": "By key of the question: the form's fields, or decline or cancel.",
                }
            },
            "run_id",
            "answers",
        ),
        RUN,
        openWorldHint=True,
    ),
    tool(
        "cancel_run",
        "Cancel run",
        "Stops a run that is going on or waits.",
        takes(RUN_ID, "run_id"),
        RUN,
        destructiveHint=True,
        idempotentHint=True,
    ),
)
