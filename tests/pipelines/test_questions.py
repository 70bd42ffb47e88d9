"""Questions as MCP requests, and what an author gets for the results."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import pytest
from mcp_types import InputRequest
from pydantic import BaseModel, Field, TypeAdapter

from mcp_server.pipelines.questions import Answer, Form, Link, Roots, Sampling

REQUEST: TypeAdapter[Any] = TypeAdapter(InputRequest)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Order(BaseModel):
    """What somebody wants."""

    city: str = Field(description="Where to", min_length=1)
    nights: int = Field(default=1, ge=1, le=30)
    colour: Colour = Colour.RED
    meal: Literal["fish", "none"] | None = None
    window: bool = True


@pytest.mark.parametrize(
    "question",
    [
        Form("Where to?", Order),
        Form("Where to?", {"type": "object", "properties": {"city": {"type": "string"}}}),
        Link("Pay", "https://pay.example"),
        Sampling("Hello"),
        Sampling([{"role": "user", "content": {"type": "text", "text": "Hello"}}], system="Be brief"),
        Roots(),
    ],
)
def test_every_question_is_a_request_of_the_protocol(question: Form | Link | Sampling | Roots) -> None:
    request = question.request()
    assert REQUEST.validate_python(request, by_name=False).method == request["method"]


def test_a_model_becomes_a_form_of_simple_fields() -> None:
    schema = Form("Where to?", Order).request()["params"]["requestedSchema"]
    assert schema["required"] == ["city"]
    fields = schema["properties"]
    assert fields["city"]["description"] == "Where to"
    assert (fields["nights"]["type"], fields["nights"]["maximum"]) == ("integer", 30)
    assert (fields["colour"]["enum"], fields["colour"]["default"]) == (["red", "blue"], "red")
    assert fields["window"] == {"type": "boolean", "default": True}
    assert not any("$ref" in field or "anyOf" in field for field in fields.values())


class Journey(BaseModel):
    order: Order
    stops: list[str]
    colours: list[Colour] = []


@pytest.mark.parametrize("schema", [Journey, Journey.model_json_schema()])
def test_a_field_that_no_form_can_have_is_refused_before_anybody_is_asked(schema: Any) -> None:
    with pytest.raises(ValueError, match=r"simple fields only.+ and not order, stops"):
        Form("", schema).request()


def test_several_choices_of_a_list_are_a_field() -> None:
    class Palette(BaseModel):
        colours: list[Colour] = []

    fields = Form("", Palette).request()["params"]["requestedSchema"]["properties"]
    assert fields["colours"]["items"]["enum"] == ["red", "blue"]


def test_an_accepted_form_is_the_model_with_its_defaults() -> None:
    answer = Form("", Order).read({"action": "accept", "content": {"city": "Rome", "colour": "blue"}})
    assert answer and answer.value == Order(city="Rome", colour=Colour.BLUE)
    assert answer.content == {"city": "Rome", "colour": "blue"}


@pytest.mark.parametrize(
    ("content", "field"), [({}, "city"), ({"city": "Rome", "nights": 99}, "nights"), ({"city": 7}, "city")]
)
@pytest.mark.parametrize("schema", [Order, Form("", Order).request()["params"]["requestedSchema"]])
def test_content_that_does_not_fit_is_refused_by_field(
    schema: Any, content: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValueError, match="does not fit the form"):
        Form("", schema).read({"action": "accept", "content": content})


@pytest.mark.parametrize("result", [None, {}, {"action": "cancel"}])
def test_what_nobody_answered_reads_like_a_closed_form(result: dict[str, Any] | None) -> None:
    assert Form("", Order).read(result) == Link("", "").read(result) == Answer("cancel")
    assert not Answer("cancel") and not Answer("decline")
    assert Roots().read(result) == []


def test_two_links_to_one_page_are_two_questions() -> None:
    link = Link("Pay", "https://pay.example")
    assert link.request()["params"]["elicitationId"] != link.request()["params"]["elicitationId"]


def test_a_completion_is_its_text() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "image", "data": ""}, {"type": "text", "text": "b"}]
    assert Sampling("").read({"content": blocks}) == "ab"
    assert Sampling("").read({"content": {"type": "text", "text": "c"}}) == "c"
    with pytest.raises(ValueError, match="no text"):
        Sampling("").read(None)
