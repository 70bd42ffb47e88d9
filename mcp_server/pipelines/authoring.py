"""What authors of pipelines import: the base class of wrappers, and files that come in and go out."""

from __future__ import annotations

import base64
import binascii
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ..models import Json
from .uploads import sent

_PLAIN = "text/plain"
_BINARY = "application/octet-stream"


class PipelineWrapper:
    """Base of the class `PipelineWrapper` in a `pipeline_wrapper.py`; one object serves every call.

        from mcp_server import Context, PipelineWrapper as BasePipelineWrapper

        class PipelineWrapper(BasePipelineWrapper):
            title = "Search the handbook"
            read_only = True

            def setup(self) -> None:
                self.pipeline = Pipeline.loads((Path(__file__).parent / "pipeline.yml").read_text())

            def run_api(self, question: str, context: Context, top_k: int = 3) -> list[str]:
                \"\"\"Find passages of the handbook that answer a question.

                Args:
                    question: What to look for, as a sentence.
                    top_k: How many passages to give.
                \"\"\"
                context.progress(0, 1, "searching")
                found = self.pipeline.run({"retriever": {"query": question, "top_k": top_k}})
                return [document.content for document in found["retriever"]["documents"]]

    The method is `run_api` or `run_api_async`: a function, a coroutine, or a generator of either kind, whose
    items are streamed and joined. Its annotations make the input and output schemas, its docstring the
    description. A parameter annotated `Context` is the running call. A wrapper that only has
    `run_chat_completion(model, messages, body)` or its `_async` twin becomes a tool that takes a message.
    Calls overlap: keep what belongs to one call in local variables.
    """

    pipeline: Any = None
    """The Haystack pipeline or agent, if there is one; it is warmed up after `setup`."""

    title: ClassVar[str | None] = None
    description: ClassVar[str | None] = None
    annotations: ClassVar[Mapping[str, bool]] = {}
    read_only: ClassVar[bool | None] = None
    destructive: ClassVar[bool | None] = None
    idempotent: ClassVar[bool | None] = None
    open_world: ClassVar[bool | None] = None
    timeout: ClassVar[float | None] = None
    concurrency: ClassVar[int | None] = None
    replicas: ClassVar[int | None] = None
    group: ClassVar[str | None] = None
    engine: ClassVar[Literal["hosts", "local"] | None] = None
    env: ClassVar[tuple[str, ...] | list[str]] = ()
    tags: ClassVar[tuple[str, ...] | list[str]] = ()
    icons: ClassVar[tuple[Mapping[str, Any], ...] | list[dict[str, Any]]] = ()
    hidden: ClassVar[bool] = False
    skip_mcp: ClassVar[bool] = False
    """What may be declared, as literals: it is read from the file without running it (see `Options`)."""

    input_schema: ClassVar[Json | None] = None
    output_schema: ClassVar[Json | None] = None
    """Schemas (JSON Schema 2020-12) that are served as they are, in place of those of the annotations. With
    an input schema the method gets plain JSON values: `**arguments`, or parameters named like properties."""

    def setup(self) -> None:
        """Load what every call needs. Called once, in a thread, before the pipeline is offered."""

    def teardown(self) -> None:
        """Let go of it. Called once, after the last call ended."""


@dataclass(frozen=True)
class File:
    """A file, by its content: never a path on the server.

    Callers give `{"text": …}` or `{"data": <base64>}`, with `name` and `mime_type` if they like. A pipeline
    that returns one hands it back the same way.
    """

    name: str = "file"
    content: bytes = b""
    mime_type: str = _BINARY

    @property
    def text(self) -> str:
        """The content as UTF-8 text; raises `UnicodeDecodeError` for what is none."""
        return self.content.decode()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A `File` stays, an object in wire form is decoded; at any depth of an author's models."""
        return core_schema.no_info_plain_validator_function(
            _decoded, serialization=core_schema.plain_serializer_function_ser_schema(_encoded)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        """Closed for what a caller sends; open for what a pipeline answers, which becomes a content block."""
        return {} if handler.mode == "serialization" else dict(_WIRE)


_WIRE: Json = {
    "type": "object",
    "description": "A file: its text in `text`, its bytes in base64 in `data`, or its address in `uri`.",
    "properties": {
        "name": {"type": "string", "description": "File name, without a folder."},
        "mime_type": {"type": "string", "description": "Its type; guessed from the name if left out."},
        "text": {"type": "string", "description": "The content of a text file."},
        "data": {"type": "string", "description": "The content of any file, in base64."},
        "uri": {"type": "string", "description": "Address of an artifact of a run, `run://…`."},
    },
    "additionalProperties": False,
}


def _decoded(given: Any) -> File:
    """The file a caller described. Raises `ValueError` that says what was expected."""
    if isinstance(given, File):
        return given
    wire = cast(Json, given) if isinstance(given, dict) else {}
    if not _fits(wire):
        raise ValueError(
            "a file is an object with `text`, base64 `data` or `uri`, and maybe `name` and `mime_type`"
        )
    content = _content(wire)
    name = wire.get("name", "").replace("\\", "/").rpartition("/")[2] or "file"
    fallback = _PLAIN if "text" in wire else _BINARY
    return File(name, content, wire.get("mime_type") or mimetypes.guess_type(name)[0] or fallback)


def _fits(given: Json) -> bool:
    known = given.keys() <= _WIRE["properties"].keys()
    one = len(given.keys() & {"text", "data", "uri"}) == 1
    return known and one and all(isinstance(value, str) for value in given.values())


def _content(wire: Json) -> bytes:
    if "uri" in wire:
        return sent(wire["uri"]).path.read_bytes()
    return wire["text"].encode() if "text" in wire else _bytes(wire["data"])


def _bytes(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError("`data` is not base64") from error


def _encoded(file: File) -> Json:
    """Wire form: text where the content is text, else base64."""
    about = {"name": file.name, "mime_type": file.mime_type}
    if file.mime_type.startswith("text/"):
        try:
            return {**about, "text": file.text}
        except UnicodeDecodeError:
            pass
    return {**about, "data": base64.b64encode(file.content).decode()}
