"""Schemas that a wrapper states itself: what they must be, and how its method is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mcp_server.content import render
from mcp_server.content.blocks import Image
from mcp_server.errors import Broken
from mcp_server.models import Caller
from mcp_server.pipelines.context import Context
from mcp_server.pipelines.stated import MAX_BYTES, Promise, plain_arguments, stated_schema

CONTEXT = Context("run", Caller(), lambda event: None)


class Stating:
    """A wrapper that states this schema."""

    def __init__(self, schema: Any) -> None:
        self.input_schema = schema


def test_a_stated_schema_is_taken_as_it_is_and_copied() -> None:
    given = {"$defs": {"a": {"$anchor": "x"}}, "type": "object", "properties": {"b": {"$ref": "#x"}}}
    taken = stated_schema(Stating(given), "input_schema")
    assert taken == given and list(taken) == list(given)
    given["$defs"] = {}
    assert taken != given
    assert stated_schema(Stating(None), "input_schema") is None
    assert stated_schema(object(), "output_schema") is None


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("{}", 'must be a dict with `"type": "object"`'),
        ({"type": "string"}, 'must be a dict with `"type": "object"`'),
        ({"type": "object", "x": {1}}, "must be a dict that is JSON"),
        ({"type": "object", "properties": 5}, "is no valid JSON Schema"),
        ({"type": "object", "$ref": "#/$defs/none"}, "is no valid JSON Schema"),
        ({"type": "object", "$ref": "https://example.com/schema"}, "are not followed"),
        ({"type": "object", "$ref": "file:///etc/hostname"}, "are not followed"),
        ({"type": "object", "$schema": "https://example.com/"}, "is no valid JSON Schema"),
        ({"type": "object", "description": "x" * MAX_BYTES}, "more than the 65,536 allowed"),
        ({"type": "object", "x-mcp-header": "A"}, "reached through `properties` alone"),
        (
            {"type": "object", "allOf": [{"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}]},
            "reached through `properties` alone",
        ),
    ],
)
def test_a_schema_that_cannot_be_served_is_a_problem(schema: object, told: str) -> None:
    with pytest.raises(Broken) as caught:
        stated_schema(Stating(schema), "input_schema")
    assert caught.value.problem.message.startswith("`input_schema`") and told in str(caught.value)


def test_words_that_look_like_marks_are_no_marks() -> None:
    properties = {"x-mcp-header": {"type": "number"}, "a": {"type": "object", "default": {"x-mcp-header": 1}}}
    assert stated_schema(Stating({"type": "object", "properties": properties}), "input_schema")


def test_arguments_arrive_as_plain_json() -> None:
    def anything(context: Context, **arguments: Any) -> None: ...
    def named(a: Any, when: Context | None = None, b: int = 2) -> None: ...

    schema = {"type": "object", "properties": {"a": {}, "b": {}}}
    assert plain_arguments(anything, schema).decode({"a-b": [1]}, CONTEXT) == {
        "a-b": [1],
        "context": CONTEXT,
    }
    assert plain_arguments(named, schema).decode({"a": {"b": "2"}}, CONTEXT) == {
        "a": {"b": "2"},
        "when": CONTEXT,
    }


def only_a(a: Any) -> None: ...
def nothing() -> None: ...


@pytest.mark.parametrize(("function", "missing"), [(only_a, "b"), (nothing, "a, b")])
def test_a_method_without_a_place_for_a_property_is_a_problem(
    function: Callable[..., Any], missing: str
) -> None:
    with pytest.raises(Broken, match=f"must take `\\*\\*arguments`, or also {missing}: "):
        plain_arguments(function, {"type": "object", "properties": {"a": {}, "b": {}}})


def test_a_promise_is_held_against_every_value() -> None:
    promise = Promise({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
    assert promise.kept({"a": 1}) == render({"a": 1})
    with pytest.raises(ValueError, match="does not fit the output schema at a: the value is not of type"):
        promise.kept({"a": "secret"})
    with pytest.raises(ValueError, match="at the whole"):
        promise.kept([1])
    assert promise.kept(Image(b"")).structured is None
