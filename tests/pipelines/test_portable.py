"""The portable profile: what no client refuses, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Literal, Optional

import jsonschema_rs
import pytest
from pydantic import BaseModel, Field, TypeAdapter

from mcp_server.pipelines.portable import portable


class Color(Enum):
    red = "red"
    blue = "blue"


class Address(BaseModel):
    """Where somebody lives."""

    title: str
    city: str = Field("Rome", description="Name of the city.")


class Person(BaseModel):
    name: str
    home: Address | None = None
    friends: list[Person] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    barks: bool


def compiled(kind: Any, **options: bool) -> dict[str, Any]:
    return portable(TypeAdapter(kind).json_schema(), **options)[0]


def field(kind: Any, default: Any = ...) -> Any:
    return compiled(_holder(kind, default))["properties"]["x"]


def _holder(kind: Any, default: Any) -> Any:
    from pydantic import create_model

    return create_model("Holder", x=(kind, default))


def keywords(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            yield key
            yield from keywords(list(value.values()) if key == "properties" else value)
    elif isinstance(schema, list):
        for part in schema:
            yield from keywords(part)


def test_references_and_titles_are_gone_and_descriptions_and_defaults_stay() -> None:
    schema = compiled(Person)
    assert not {"$ref", "$defs", "title"} & set(keywords(schema))
    home = schema["properties"]["home"]
    assert home["type"] == ["object", "null"]
    assert home["description"] == "Where somebody lives."
    assert home["properties"]["city"]["description"] == "Name of the city."
    assert home["properties"]["city"]["default"] == "Rome"


def test_a_property_called_title_is_no_title() -> None:
    assert compiled(Address)["properties"]["title"] == {"type": "string"}


def test_every_described_object_refuses_unknown_keys_unless_it_says_otherwise() -> None:
    class Open(BaseModel, extra="allow"):
        n: int

    schema = compiled(Person)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["home"]["additionalProperties"] is False
    assert compiled(Open)["additionalProperties"] is True
    assert "additionalProperties" not in compiled(Person, closed=False)


def test_null_is_one_of_the_types() -> None:
    assert field(int | None, None) == {"type": ["integer", "null"], "default": None}
    assert field(Color | None)["enum"] == ["red", "blue", None]
    assert field(int | str | None)["type"] == ["integer", "string", "null"]
    assert field(Optional[Annotated[int, Field(ge=2, description="Two or more.")]])["minimum"] == 2  # noqa: UP045


def test_a_union_of_objects_keeps_its_arms_and_null_goes_into_the_first() -> None:
    arms = field(Cat | Dog | None)["anyOf"]
    assert [arm["type"] for arm in arms] == [["object", "null"], "object"]
    validator = jsonschema_rs.validator_for(compiled(_holder(Cat | Dog | None, ...)))
    assert all(validator.is_valid({"x": x}) for x in (None, {"kind": "cat", "lives": 9}))
    assert not validator.is_valid({"x": {"kind": "dog", "lives": 9}})


def test_a_union_at_the_root_becomes_one_object() -> None:
    schema = compiled(Annotated[Cat | Dog, Field(discriminator="kind")])
    assert schema["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf"} & schema.keys()
    assert schema["required"] == ["kind"]
    assert schema["properties"]["kind"] == {"type": "string", "enum": ["cat", "dog"]}


def test_a_recursive_type_ends_in_a_plain_one_with_a_warning() -> None:
    schema, warnings = portable(TypeAdapter(Person).json_schema())
    friends = schema["properties"]["friends"]["items"]
    assert friends["type"] == "object"
    assert "properties" not in friends
    assert "Person" in friends["description"]
    assert any("Person" in warning for warning in warnings)


def test_definitions_that_refer_to_each_other_many_times_stay_bounded() -> None:
    definitions: dict[str, Any] = {"D0": {"type": "string"}}
    for n in range(1, 40):
        both = {name: {"$ref": f"#/$defs/D{n - 1}"} for name in ("a", "b", "c")}
        definitions[f"D{n}"] = {"type": "object", "properties": both}
    schema, warnings = portable({"$ref": "#/$defs/D39", "$defs": definitions})
    assert len(json.dumps(schema)) < 1_000_000
    assert warnings


def test_an_array_always_says_what_it_holds() -> None:
    assert field(tuple[int, str]) == {
        "type": "array",
        "items": {"type": ["integer", "string"]},
        "minItems": 2,
        "maxItems": 2,
    }
    assert field(list)["items"] == {}
    assert "uniqueItems" not in field(set[int])


def test_what_is_lost_is_named() -> None:
    _, warnings = portable(TypeAdapter(_holder(dict[Color, int], ...)).json_schema())
    assert warnings == ("`propertyNames` is not described",)
    _, warnings = portable(
        TypeAdapter(_holder(Annotated[str, Field(pattern=r"(?P<a>x)")], ...)).json_schema()
    )
    assert "only Python reads it" in warnings[0]


def test_a_default_that_is_not_json_is_left_out() -> None:
    schema, _ = portable({"type": "object", "properties": {"x": {"type": "number", "default": float("nan")}}})
    assert schema["properties"]["x"] == {"type": "number"}


def test_a_single_value_is_an_enumeration_and_examples_are_told() -> None:
    assert field(Literal["a"]) == {"type": "string", "enum": ["a"]}
    assert field(Annotated[int, Field(examples=[1, 2])])["description"] == "Examples: 1, 2"


def test_equal_schemas_are_equal_bytes_whatever_the_order_of_keywords() -> None:
    one = {"type": "object", "properties": {"x": {"minimum": 1, "type": "integer", "description": "n"}}}
    other = {"properties": {"x": {"description": "n", "type": "integer", "minimum": 1}}, "type": "object"}
    assert json.dumps(portable(one)[0]) == json.dumps(portable(other)[0])


def test_parts_of_an_all_of_become_one() -> None:
    schema, _ = portable(
        {
            "$defs": {"A": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}},
            "allOf": [{"$ref": "#/$defs/A"}, {"properties": {"b": {"type": "string"}}, "required": ["b"]}],
        }
    )
    assert schema["required"] == ["a", "b"]
    assert list(schema["properties"]) == ["a", "b"]


def test_a_root_that_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="object"):
        portable({"type": "string"})
    with pytest.raises(ValueError, match="object"):
        portable({"anyOf": [{"type": "object"}, {"type": "null"}, {"type": "string"}]})


def test_no_arguments_are_a_closed_empty_object() -> None:
    assert portable({"type": "object", "properties": {}})[0] == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }
