"""Signatures become schemas, and JSON becomes what the signature says."""

from __future__ import annotations

import base64
import datetime
import enum
import functools
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import jsonschema_rs
import pytest
from haystack.dataclasses import ChatMessage, Document
from mcp.shared.inbound import find_invalid_x_mcp_header
from pydantic import BaseModel, Field

from mcp_server.errors import Broken, Invalid
from mcp_server.models import Caller
from mcp_server.pipelines.arguments import Arguments, arguments_of
from mcp_server.pipelines.authoring import File
from mcp_server.pipelines.context import Context
from mcp_server.pipelines.headers import Header
from mcp_server.pipelines.outputs import output_schema

if TYPE_CHECKING:
    from nowhere import Missing  # pyright: ignore


class Mode(enum.Enum):
    fast = "fast"
    good = "good"


class Filter(BaseModel):
    field: str
    values: list[int] = []
    mode: Mode = Mode.fast


@dataclass
class Point:
    x: float
    y: float = 0.0


CONTEXT = Context("run", Caller(), lambda event: None)


def made(function: Callable[..., Any], **descriptions: str) -> Arguments:
    return arguments_of(function, descriptions)


def decoded(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Decode, and hold the front's validator to the same: it must let everything through that decodes."""
    compiled = made(function)
    values = compiled.decode(arguments, CONTEXT)
    jsonschema_rs.validator_for(compiled.schema).validate(arguments)
    return values


def test_every_annotated_type_arrives_as_itself() -> None:
    def run(
        text: str,
        filters: list[Filter],
        point: Point,
        mode: Mode,
        kind: Literal["a", "b"],
        when: datetime.datetime,
        key: uuid.UUID,
        blob: bytes,
        both: int | str,
        table: dict[str, Point],
        maybe: float | None,
        pair: tuple[int, str],
        some: set[int],
    ) -> None: ...

    given = {
        "text": "t",
        "filters": [{"field": "f", "values": [1], "mode": "good"}],
        "point": {"x": 1},
        "mode": "fast",
        "kind": "b",
        "when": "2026-01-02T03:04:05",
        "key": "12345678-1234-5678-1234-567812345678",
        "blob": base64.b64encode(b"\x00\xff").decode(),
        "both": "7",
        "table": {"a": {"x": 2.5, "y": 1}},
        "maybe": None,
        "pair": [1, "x"],
        "some": [1, 1, 2],
    }
    assert decoded(run, given) == {
        "text": "t",
        "filters": [Filter(field="f", values=[1], mode=Mode.good)],
        "point": Point(1.0),
        "mode": Mode.fast,
        "kind": "b",
        "when": datetime.datetime(2026, 1, 2, 3, 4, 5),
        "key": uuid.UUID("12345678-1234-5678-1234-567812345678"),
        "blob": b"\x00\xff",
        "both": "7",
        "table": {"a": Point(2.5, 1)},
        "maybe": None,
        "pair": (1, "x"),
        "some": {1, 2},
    }


def test_what_is_not_given_is_left_to_the_function() -> None:
    def run(question: str, top_k: int = 3, tags: list[str] = ["a"]) -> None: ...  # noqa: B006

    compiled = made(run, question="What to look for.")
    assert compiled.decode({"question": "q"}, CONTEXT) == {"question": "q"}
    assert compiled.schema == {
        "type": "object",
        "properties": {
            "question": {"type": "string", "description": "What to look for."},
            "top_k": {"type": "integer", "default": 3},
            "tags": {"type": "array", "items": {"type": "string"}, "default": ["a"]},
        },
        "required": ["question"],
        "additionalProperties": False,
    }


def test_a_field_gives_constraints_description_alias_and_default() -> None:
    def run(
        count: Annotated[int, Field(ge=1, le=9, description="How many.")],
        source: Annotated[str, Field(alias="from")],
        size: int = Field(7, gt=0, description="How large."),
        names: list[str] = Field(default_factory=lambda: ["x"]),  # noqa: B008 - as authors write it
    ) -> None: ...

    compiled = made(run, count="not this", size="nor this", source="Where from.")
    properties = compiled.schema["properties"]
    assert properties["count"] == {"type": "integer", "description": "How many.", "minimum": 1, "maximum": 9}
    assert properties["from"] == {"type": "string", "description": "Where from."}
    assert properties["size"]["description"] == "How large."
    assert compiled.schema["required"] == ["count", "from"]
    assert compiled.decode({"count": 2, "from": "here"}, CONTEXT) == {
        "count": 2,
        "source": "here",
        "size": 7,
        "names": ["x"],
    }


def test_a_default_of_none_lets_null_through() -> None:
    def run(a: int = None, b: list[str] | None = None) -> None: ...  # type: ignore  # noqa: RUF013

    assert decoded(run, {"a": None, "b": None}) == {"a": None, "b": None}
    assert decoded(run, {"a": 1}) == {"a": 1}


def test_names_of_parameters_may_be_those_of_pydantic() -> None:
    def run(schema: str, json: int, model_config: str, copy: bool, _private: str = "p") -> None: ...

    given = {"schema": "s", "json": 1, "model_config": "m", "copy": True, "_private": "q"}
    assert decoded(run, given) == given


def test_files_arrive_as_values_and_never_as_paths() -> None:
    def run(files: list[File], one: File | None = None) -> None: ...

    text = {"name": "dir/notes.md", "text": "héllo"}
    values = decoded(run, {"files": [text, {"data": "AP8="}], "one": None})
    assert values["files"] == [
        File("notes.md", "héllo".encode(), "text/markdown"),
        File("file", b"\x00\xff", "application/octet-stream"),
    ]
    assert values["files"][0].text == "héllo"
    for wrong in ("/etc/passwd", {"path": "/etc/passwd"}, {"text": "a", "data": "YQ=="}, {"data": "?"}, {}):
        with pytest.raises(Invalid, match=r"`files\[0\]`"):
            made(run).decode({"files": [wrong]}, CONTEXT)


def test_haystack_values_arrive_as_themselves() -> None:
    def run(documents: list[Document], messages: list[ChatMessage]) -> None: ...

    values = decoded(
        run, {"documents": [{"content": "c"}], "messages": [{"role": "user", "content": "hello"}]}
    )
    assert values["documents"][0].content == "c"
    assert values["messages"] == [ChatMessage.from_user("hello")]


def test_the_context_is_injected_and_not_described() -> None:
    def run(question: str, context: Context, other: Context | None = None) -> None: ...

    compiled = made(run)
    assert list(compiled.schema["properties"]) == ["question"]
    assert compiled.decode({"question": "q"}, CONTEXT) == {
        "question": "q",
        "context": CONTEXT,
        "other": CONTEXT,
    }


def test_variable_parameters_are_left_out_with_a_warning() -> None:
    def run(question: str, *more: int, **options: Any) -> None: ...

    compiled = made(run)
    assert list(compiled.schema["properties"]) == ["question"]
    assert len(compiled.warnings) == 2
    assert "**options" in compiled.warnings[1]


def test_a_parameter_without_annotation_is_named_with_its_line() -> None:
    def run(
        question: str,
        top_k=3,
    ) -> None: ...

    with pytest.raises(Broken, match="annotate the parameter `top_k` of `run`") as caught:
        made(run)
    problem = caught.value.problem
    assert problem.file == __file__
    assert problem.line is not None
    assert Path(__file__).read_text().splitlines()[problem.line - 1].strip() == "top_k=3,"


def test_a_type_no_client_can_give_is_refused() -> None:
    def by_function(function: Callable[[int], int]) -> None: ...
    def by_position(a: int, /) -> None: ...
    def by_nothing(a: Missing) -> None: ...

    for function in (by_function, by_position, by_nothing):
        with pytest.raises(Broken) as caught:
            made(function)
        assert caught.value.problem.line
    assert "Missing" in str(caught.value)


def test_a_decorated_function_keeps_its_signature() -> None:
    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @traced
    def run(question: str, mode: Mode = Mode.good) -> None: ...

    assert decoded(run, {"question": "q", "mode": "fast"}) == {"question": "q", "mode": Mode.fast}


def test_a_refusal_names_field_and_expectation_and_no_other_values() -> None:
    def run(filters: list[Filter], secret: str, both: int | Point) -> None: ...

    with pytest.raises(Invalid) as caught:
        made(run).decode(
            {"filters": [{"field": "f", "mode": "hunter2"}], "secret": "s3cret", "extra": 1, "both": {}},
            CONTEXT,
        )
    text = str(caught.value)
    assert "`filters[0].mode`: Input should be 'fast' or 'good'" in text
    assert "`both.x`: Field required" in text
    assert "`extra`" in text
    assert "s3cret" not in text
    assert "hunter2" not in text
    assert len(text) < 500


def test_a_refusal_of_many_fields_stays_short() -> None:
    def run(filters: list[Filter]) -> None: ...

    with pytest.raises(Invalid) as caught:
        made(run).decode({"filters": [{"field": n, "values": "x" * 1000} for n in range(500)]}, CONTEXT)
    assert 0 < len(str(caught.value)) < 500


class Answer(BaseModel):
    text: str
    score: float | None = None


@pytest.mark.parametrize(
    ("annotation", "properties"),
    [
        (str, {"result": {"type": "string"}}),
        (float, {"result": {"type": ["number", "null"]}}),
        (list[int] | None, {"result": {"type": ["array", "null"], "items": {"type": "integer"}}}),
        (Mode, {"result": {"type": "string", "enum": ["fast", "good"]}}),
        (Answer, {"text": {"type": "string"}, "score": {"type": ["number", "null"]}}),
        (list[Document], {"result": {"type": "array", "items": {"type": "object"}}}),
    ],
)
def test_the_output_is_always_an_object(annotation: Any, properties: Any) -> None:
    schema = output_schema(annotation)
    assert schema is not None
    assert schema["type"] == "object"
    assert schema["properties"] == properties
    assert schema.get("additionalProperties") is not False


def test_an_object_or_nothing_allows_both_forms() -> None:
    validator = jsonschema_rs.validator_for(output_schema(Answer | None))
    assert validator.is_valid({"text": "t", "score": None})
    assert validator.is_valid({"result": None})


@pytest.mark.parametrize("annotation", [None, Any, "Unknown", Path | Any, Document, bytes, File, object])
def test_an_annotation_that_says_nothing_gives_no_output_schema(annotation: Any) -> None:
    assert output_schema(annotation) is None


class Place(BaseModel):
    zone: Annotated[int, Header("Zone")]


def test_a_header_parameter_keeps_its_mark() -> None:
    def run(
        region: Annotated[str, Header("Region")],
        place: Place,
        flag: bool = Field(default=False, json_schema_extra={"x-mcp-header": "Flag"}),
    ) -> None: ...

    properties = made(run).schema["properties"]
    assert properties["region"] == {"type": "string", "x-mcp-header": "Region"}
    assert properties["place"]["properties"]["zone"]["x-mcp-header"] == "Zone"
    assert properties["flag"]["x-mcp-header"] == "Flag"
    assert find_invalid_x_mcp_header(made(run).schema) is None
    assert decoded(run, {"region": "eu", "place": {"zone": 1}})["region"] == "eu"


def spaced(a: Annotated[str, Header("My Region")]) -> None: ...
def empty(a: Annotated[str, Header("")]) -> None: ...
def number(a: Annotated[float, Header("A")]) -> None: ...
def many(a: Annotated[list[str], Header("A")]) -> None: ...
def maybe(a: Annotated[str, Header("A")] | None = None) -> None: ...
def absent(a: Annotated[str | None, Header("A")] = None) -> None: ...
def inside(a: list[Annotated[str, Header("A")]]) -> None: ...
def keyed(a: dict[str, Annotated[str, Header("A")]]) -> None: ...
def twice(a: Annotated[str, Header("A")], b: Annotated[str, Header("a")]) -> None: ...


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (spaced, "the header of `a` must be a name"),
        (empty, "the header of `a` must be a name"),
        (number, "`a` cannot be a header"),
        (many, "`a` cannot be a header"),
        (maybe, "`a` cannot be a header"),
        (absent, "`a` cannot be a header"),
        (inside, "reached through `properties` alone"),
        (keyed, "reached through `properties` alone"),
        (twice, "already that of another parameter"),
    ],
)
def test_a_header_that_clients_would_drop_the_tool_for_is_a_problem(
    function: Callable[..., Any], told: str
) -> None:
    with pytest.raises(Broken) as caught:
        made(function)
    assert told in caught.value.problem.message
    assert caught.value.problem.line is not None
