"""What a caller reads about arguments that do not fit."""

from __future__ import annotations

import pytest

from mcp_server.catalog.arguments import Arguments
from mcp_server.errors import Invalid, Unavailable
from mcp_server.models import Json

ITEM: Json = {"type": "object", "properties": {"q": {"type": "number"}}, "required": ["q"]}
SCHEMA: Json = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "minLength": 2},
        "top_k": {"type": "integer", "maximum": 3},
        "mode": {"enum": ["fast", "good"]},
        "tag": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "items": {"type": "array", "items": ITEM},
    },
    "required": ["question"],
    "additionalProperties": False,
}


def told(inputs: Json) -> str:
    with pytest.raises(Invalid) as refused:
        Arguments(SCHEMA).check(inputs)
    return str(refused.value)


def test_arguments_that_fit_pass() -> None:
    Arguments(SCHEMA).check({"question": "why", "top_k": 2, "tag": None, "items": [{"q": 1.5}]})


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({}, "`question` is required"),
        ({"question": 5}, "`question` must be of type string"),
        ({"question": "why", "top_k": "2"}, "`top_k` must be of type integer"),
        ({"question": "why", "top_k": 9}, "`top_k` does not fit: the value is greater than the maximum of 3"),
        ({"question": "why", "mode": "odd"}, '`mode` must be one of "fast", "good"'),
        ({"question": "why", "tag": 5}, "`tag` must be of type string or must be of type null"),
        ({"question": "why", "items": [{"q": 1}, {}]}, "`items[1].q` is required"),
        ({"question": "why", "k": 1}, "unknown: `k`; known are: question, top_k, mode, tag, items"),
    ],
)
def test_a_fault_names_the_field_and_what_was_expected(inputs: Json, expected: str) -> None:
    assert expected in told(inputs)


def test_values_never_appear_and_the_text_stays_short() -> None:
    secret = "s3cret" * 200
    text = told({"question": [secret], "top_k": secret, "mode": secret, "tag": [secret], "items": secret})
    assert "s3cret" not in text
    assert len(told({f"{'k' * 300}{number}": 1 for number in range(50)})) <= 500


@pytest.mark.parametrize("value", ["\ud800", object(), {1: 2}])
def test_what_is_no_json_is_refused(value: object) -> None:
    assert "cannot be read" in told({"question": value})


def test_arguments_nested_too_deep_are_refused() -> None:
    deep: Json = {}
    inner = deep
    for _ in range(50_000):
        inner["x"] = {}
        inner = inner["x"]
    assert "cannot be read" in told({"question": deep})
    while deep:  # taken apart from outside, so that freeing it needs no deep stack
        deep = deep["x"]


def test_a_reference_is_never_fetched() -> None:
    with pytest.raises(Unavailable):
        Arguments({"$ref": "http://127.0.0.1:9/schema"})
