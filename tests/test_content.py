"""Rendering: every value becomes content blocks and structured content; nothing is lost, nothing leaks."""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import random
import subprocess
import sys
import types
import typing
import uuid
from typing import Any

import mcp_types
import numpy
import pytest
from haystack.dataclasses import (
    ByteStream,
    ChatMessage,
    Document,
    ExtractedAnswer,
    FileContent,
    GeneratedAnswer,
    ImageContent,
    StreamingChunk,
    ToolCall,
)
from haystack.utils import Secret
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretStr, TypeAdapter, computed_field

from mcp_server.content import failure, render
from mcp_server.content.blocks import Audio, Embedded, Image, Reply, ResourceLink, Text

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
UTC = datetime.UTC
BLOCKS: TypeAdapter[list[Any]] = TypeAdapter(list[mcp_types.ContentBlock])


def answer(value: object) -> Any:
    """The structured content; what was wrapped as `result` is unwrapped."""
    structured = json.loads(render(value).structured or b"{}")
    return structured["result"] if list(structured) == ["result"] else structured


def blocks(value: object) -> list[Any]:
    """The content, checked against the SDK's own models."""
    content = render(value).content
    BLOCKS.validate_json(content)
    return json.loads(content)


def text(value: object) -> str:
    first = blocks(value)[0]
    assert first["type"] == "text"
    return first["text"]


class Color(enum.StrEnum):
    RED = "red"


class Size(enum.Enum):
    BIG = ("big", 3)


class Point(typing.NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Sample:
    when: datetime.datetime
    took: datetime.timedelta
    key: uuid.UUID
    color: Color
    data: bytes
    _secret: str = "hidden"


class Model(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str = Field(serialization_alias="theName")
    price: decimal.Decimal
    hidden: int = Field(1, exclude=True)
    point: Point = Point(1, 2)
    extra: Any = None

    @computed_field
    @property
    def double(self) -> decimal.Decimal:
        return self.price * 2


@dataclasses.dataclass(frozen=True)
class LikeFile:
    name: str
    content: bytes
    mime_type: str | None = None


def test_a_string_is_the_text_itself_and_the_result() -> None:
    assert render("héllo").content == '[{"type":"text","text":"héllo"}]'.encode()
    assert render("héllo").structured == '{"result":"héllo"}'.encode()


@pytest.mark.parametrize("value", [None, True, 0, -1.5, [1, "a", None], 2**64, ""])
def test_what_is_no_object_is_wrapped_as_result(value: object) -> None:
    assert json.loads(render(value).structured or b"") == {"result": value}
    assert text(value) == (value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))


def test_an_object_is_structured_content_as_it_is() -> None:
    value = {"a": 1, "b": {"c": [True, None]}}
    assert answer(value) == value
    assert json.loads(text(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), decimal.Decimal("NaN"), numpy.float32("nan")])
def test_numbers_that_json_lacks_are_null(value: object) -> None:
    assert answer([value]) == [None]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime.datetime(2024, 1, 2, 3, 4, 5, 6, UTC), "2024-01-02T03:04:05.000006Z"),
        (datetime.datetime(2024, 1, 2), "2024-01-02T00:00:00"),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        (datetime.time(1, 2, tzinfo=UTC), "01:02:00Z"),
        (datetime.timedelta(hours=-1), "-PT1H"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (decimal.Decimal("1.10"), "1.10"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (Color.RED, "red"),
        (Size.BIG, ["big", 3]),
        (Point(1, 2), [1, 2]),
        (b"\x00\xff", "AP8="),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.deque([1, 2]), [1, 2]),
        (types.SimpleNamespace(a=1, _b=2), {"a": 1}),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", 2, (1,), 10}), [2, 10, "b", [1]]),
        (range(3), [0, 1, 2]),
        ({"a": 1}.keys(), ["a"]),
        (numpy.float32(0.1), 0.1),
        (numpy.array([[1, 2], [3, 4]]).T, [[1, 3], [2, 4]]),
        (numpy.array([0.1, float("nan")], dtype="f4"), [0.1, None]),
        (numpy.array(["2020-01-01", "NaT"], dtype="M8[ns]"), ["2020-01-01T00:00:00", None]),
        (numpy.array(["a"]), ["a"]),
        (numpy.longdouble(0.5), 0.5),
        (numpy.True_, True),
    ],
)
def test_values_have_their_usual_json_form(value: object, shown: object) -> None:
    assert answer([value]) == [shown]
    assert answer({1: value}) == {"1": shown}, "the same by the exact way"


@pytest.mark.parametrize(
    "value",
    [
        Sample(
            datetime.datetime(2024, 1, 1, tzinfo=UTC),
            datetime.timedelta(1.5),
            uuid.UUID(int=1),
            Color.RED,
            b"",
        ),
        Model(name="n", price=decimal.Decimal("1.5")),
        Point(1, 2),
        datetime.timedelta(days=400, microseconds=1),
        {Color.RED: datetime.date(2020, 1, 1), True: 1, None: 2, (1, "a"): 3},
        RootModel[list[int]]([1]),
    ],
)
def test_forms_agree_with_pydantic(value: object) -> None:
    expected = TypeAdapter(type(value)).dump_python(value, mode="json", by_alias=True)
    if isinstance(expected, dict):
        expected.pop("_secret", None)
    assert answer(value) == expected


def test_private_fields_and_secrets_stay_private() -> None:
    class Login(BaseModel):
        password: SecretStr
        data: bytes

    held = [Login(password=SecretStr("hunter2"), data=b"\xff"), Secret.from_token("hunter2")]
    sample = Sample(datetime.datetime(2024, 1, 1), datetime.timedelta(1), uuid.UUID(int=1), Color.RED, b"")
    shown = render([*held, sample]).content
    assert b"hunter2" not in shown
    assert b"hidden" not in shown


def test_a_model_with_values_of_other_libraries_keeps_its_aliases() -> None:
    value = Model(
        name="n",
        price=decimal.Decimal("1.5"),
        extra=[Document(content="c", embedding=[1.0]), numpy.int64(3), b"\xff", PNG],
    )
    shown = answer(value)
    assert (shown["theName"], shown["price"], shown["double"], shown["point"]) == ("n", "1.5", "3.0", [1, 2])
    assert "hidden" not in shown
    document, number, data, image = shown["extra"]
    assert document["content"] == "c"
    assert "embedding" not in document
    assert (number, data) == (3, "/w==")
    assert image.startswith("content[1] (image/png, ")


def test_keys_of_any_type_become_text_and_none_is_lost() -> None:
    value = {1: "a", "1": "b", None: "c", Color.RED: "d", b"\xff": "e", Document(content="x").id: "f"}
    shown = answer(value)
    assert list(shown.values()) == ["a", "b", "c", "d", "e", "f"]
    assert list(shown)[:5] == ["1", "1 (2)", "None", "red", "/w=="]


def test_huge_integers_stay_numbers_as_far_as_python_writes_them() -> None:
    assert answer([10**40, -(10**30)]) == [10**40, -(10**30)]
    assert answer([10**5000]) == ["an integer of 16610 bits"]


def test_broken_unicode_is_mended() -> None:
    for value in ("a\ud800b", {"k\ud800": ["a\ud800b"]}, mcp_types.TextContent(text="a\ud800b")):
        assert "\ud800" not in text(value)
        assert "?" in text(value)


def test_depth_is_bounded_and_what_fits_is_whole() -> None:
    def nested(depth: int) -> list[Any]:
        value: list[Any] = []
        for _ in range(depth - 1):
            value = [value]
        return value

    assert answer(nested(64)) == nested(64)
    assert "nested too deeply" in text(nested(65))
    assert "nested too deeply" in text(nested(5000))


def test_cycles_end() -> None:
    cycle: dict[str, Any] = {"a": 1}
    cycle["self"] = [cycle]
    model = Model(name="n", price=decimal.Decimal(1))
    model.extra = {"back": model}
    assert answer(cycle) == {"a": 1, "self": ["refers back to itself"]}
    assert "refers back to itself" in text(model)


def test_the_same_value_twice_is_no_cycle() -> None:
    shared = [1]
    assert answer([shared, shared]) == [[1], [1]]


class Endless:
    def to_dict(self) -> Endless:
        return Endless()


class Raising:
    def to_dict(self) -> dict[str, Any]:
        raise RuntimeError("boom")


class Lying(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("boom")

    __iter__ = items


class Plain:
    def __init__(self) -> None:
        self.api_key = "hunter2"


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Plain(),
        Plain,
        print,
        (n for n in [1]),
        Endless(),
        Raising(),
        sys,
        ValueError("x"),
    ],
)
def test_what_cannot_be_shown_leaves_a_note(value: object) -> None:
    for shown in (render(value), render([value]), render({1: value})):
        assert b" at 0x" not in shown.content
        assert b"hunter2" not in shown.content
        assert b"boom" not in shown.content
        assert b"show" in shown.content


def test_a_dict_that_breaks_its_own_iteration_does_no_harm() -> None:
    for value in (Lying(a=1), {1: Lying(a=1)}):
        assert b"boom" not in render(value).content


def test_an_image_becomes_a_block_with_its_place_in_the_json() -> None:
    shown = blocks({"chart": PNG, "more": [WAV]})
    assert [block["type"] for block in shown] == ["text", "image", "audio"]
    assert shown[1]["mimeType"] == "image/png"
    assert base64.b64decode(shown[1]["data"]) == PNG
    assert answer({"chart": PNG}) == {"chart": f"content[1] (image/png, {len(PNG)} bytes)"}


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a..", "image/gif"),
        (b"RIFF0000WEBP", "image/webp"),
        (WAV, "audio/wav"),
        (b"ID3\x04", "audio/mpeg"),
        (b"%PDF-1.7", "application/pdf"),
    ],
)
def test_bytes_are_recognised_by_how_they_begin(data: bytes, mime_type: str) -> None:
    block = blocks(data)[1]
    assert (block.get("mimeType") or block["resource"]["mimeType"]) == mime_type


def test_a_file_becomes_an_embedded_resource() -> None:
    shown = blocks(LikeFile("table.csv", b"a,b\n1,2"))
    assert shown[1]["resource"] == {
        "uri": "result:///1/table.csv",
        "mimeType": "text/csv",
        "text": "a,b\n1,2",
    }
    assert answer(LikeFile("table.csv", b"a,b"))["content"] == "content[1] (text/csv, 3 bytes)"
    assert base64.b64decode(blocks(LikeFile("x", b"\x00\x01"))[1]["resource"]["blob"]) == b"\x00\x01"
    odd = blocks(LikeFile("../é b.txt", b"\xff"))[1]["resource"]
    assert (odd["uri"], odd["blob"]) == ("result:///1/..%2F%C3%A9%20b.txt", "/w==")


def test_content_blocks_of_mcp_pass_as_they_are() -> None:
    image = mcp_types.ImageContent(data="aGVsbG8=", mime_type="image/png")
    said = mcp_types.TextContent(text="look")
    link = mcp_types.ResourceLink(uri="file:///x", name="x")
    assert blocks([said, image, link]) == [
        {"type": "text", "text": "look"},
        {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"},
        {"type": "resource_link", "uri": "file:///x", "name": "x"},
    ]
    assert render(image).structured is None
    nested = blocks({"chart": image, "said": said})
    assert nested[1] == {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}
    assert answer({"said": said}) == {"said": {"type": "text", "text": "look"}}


def test_dicts_in_wire_form_pass_too_and_stay_structured() -> None:
    image = {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}
    assert blocks(image) == [image]
    assert answer(image) == {**image, "data": "content[0] (image/png, 5 bytes)"}
    resource = {"type": "resource", "resource": {"uri": "a:b", "blob": "AA=="}}
    assert blocks([resource, image]) == [resource, image]


@pytest.mark.parametrize(
    "value",
    [
        {"type": "text", "text": "x", "mine": 1},
        {"type": "text", "text": 1},
        {"type": "image", "data": "AA=="},
        {"type": "resource", "resource": {"uri": "a:b"}},
        {"type": ["text"], "text": "x"},
        [],
        [{"type": "text", "text": "x"}, 1],
    ],
)
def test_what_only_looks_like_a_block_is_data(value: object) -> None:
    assert json.loads(text(value)) == value


def test_documents_come_without_their_embedding() -> None:
    document = Document(content="c", meta={"day": datetime.date(2024, 1, 1)}, score=0.5, embedding=[0.1] * 4)
    assert answer(document) == {
        "id": document.id,
        "content": "c",
        "meta": {"day": "2024-01-01"},
        "score": 0.5,
    }
    assert json.loads(text([document])) == [answer(document)]
    assert blocks(Document(blob=ByteStream(PNG)))[1]["type"] == "image"


def test_an_answer_is_its_text_with_the_sources_beside() -> None:
    generated = GeneratedAnswer(
        "Paris", "capital?", [Document(content="c")], {"all_messages": [_said("Paris")]}
    )
    assert text(generated) == "Paris"
    shown = answer(generated)
    assert shown["documents"][0]["content"] == "c"
    assert shown["meta"]["all_messages"][0] == {"role": "assistant", "content": "Paris", "meta": {}}
    assert text(ExtractedAnswer(query="q", score=1.0, data="Paris")) == "Paris"
    assert text(StreamingChunk("Par")) == "Par"


def _said(words: str) -> ChatMessage:
    return ChatMessage.from_assistant(words)


def test_a_message_is_its_text_and_its_parts() -> None:
    assert text(_said("hi")) == "hi"
    message = ChatMessage.from_assistant("hi", tool_calls=[ToolCall("add", {"a": 1}, id="1")], name="bot")
    shown = answer(message)
    assert (shown["role"], shown["name"]) == ("assistant", "bot")
    assert shown["content"][0] == {"text": "hi"}
    assert shown["content"][1]["tool_call"]["arguments"] == {"a": 1}
    encoded = base64.b64encode(PNG).decode()
    seen = ChatMessage.from_user(content_parts=["see", ImageContent(encoded, "image/png")])
    assert [block["type"] for block in blocks(seen)] == ["text", "image"]


def test_streams_and_files_of_haystack_become_blocks() -> None:
    stream = ByteStream(b"a,b", meta={"file_name": "t.csv"}, mime_type="text/csv")
    assert blocks(stream)[1]["resource"]["uri"] == "result:///1/t.csv"
    assert answer(ByteStream(b"\x00"))["data"] == "AA=="
    held = FileContent(base64.b64encode(b"%PDF-1").decode(), "application/pdf", "f.pdf")
    assert blocks(held)[1]["resource"]["uri"] == "result:///1/f.pdf"


def test_tables_are_records() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [pandas.Timestamp("2020"), pandas.NaT]})
    assert answer(frame) == [{"a": 1, "b": "2020-01-01T00:00:00"}, {"a": 2, "b": None}]
    twice = pandas.DataFrame([[1, 2]], columns=["x", "x"], index=["i"])
    assert answer(twice) == [{"index": "i", "x": 1, "x (2)": 2}]
    assert answer(pandas.Series([1, 2], index=["a", "a"])) == {"a": 1, "a (2)": 2}
    assert answer([pandas.NA, pandas.Timedelta("1D")]) == [None, "P1D"]


def test_figures_are_images() -> None:
    figure = pytest.importorskip("matplotlib.figure")
    assert blocks(figure.Figure())[1]["mimeType"] == "image/png"


def test_pictures_are_images() -> None:
    image = pytest.importorskip("PIL.Image")
    assert blocks(image.new("CMYK", (1, 1)))[1]["mimeType"] == "image/png"


def test_a_failure_is_one_short_text() -> None:
    shown = failure("it broke: \ud800")
    assert shown.is_error
    assert shown.structured is None
    assert json.loads(shown.content) == [{"type": "text", "text": "it broke: ?"}]
    long = json.loads(failure("é" * 1_000_000).content)[0]["text"]
    assert len(long.encode()) <= 4096
    assert long.endswith("… (cut)")


def test_a_hundred_megabytes_of_text_are_escaped_once() -> None:
    big = "x" * 100_000_000
    shown = render(big)
    assert len(shown.content) == len(big) + 27
    assert len(shown.structured or b"") == len(big) + 13


def test_any_mixture_gives_json_without_a_repr() -> None:
    chance = random.Random(2024)
    for _ in range(400):
        value = _wild(chance, 5)
        shown = render(value)
        json.loads(shown.content)
        BLOCKS.validate_json(shown.content)
        assert shown.structured is None or isinstance(json.loads(shown.structured), dict)
        assert b" object at 0x" not in shown.content + (shown.structured or b"")
        assert shown == render(value), "the same value, the same answer"


def _wild(chance: random.Random, depth: int) -> Any:
    """A value of a random shape; leaves are everything this module knows."""
    if depth == 0 or chance.random() < 0.3:
        return chance.choice(LEAVES)
    members = [_wild(chance, depth - 1) for _ in range(chance.randrange(4))]
    return chance.choice(
        [
            members,
            tuple(members),
            {chance.choice(KEYS): member for member in members},
            {str(place): member for place, member in enumerate(members)},
            {str(place): member for place, member in enumerate(members)}.values(),
            Model(name="m", price=decimal.Decimal(1), extra=members),
            GeneratedAnswer("a", "q", [], {"m": members}),
            types.SimpleNamespace(members=members),
            numpy.array([*members, None], dtype=object),
            {_frozen(member) for member in members},
        ]
    )


def _frozen(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return type(value).__name__
    return value


KEYS: list[Any] = ["a", 1, "1", None, True, 1.5, Color.RED, b"\xff", (1, 2), uuid.UUID(int=1), Plain]
LEAVES: list[Any] = [
    None,
    "text",
    "\ud800",
    2**70,
    float("nan"),
    Color.RED,
    Size.BIG,
    PNG,
    b"\xff\x00",
    datetime.datetime(2024, 1, 1, tzinfo=UTC),
    datetime.time(1, tzinfo=UTC),
    datetime.timedelta(1),
    decimal.Decimal("Infinity"),
    1 + 2j,
    pathlib.PurePosixPath("a"),
    Point(1, 2),
    LikeFile("f.txt", b"x"),
    Document(content="d", embedding=[1.0]),
    ChatMessage.from_tool("r", ToolCall("t", {"a": float("nan")})),
    ByteStream(PNG),
    mcp_types.ImageContent(data="AA==", mime_type="image/png"),
    mcp_types.TextContent(text="t"),
    numpy.float32(0.5),
    numpy.array([1 + 1j]),
    Plain(),
    Raising(),
    print,
    Exception(object()),
    SecretStr("s"),
    Secret.from_env_var("X"),
]


def test_nothing_heavy_is_imported_for_it() -> None:
    code = (
        "import sys, mcp_server.content as c; c.render({'a': b'x'});"
        "print({'mcp', 'mcp_types', 'haystack', 'numpy', 'pandas', 'matplotlib'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


def test_a_reply_shows_what_it_is_given_in_order() -> None:
    image = ImageContent(base64_image=base64.b64encode(PNG).decode(), mime_type="image/png")
    answer = GeneratedAnswer(data="said", query="q", documents=[])
    reply = Reply(answer, PNG, image, ByteStream(b"a,b", mime_type="text/csv"), {"plot": PNG, "n": 1})
    result = render(reply)
    shown = BLOCKS.validate_json(result.content)
    kinds = ["text", "image", "image", "resource", "text", "image"]
    assert [block.type for block in shown] == kinds
    assert shown[0].text == "said"
    assert json.loads(shown[4].text) == {"plot": f"content[5] (image/png, {len(PNG)} bytes)", "n": 1}
    assert result.structured is None


def test_a_reply_has_its_structured_value_beside_what_it_shows() -> None:
    result = render(Reply("two", Image(PNG), structured={"plot": PNG, "n": 1}))
    shown = BLOCKS.validate_json(result.content)
    assert [block.type for block in shown] == ["text", "image", "image"]
    assert result.structured is not None
    assert json.loads(result.structured) == {"plot": f"content[2] (image/png, {len(PNG)} bytes)", "n": 1}
    assert json.loads(render(Reply(structured=[1])).content) == [{"type": "text", "text": "[1]"}]
    assert render(Reply(structured=[1])).structured == b'{"result":[1]}'


def test_blocks_say_for_whom_they_are() -> None:
    blocks = [
        Text("t", audience="user", priority=0),
        Image(PNG, audience=("user", "assistant")),
        Audio(WAV, priority=1.0),
        Embedded("note://a", b"text", "text/plain"),
        ResourceLink("note://b", "b", title="B", description="d", mime_type="text/plain", size=3),
    ]
    wire = json.loads(render(blocks).content)
    BLOCKS.validate_python(wire)
    assert [block.get("annotations") for block in wire] == [
        {"audience": ["user"], "priority": 0},
        {"audience": ["user", "assistant"]},
        {"priority": 1.0},
        None,
        None,
    ]
    assert (wire[1]["mimeType"], wire[2]["mimeType"]) == ("image/png", "audio/wav")
    assert wire[3]["resource"] == {"uri": "note://a", "mimeType": "text/plain", "text": "text"}
    assert render(blocks).structured is None


@pytest.mark.parametrize("wrong", [{"audience": "nobody"}, {"audience": ("user", "x")}, {"priority": 2}])
def test_a_block_for_nobody_is_refused_where_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="of a block is"):
        Text("t", **wrong)


def test_a_block_inside_a_value_is_placed_beside_it() -> None:
    result = render({"plot": Image(PNG, audience="user"), "n": 1})
    text, image = json.loads(result.content)
    assert image["annotations"] == {"audience": ["user"]}
    assert json.loads(text["text"])["plot"]["data"] == f"content[1] (image/png, {len(PNG)} bytes)"
    assert result.structured is not None
