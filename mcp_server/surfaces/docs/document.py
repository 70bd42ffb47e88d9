"""The OpenAPI 3.1 document: every operation, and those that every pipeline has with its own schemas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import quote

from ...access import NOBODY
from ...access.table import needed
from ...catalog import Entry, Snapshot
from ...models import Caller, Json
from ...pipelines.uploads import takes_file
from ..operations import TEXT, Operation, gives

FORM = "multipart/form-data"
NAMED = "/{name}/"
"""How the paths begin that every pipeline has."""
TAGS: Mapping[str, str] = MappingProxyType(
    {
        "{name}": "Call a pipeline",
        "v1": "Models",
        "runs": "Runs",
        "deploy_files": "Deploy",
        "pipelines/deploy": "Deploy",
        "deploy-yaml": "Deploy",
        "undeploy": "Deploy",
        "pipelines": "Versions",
        "status": "Status",
        "mcp": "Status",
        "draw": "Status",
        "pipeline": "Step by step",
        "step": "Step by step",
        "artifacts": "Step by step",
    }
)
"""What the operations are grouped by, in this order: by their path, or by the first part of it."""
OTHERS = "Models without /v1"
ABOUT = (
    "Haystack pipelines over plain HTTP. The same pipelines are tools of the Model Context Protocol at "
    "`/mcp`. The document changes when pipelines are deployed and undeployed."
)
KEY: Json = {"type": "http", "scheme": "bearer", "description": "An API key, where the server needs one."}
ERROR: Json = {
    "type": "object",
    "description": "Why a request was refused, or a run failed, and what to do.",
    "required": ["error"],
    "properties": {
        "error": {
            "anyOf": [
                {
                    "type": "object",
                    "required": ["message", "type"],
                    "properties": {"message": TEXT, "type": TEXT},
                },
                {"type": "string", "description": "The code, of a step-wise route; the text is `message`."},
            ]
        },
        "request_id": {"type": "string", "description": "As the header X-Request-ID; the log names it."},
    },
}


def document(operations: Iterable[Operation], snapshot: Snapshot, root: str, caller: Caller) -> Json:
    """Everything there is to call now for this caller, below the prefix `root`.

    Who has no credential sees what every server has, and no pipeline: keys are sent as a bearer.
    """
    paths: dict[str, Json] = {}
    used: list[str] = []
    usable = [each for each in operations if caller.name == NOBODY.name or is_usable(each, caller)]
    for operation, tag in _all(usable, snapshot, caller):
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, tag)
        used.append(tag)
    servers: Json = {"servers": [{"url": quote(root)}]} if root else {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Haystack MCP server",
            "version": version("haystack-mcp-server"),
            "description": ABOUT,
        },
        **servers,
        "tags": [{"name": tag} for tag in dict.fromkeys((*TAGS.values(), OTHERS, *used)) if tag in used],
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}, "securitySchemes": {"key": KEY}},
        "security": [{"key": []}, {}],
    }


def is_usable(operation: Operation, caller: Caller) -> bool:
    """True if the caller may use it on any pipeline."""
    need = needed(operation.method, operation.path)
    return need is None or caller.may(need)


def _all(operations: list[Operation], snapshot: Snapshot, caller: Caller) -> Iterator[tuple[Operation, str]]:
    """Every operation with its tag; in the place of one that every pipeline has, those of the pipelines."""
    seen = (entry for entry in snapshot.entries.values() if caller.may("run", entry.name))
    loaded = [entry for entry in seen if entry.manifest]
    for operation in sorted(operations, key=lambda each: not each.path.startswith(NAMED)):
        whole = operation.path.removeprefix("/")
        tag = operation.tag or TAGS.get(whole) or TAGS.get(whole.partition("/")[0], OTHERS)
        if operation.path.startswith(NAMED) and loaded:
            yield from ((own, tag) for entry in loaded for own in _own(operation, entry))
        else:
            yield operation, tag


def _own(operation: Operation, entry: Entry) -> Iterator[Operation]:
    """The operation as this pipeline has it, if it does."""
    assert entry.manifest is not None, "only of loaded ones"
    tool, verb = entry.manifest.tool, operation.path.removeprefix(NAMED)
    made = replace(operation, path=operation.path.replace("{name}", entry.name))
    if verb == "run":
        yield replace(
            made,
            summary=tool["title"],
            description=tool["description"],
            takes=tool["inputSchema"],
            answer={"type": "object", "required": ["result"], "properties": {"result": _result(tool)}},
        )
    elif verb in entry.manifest.verbs:
        yield replace(made, summary=f"{operation.summary}: {tool['title']}")


def _result(tool: Json) -> Json:
    """The schema of what it gives, without the object that MCP needs around a value which is none."""
    gives: Json = tool.get("outputSchema", {})
    properties: Json = gives.get("properties", {})
    return properties["result"] if properties.keys() == {"result"} else gives


def _described(operation: Operation, tag: str) -> Json:
    """An operation as OpenAPI writes it."""
    failed = {"description": "Refused, or failed", "content": {"application/json": {"schema": REFUSAL}}}
    made: Json = {
        "operationId": operation.method.lower() + identity(operation.path),
        "tags": [tag],
        "summary": operation.summary,
        "parameters": [*_parameters(operation)],
        "responses": {**_answers(operation), "default": failed},
    }
    if operation.description and operation.description != operation.summary:
        made["description"] = operation.description
    if operation.takes is not None:
        required = bool(operation.takes.get("required"))
        made["requestBody"] = {"required": required, "content": _bodies(inlined(operation.takes))}
    return made


def identity(path: str) -> str:
    """A path as a part of an identifier; one that ends with a slash is another than without."""
    words = re.sub(r"[^A-Za-z0-9-]+", "_", path).rstrip("_")
    return f"{words}_all" if path.endswith("/") else words


def _bodies(takes: Json) -> Json:
    """The body as JSON; and as a form if there are files in it."""
    bodies: Json = {"application/json": {"schema": takes}}
    known: Json = takes.get("properties", {})
    form = {name: _in_form(schema) for name, schema in known.items()}
    return bodies if form == known else bodies | {FORM: {"schema": takes | {"properties": form}}}


def _in_form(schema: Json) -> Json:
    """What a form has for it: a file's content in the place of an object that holds it."""
    content: Json = {"type": "string", "format": "binary"}
    if takes_file(schema):
        return content
    if not takes_file(schema.get("items", {})):
        return schema
    about = {"description": schema["description"]} if "description" in schema else {}
    return {"type": "array", "items": content} | about


def _parameters(operation: Operation) -> Iterator[Json]:
    for name in re.findall(r"\{(\w+)(?::\w+)?\}", operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": TEXT}
    for place, known in (("query", operation.query), ("header", operation.headers)):
        for name, schema in known.items():
            told = {key: value for key, value in schema.items() if key != "description"}
            about = {"description": schema["description"]} if "description" in schema else {}
            yield {"name": name, "in": place, "schema": told, **about}


def _answers(operation: Operation) -> Json:
    schemas = {"application/json": inlined(operation.answer or {})}
    content = {kind: {"schema": schemas.get(kind, {})} for kind in operation.media}
    answers: Json = {str(operation.status): {"description": "Done", "content": content}}
    if operation.path.endswith("/run"):
        content["*/*"] = {"schema": {}}  # what gives a file answers with the file
        waits = {"description": "It goes on, or waits for an answer: its id, and how to follow it"}
        answers["202"] = waits | {"content": {"application/json": {"schema": gives(run_id=TEXT, next=TEXT)}}}
    return answers


def inlined(schema: Json) -> Json:
    """The schema with its own `$defs` in the place of references to them, which would lead elsewhere here."""
    known: Json = schema.get("$defs", {})

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(each) for each in cast(list[Any], value)]
        if not isinstance(value, dict):
            return value
        members = cast(Json, value)
        place = members.get("$ref")
        if isinstance(place, str) and place.startswith("#/$defs/"):
            return walk(known[place.removeprefix("#/$defs/")])
        return {key: walk(each) for key, each in members.items() if key != "$defs"}

    return cast(Json, walk(schema))


REFUSAL: Json = {"$ref": "#/components/schemas/Error"}
