"""From the texts and files of a form to arguments, each read as its parameter's schema says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import parse_qs

from ...errors import Invalid
from ...models import Json, Upload
from ...pipelines.uploads import takes_file
from ..parsing import loads

FIELDS = 1000


def fields_of(body: bytes) -> Mapping[str, Sequence[str]]:
    """The texts of a form without files, by name. Raises `Invalid`."""
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
    except ValueError:
        raise Invalid(f"The form cannot be read, or has more than {FIELDS} fields.") from None


def arguments(
    texts: Mapping[str, Sequence[str]], files: Mapping[str, Sequence[Upload]], schema: Json
) -> Json:
    """The arguments of a form; what no parameter takes stays, for the check of the schema to refuse."""
    properties: Json = schema.get("properties", {})
    read = {name: text_value(name, each, properties.get(name, {})) for name, each in texts.items()}
    return read | {name: file_value(name, each, properties.get(name, {})) for name, each in files.items()}


def text_value(name: str, texts: Sequence[str], schema: Json) -> Any:
    """A parameter that was given as one text, or a list that was given as several."""
    if "array" not in kinds(schema):
        return one(texts[0], schema) if len(texts) == 1 else refuse(name)
    whole = parsed(texts[0]) if len(texts) == 1 else None
    if isinstance(whole, list):
        return cast(list[Any], whole)
    return [one(text, schema.get("items", {})) for text in texts]


def one(text: str, schema: Json) -> Any:
    """A text stays one where a text is taken, unless it is quoted as JSON; else it is JSON, if it can be."""
    value = parsed(text)
    if isinstance(value, dict):
        return cast(Json, value) if "string" not in kinds(schema) else text
    if takes_file(schema) and "object" in kinds(schema):
        return {"text": text}
    if "string" in kinds(schema):
        return value if isinstance(value, str) else text
    return text if value is None and text != "null" else value


def parsed(text: str) -> Any:
    """The text as JSON; None if it is none."""
    try:
        return loads(text.encode())
    except ValueError:  # no JSON, or too deep
        return None


def file_value(name: str, files: Sequence[Upload], schema: Json) -> Any:
    """A file, or a list of them, in the form that the schema has for it."""
    if "array" in kinds(schema) and takes_file(schema.get("items", {})):
        return [described(each, schema["items"]) for each in files]
    if schema and not takes_file(schema):
        raise Invalid(f"`{name}` takes no file.")
    return described(files[0], schema) if len(files) == 1 else refuse(name)


def described(upload: Upload, schema: Json) -> Any:
    """A file by its address: alone where bytes are taken, else with its name and type."""
    if "object" not in kinds(schema) and schema:
        return upload.address
    about = {"uri": upload.address, "name": upload.name, "mime_type": upload.mime_type}
    return {key: value for key, value in about.items() if value is not None}


def kinds(schema: Json) -> set[str]:
    """The types that a schema allows; none if it says nothing."""
    own: str | list[str] = schema.get("type", [])
    arms: list[Json] = schema.get("anyOf", [])
    return {own} if isinstance(own, str) else {*own}.union(*map(kinds, arms))


def refuse(name: str) -> Any:
    """What is no list was given more than once."""
    raise Invalid(f"`{name[:40]}` was given more than once, and is no list.")
