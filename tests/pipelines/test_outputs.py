"""The output schema is a promise: whatever is rendered keeps it."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import uuid
from collections.abc import AsyncIterator, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jsonschema_rs
import orjson
import pytest
from haystack.dataclasses import ByteStream, ChatMessage, Document, GeneratedAnswer
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from mcp_server.content import render
from mcp_server.content.blocks import Image, Reply, Text
from mcp_server.pipelines.authoring import File
from mcp_server.pipelines.outputs import is_text_stream, output_schema


class Mode(enum.Enum):
    fast = "fast"
    good = "good"


class Inner(BaseModel):
    score: float
    when: datetime.datetime
    blob: bytes = b"\xff"
    price: decimal.Decimal = decimal.Decimal("1.5")
    took: datetime.timedelta = datetime.timedelta(seconds=1)


class Answer(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    text: str = Field(alias="theText")
    inner: Inner | None = None
    documents: list[Document] = []
    modes: dict[Mode, set[int]] = {}
    file: File | None = None


class More(Inner):
    extra: str = "subclass"


@dataclass
class Point:
    x: float
    tags: list[str] = field(default_factory=list[str])
    inner: Inner | None = None


class Pair(NamedTuple):
    left: int
    right: str


class Typed(TypedDict):
    name: str
    value: float


INNER = Inner(score=math.nan, when=datetime.datetime(2026, 1, 2))
CASES: list[tuple[Any, Any]] = [
    (str, "text"),
    (int, 1),
    (float, math.inf),
    (float, 2),
    (bool, True),
    (Mode, Mode.good),
    (Literal["a", 1], 1),
    (int | None, None),
    (Answer, Answer(theText="t", inner=INNER, documents=[Document(content="c")], modes={Mode.fast: {2, 1}})),
    (Answer, Answer(theText="t", file=File("a.txt", b"a", "text/plain"))),
    (Answer | None, None),
    (Answer | Point, Point(1.0, ["a"], INNER)),
    (Answer | str, "text"),
    (Inner, More(score=1, when=datetime.datetime(2026, 1, 2))),
    (list[Answer], [Answer(theText="t")]),
    (Point, Point(math.nan, inner=INNER)),
    (Pair, Pair(1, "a")),
    (Typed, {"name": "n", "value": math.nan}),
    (tuple[int, float, str], (1, math.nan, "x")),
    (set[str], {"b", "a"}),
    (dict[str, float], {"a": math.nan}),
    (dict[int, list[Point]], {1: [Point(1)]}),
    (dict, {"anything": [1]}),
    (list[dict[str, Any]], [{"a": object}]),
    (datetime.datetime, datetime.datetime(2026, 1, 2)),
    (datetime.date, datetime.date(2026, 1, 2)),
    (datetime.timedelta, datetime.timedelta(days=1)),
    (uuid.UUID, uuid.UUID(int=1)),
    (decimal.Decimal, decimal.Decimal("1.5")),
    (list[bytes], [b"\xff"]),
    (list[Document], [Document(content="c", embedding=[1.0])]),
    (dict[str, list[Document]], {"documents": [Document(content="c", blob=ByteStream(b"a"))]}),
    (list[ChatMessage], [ChatMessage.from_user("hi")]),
    (list[GeneratedAnswer], [GeneratedAnswer(data="d", query="q", documents=[], meta={})]),
    (list[tuple[Document, float]], [(Document(content="c"), 0.5)]),
    (list[File], [File("a.bin", b"\xff")]),
    (list[Path], [Path("a")]),
    (Path, Path("a")),
    (Generator[str, None, None], "joined"),
    (AsyncIterator[Point], [Point(1)]),
    (list[Any], [1, None, "a"]),
]


@pytest.mark.parametrize(
    ("annotation", "value"), CASES, ids=lambda case: str(sorted(case) if isinstance(case, set) else case)[:40]
)
def test_what_is_rendered_fits_the_schema(annotation: Any, value: Any) -> None:
    schema = output_schema(annotation)
    if schema is None:
        return
    assert schema["type"] == "object"
    assert "$ref" not in str(schema)
    structured = render(value).structured
    assert structured is not None
    jsonschema_rs.validator_for(schema).validate(orjson.loads(structured))


def test_content_blocks_promise_nothing_structured() -> None:
    from mcp_types import ImageContent, TextContent

    assert output_schema(TextContent) is output_schema(list[TextContent | ImageContent]) is None
    assert render([TextContent(type="text", text="t")]).structured is None


def test_most_annotations_have_a_schema() -> None:
    """The test above must not pass by describing nothing."""
    assert sum(output_schema(annotation) is not None for annotation, _ in CASES) >= len(CASES) - 6


def test_only_streams_of_something_else_are_no_text() -> None:
    assert all(map(is_text_stream, (str, Any, Generator, Generator[str], Iterable[Any], list[int])))
    assert not any(map(is_text_stream, (Generator[int], AsyncIterator[Point], Iterable[Point])))


class Shown(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    picture: Image
    count: int


@pytest.mark.parametrize(
    "annotation", [Image, list[Text | Image], Text | str, Reply, list[Reply[int]], Reply[int] | str]
)
def test_what_may_be_nothing_but_blocks_promises_nothing(annotation: Any) -> None:
    assert output_schema(annotation) is None


def test_a_reply_promises_its_structured_value() -> None:
    schema = output_schema(Reply[Inner])
    assert schema is not None and schema == output_schema(Inner)
    when = Inner(score=1.0, when=datetime.datetime.now(datetime.UTC))
    result = render(Reply("text", structured=when))
    assert result.structured is not None
    jsonschema_rs.validator_for(schema).validate(orjson.loads(result.structured))


def test_a_block_inside_a_model_keeps_its_promise() -> None:
    schema = output_schema(Shown)
    result = render(Shown(picture=Image(b"\x89PNG\r\n\x1a\n"), count=1))
    assert schema is not None and result.structured is not None
    jsonschema_rs.validator_for(schema).validate(orjson.loads(result.structured))
    assert [block["type"] for block in orjson.loads(result.content)] == ["text", "image"]
