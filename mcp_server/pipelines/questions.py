"""What a run may ask of its caller, and the answers: MCP's elicitation, sampling and roots.

Each question knows the MCP request it becomes (wire form, specification 2025-11-25, client features) and
how to read the result. A question that nobody answered reads like one the person closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from ..models import Json
from .portable import portable

Action = Literal["accept", "decline", "cancel"]
_KEPT = {
    *("type", "title", "description", "enum", "enumNames", "oneOf", "items", "default", "format", "const"),
    *("pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
}
"""What a field of a form may say of itself."""


class Misfit(ValueError):
    """Names the fields of a form that do not fit it."""


class Ask(Protocol):
    """A question of any kind."""

    def request(self) -> Json:
        """The MCP request in wire form."""
        ...

    def read(self, result: Json | None) -> Any:
        """What the author gets for the client's result; None if there is none."""
        ...


@dataclass(frozen=True)
class Answer:
    """What a person did with a form or a link: `accept` with the content, `decline`, or `cancel`.

    `value` is the content as the model that was asked for, else the content itself; None unless accepted.
    """

    action: Action
    content: Json = field(default_factory=dict[str, Any])
    value: Any = None

    def __bool__(self) -> bool:
        return self.action == "accept"


@dataclass(frozen=True)
class Form:
    """A form for a person: a message, and a flat JSON Schema or pydantic model of simple fields."""

    message: str
    schema: Json | type[BaseModel]

    def request(self) -> Json:
        """The form. Raises `ValueError` for a field that no form can have: clients would not show it."""
        schema = self._schema()
        if odd := [name for name, field in schema.get("properties", {}).items() if not _is_simple(field)]:
            allowed = "texts, numbers, booleans, choices"
            raise ValueError(f"a form has simple fields only ({allowed}), and not {', '.join(odd)}")
        params = {"mode": "form", "message": self.message, "requestedSchema": schema}
        return {"method": "elicitation/create", "params": params}

    def read(self, result: Json | None) -> Answer:
        """The answer. Raises `Misfit` if the content does not fit the schema."""
        action = (result or {}).get("action", "cancel")
        if action != "accept":
            return Answer(action)
        content = cast(Json, (result or {}).get("content") or {})
        if isinstance(self.schema, dict):
            _check(self.schema, content)
            return Answer(action, content, content)
        try:
            return Answer(action, content, self.schema.model_validate(content))
        except ValidationError as error:
            raise _misfit(fault["loc"] for fault in error.errors()) from None

    def _schema(self) -> Json:
        if isinstance(self.schema, dict):
            return self.schema
        schema, _ = portable(self.schema.model_json_schema())
        fields = {name: _simple(field) for name, field in schema["properties"].items()}
        return {"type": "object", "properties": fields, "required": schema.get("required", [])}


@dataclass(frozen=True)
class Link:
    """A page for a person to visit, for what must not go through the client: secrets, payments, consent."""

    message: str
    url: str

    def request(self) -> Json:
        params = {"mode": "url", "message": self.message, "url": self.url, "elicitationId": uuid4().hex}
        return {"method": "elicitation/create", "params": params}

    def read(self, result: Json | None) -> Answer:
        return Answer((result or {}).get("action", "cancel"))


@dataclass(frozen=True)
class Sampling:
    """A completion by the client's own model. `prompt` is one user message, or MCP sampling messages."""

    prompt: str | list[Json]
    max_tokens: int = 1000
    system: str | None = None

    def request(self) -> Json:
        messages = self.prompt
        if isinstance(messages, str):
            messages = [{"role": "user", "content": {"type": "text", "text": messages}}]
        params: Json = {"messages": messages, "maxTokens": self.max_tokens}
        if self.system is not None:
            params["systemPrompt"] = self.system
        return {"method": "sampling/createMessage", "params": params}

    def read(self, result: Json | None) -> str:
        """The text of the completion. Raises `ValueError` if there was none."""
        content: Any = (result or {}).get("content") or []
        blocks = cast(list[Json], content if isinstance(content, list) else [content])
        texts = [block["text"] for block in blocks if block.get("type") == "text"]
        if not texts:
            raise ValueError("the client's model gave no text")
        return "".join(texts)


@dataclass(frozen=True)
class Roots:
    """The folders the client works in: a list of objects with `uri` and perhaps `name`."""

    def request(self) -> Json:
        return {"method": "roots/list"}

    def read(self, result: Json | None) -> list[Json]:
        return (result or {}).get("roots", [])


def _check(schema: Json, content: Json) -> None:
    import jsonschema_rs  # heavy, and authors import this module

    faults = list(jsonschema_rs.validator_for(schema).iter_errors(content))
    if faults:
        raise _misfit(fault.instance_path for fault in faults)


def _misfit(places: Iterable[Sequence[str | int]]) -> Misfit:
    names = {str(place[0]): None for place in places if place}
    return Misfit(f"the answer does not fit the form: check {', '.join(names) or 'its fields'}")


def _simple(field: Json) -> Json:
    """A property as forms allow it: one primitive type, or a choice; nullable becomes plain."""
    shown = {key: value for key, value in field.items() if key in _KEPT}
    if isinstance(kinds := shown.get("type"), list):
        shown["type"] = next(kind for kind in cast(list[str], kinds) if kind != "null")
    if shown.get("default", 0) is None:
        del shown["default"]
    return shown


def _is_simple(field: Json) -> bool:
    """True for a primitive, or an array of choices (2025-11-25, elicitation, requested schema)."""
    if field.get("type") == "array":
        return not {"enum", "anyOf", "oneOf"}.isdisjoint(field.get("items", {}))
    return field.get("type") in ("string", "number", "integer", "boolean")
