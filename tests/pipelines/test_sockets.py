"""Haystack's types become JSON Schema and come back as Haystack's values."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, get_type_hints

import haystack.components
import pytest
from haystack import component
from haystack.core.component.types import InputSocket
from haystack.dataclasses import (
    ByteStream,
    ChatMessage,
    Document,
    FileContent,
    GeneratedAnswer,
    ImageContent,
    SparseEmbedding,
    ToolCallResult,
)
from haystack.dataclasses.breakpoints import PipelineSnapshot
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy
from haystack.tools import Tool, Toolset
from haystack.utils import Secret
from pydantic import Field, TypeAdapter, ValidationError

from mcp_server.pipelines.answers import Answer, answer_schema
from mcp_server.pipelines.portable import portable
from mcp_server.pipelines.sockets import Unexpressible, expressible


def decoded(annotation: Any, value: Any) -> Any:
    return TypeAdapter(expressible(annotation)).validate_python(value)


def schema(annotation: Any) -> dict[str, Any]:
    return TypeAdapter(expressible(annotation)).json_schema()


def test_a_document_comes_from_an_object() -> None:
    given = {"content": "text", "meta": {"page": 3}, "score": 0.5, "embedding": [1, 2]}
    documents = decoded(list[Document], [given])
    assert documents == [Document(content="text", meta={"page": 3}, score=0.5, embedding=[1.0, 2.0])]


def test_a_document_with_an_unknown_key_is_refused_rather_than_put_into_meta() -> None:
    with pytest.raises(ValidationError, match="contents"):
        decoded(Document, {"contents": "text"})


@pytest.mark.parametrize(
    "given",
    [
        {"role": "user", "content": "hello"},
        {"role": "user", "content": [{"text": "hello"}]},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
    ],
)
def test_a_message_comes_as_text_or_parts_of_haystack_or_openai(given: Any) -> None:
    message = decoded(ChatMessage, given)
    assert isinstance(message, ChatMessage)
    assert (message.role.value, message.text) == ("user", "hello")


@pytest.mark.parametrize(
    "given",
    [
        {"role": "user", "content": [{"what": 1}]},
        {"role": "user", "content": [{"text": {"a": 1}, "b": 2}]},
        {"role": "user", "content": [{"tool_call": {"name": "x"}}]},
        {"role": "user", "content": [{"type": "sound"}]},
        {"role": "god", "content": "x"},
        {"content": "x"},
    ],
)
def test_a_message_that_is_none_is_refused_as_invalid(given: Any) -> None:
    with pytest.raises(ValidationError):
        decoded(ChatMessage, given)


def test_a_list_of_messages_or_a_text_keeps_its_two_forms() -> None:
    assert decoded(list[ChatMessage] | str, "hello") == "hello"
    assert decoded(list[ChatMessage] | str, [{"role": "user", "content": "hello"}])[0].text == "hello"


def test_a_file_is_text_or_base64_with_a_name() -> None:
    assert decoded(ByteStream, {"text": "hé", "mime_type": "text/plain"}) == ByteStream(
        "hé".encode(), mime_type="text/plain"
    )
    file = decoded(ByteStream, {"data": "AAE=", "name": "C:\\photos\\a.png", "meta": {"x": 1}})
    assert file == ByteStream(b"\x00\x01", meta={"x": 1, "file_path": "a.png"}, mime_type="image/png")


@pytest.mark.parametrize("given", [{}, {"text": "a", "data": "YQ=="}, {"data": "***"}, "/etc/passwd"])
def test_a_file_that_is_not_just_one_of_text_and_base64_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        decoded(ByteStream, given)


@pytest.mark.parametrize("given", [["/etc/passwd"], "/etc/passwd", [Path("/etc/passwd")]])
def test_sources_never_take_a_path(given: Any) -> None:
    with pytest.raises(ValidationError):
        decoded(list[str | Path | ByteStream], given)


def test_the_arm_of_a_union_is_told_by_its_shape() -> None:
    either = list[Document] | list[ByteStream]
    assert isinstance(decoded(either, [{"content": "x"}])[0], Document)
    assert isinstance(decoded(either, [{"text": "x"}])[0], ByteStream)


def test_other_values_of_haystack_come_field_by_field() -> None:
    answer = decoded(GeneratedAnswer, {"data": "a", "query": "q", "documents": [{"content": "c"}]})
    assert answer == GeneratedAnswer(data="a", query="q", documents=[Document(content="c")])
    assert decoded(SparseEmbedding, {"indices": [1], "values": [0.5]}) == SparseEmbedding([1], [0.5])
    result = decoded(
        ToolCallResult, {"result": "r", "origin": {"tool_name": "t", "arguments": {}}, "error": False}
    )
    assert result.origin.tool_name == "t"


def test_enums_literals_and_plain_types_are_left_to_pydantic() -> None:
    assert decoded(DuplicatePolicy | None, "skip") is DuplicatePolicy.SKIP
    assert schema(Optional[Literal["a", "b"]])["anyOf"][0]["enum"] == ["a", "b"]  # noqa: UP045
    assert schema(Annotated[int, Field(ge=1, description="how many")]) == {
        "type": "integer",
        "minimum": 1,
        "description": "how many",
    }


def test_a_class_of_an_author_that_reads_dicts_is_decoded_by_itself() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

        def to_dict(self) -> dict[str, Any]:
            return {"x": self.x}

        @classmethod
        def from_dict(cls, data: dict[str, Any]) -> Point:
            return cls(data["x"])

    assert decoded(Point, {"x": 3}).x == 3
    with pytest.raises(ValidationError, match="not a valid Point"):
        decoded(Point, {"y": 3})


@pytest.mark.parametrize(
    "annotation",
    [
        Callable[[int], int],
        Callable,
        Callable[[int], int] | None,
        Tool,
        Sequence[Tool | Toolset] | Toolset | None,
        list[Tool],
        Secret,
        Path,
        str | Path,
        Path | None,
        dict[str, Path],
        PipelineSnapshot,
        InMemoryDocumentStore,
    ],
)
def test_what_must_not_come_from_a_client_is_refused(annotation: Any) -> None:
    with pytest.raises(Unexpressible):
        expressible(annotation)


def test_a_refusal_names_the_type_without_its_module() -> None:
    with pytest.raises(Unexpressible, match=r"^nothing in Sequence\[Tool \| Toolset\] \| None can be"):
        expressible(Sequence[Tool | Toolset] | None)


def test_answers_are_described_as_open_objects() -> None:
    described = TypeAdapter(expressible(list[Document])).json_schema(mode="serialization")
    assert described == {"type": "array", "items": {"type": "object"}}


@pytest.mark.parametrize("annotation", [ImageContent, FileContent, list[GeneratedAnswer]])
def test_every_value_has_a_portable_schema(annotation: Any) -> None:
    root = {"type": "object", "properties": {"value": schema(annotation)}}
    root["$defs"] = root["properties"]["value"].pop("$defs", {})
    compiled, lost = portable(root)
    assert lost == ()
    assert "$ref" not in str(compiled)


def test_every_socket_of_every_component_of_haystack_is_mapped_or_hidden() -> None:
    mapped: list[str] = []
    hidden: list[str] = []
    answered = 0
    for kind in components():
        for name, annotation in inputs(kind):
            try:
                schema(annotation)
                mapped.append(f"{kind.__name__}.{name}")
            except Unexpressible:
                hidden.append(f"{kind.__name__}.{name}")
        for name, socket in (getattr(kind.run, "_output_types_cache", None) or {}).items():
            answer_schema([Answer(None, "component", name, socket.type)])
            answered += 1
    assert len(mapped) >= 150 and answered >= 100
    assert {path.partition(".")[2] for path in hidden} == {"streaming_callback", "tools"}


def components() -> list[type[Any]]:
    for module in pkgutil.walk_packages(haystack.components.__path__, "haystack.components."):
        importlib.import_module(module.name)
    return [kind for path, kind in component.registry.items() if path.startswith("haystack.components.")]


def inputs(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(kind.run, include_extras=True)
    for name, parameter in list(inspect.signature(kind.run).parameters.items())[1:]:
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            yield name, InputSocket(name, hints.get(name, Any)).type
