"""How management tools are declared: small schemas, and tools in wire form."""

from __future__ import annotations

from ...models import Json

STRING: Json = {"type": "string"}
COUNT: Json = {"type": "integer"}
OBJECT: Json = {"type": "object"}
LIST: Json = {"type": "array"}
HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


def tool(
    name: str, title: str, description: str, takes: Json, gives: Json | None = None, **hints: bool
) -> Json:
    """An MCP tool in wire form; the hints not given are false. Without `gives` its answer may be anything."""
    made: Json = {"name": name, "title": title, "description": description, "inputSchema": takes}
    if gives is not None:
        made["outputSchema"] = gives
    return made | {"annotations": {hint: hints.get(hint, False) for hint in HINTS}}


def takes(properties: Json, *required: str) -> Json:
    """The schema of arguments: these and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*required],
        "additionalProperties": False,
    }


def gives(properties: Json) -> Json:
    """The schema of an answer. Short, because every list holds it: what is required is left out."""
    return {"type": "object", "properties": properties}


def described(schema: Json, description: str, **more: object) -> Json:
    """The schema of an argument that says what it is."""
    return {**schema, **more, "description": description}
