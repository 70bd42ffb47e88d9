"""Results that are too large to be shown: a preview in their place, the whole beside it as artifacts.

Two figures rule. A model reads text: beyond the limit of text (a setting, about 20 000 tokens by default)
a preview of a quarter of it stands for the whole. Programs read structured content, images and files: they
stay up to 1 MiB of each (a setting, too), so that a message stays far below the 4 MiB at which clients
break. Structured content above that is left out; where the tool has promised it by an output schema, which
clients check, it is shortened so that it still fits.
"""

from __future__ import annotations

import mimetypes
from base64 import b64decode
from typing import Any, cast
from urllib.parse import unquote

import orjson

from ..models import Artifact, Json, Result
from .encoder import dump

INLINE = 1024 * 1024
"""Bytes of structured content in a message, and of images and files in base64, unless told otherwise."""
BLOCKS = 50
"""Content blocks of a result that does not fit; what follows is one artifact."""

WHOLE = "The whole result."
"""How a link to the structured content itself is described; the others lead to the text that was returned."""

_PREFIX = len(b'{"result":')
_PASSES = (4096, 1024, 256, 64, 16, 4)
"""Items of an array that are kept when structured content is shortened, and sixteenths of a text's length."""
_FIELDS = 64
"""Members that an object keeps in any case: more make it a mapping, not a record."""
_CUT = " … (cut)"


def fitted(
    result: Result,
    run: str,
    limit: int,
    schema: Json | None = None,
    left: tuple[Artifact, ...] = (),
    inline: int = INLINE,
) -> Result:
    """The result as it can be sent, with links to what is not in it and to what the run `left` on purpose.

    `limit` is in bytes of text, `inline` in bytes of structured content and of media, `schema` the output
    schema of the tool. Returns the result itself if it fits. With a schema that a shortened value does not
    fit, the result is an error.
    """
    fits = len(result.content) <= limit and len(result.structured or b"") <= inline
    if fits and not left:
        return result
    fitting = _Fitting(run, limit, left, inline)
    content: list[Json] = orjson.loads(result.content)
    if not fits:
        content = fitting.content(content, result.structured)
        result = fitting.structured(result, schema)
    return result.model_copy(
        update={"content": dump([*content, *fitting.links]), "artifacts": tuple(fitting.artifacts.values())}
    )


class _Fitting:
    """One result on its way: what is still free, and the artifacts so far."""

    def __init__(self, run: str, limit: int, left: tuple[Artifact, ...], inline: int) -> None:
        self._run = run
        self._limit = limit
        self._text = limit
        self._inline = self._media = inline
        self._has_whole = False
        self.artifacts: dict[str, Artifact] = {}
        self.links: list[Json] = []
        for artifact in left:
            self.links.append(self._kept(artifact))

    def content(self, blocks: list[Json], structured: bytes | None) -> list[Json]:
        """The blocks, each as far as there is room; places in the content stay what they were."""
        shown = [self._block(place, block, structured) for place, block in enumerate(blocks[:BLOCKS])]
        if len(blocks) > BLOCKS:
            whole = Artifact(name="content.json", mime_type="application/json", content=dump(blocks))
            self.links.append(self._kept(whole, f"All {len(blocks)} blocks of the result."))
        return shown

    def structured(self, result: Result, schema: Json | None) -> Result:
        """The result with structured content that may be sent."""
        data = result.structured
        if data is None or len(data) <= self._inline:
            return result
        if not self._has_whole:
            whole = Artifact(name="result.json", mime_type="application/json", content=data)
            self.links.append(self._kept(whole, WHOLE))
        if schema is None:
            return result.model_copy(update={"structured": None, "partial": True})
        short = _shortened(orjson.loads(data), self._limit)
        if short is None or not _fits(short, schema):
            return result.model_copy(update={"structured": None, "partial": True, "is_error": True})
        return result.model_copy(update={"structured": dump(short), "partial": True})

    def _block(self, place: int, block: Json, structured: bytes | None) -> Json:
        if block["type"] == "text":
            return self._cut(place, block, structured)
        if block["type"] == "resource_link":
            return block
        if self._has_room(block):
            return block
        return {**self._kept(_artifact(place, block)), **_annotations(block)}

    def _has_room(self, block: Json) -> bool:
        """True if an image, a sound or a resource may stay; its room is then taken."""
        text: str | None = block.get("resource", {}).get("text")
        if text is not None:
            size = len(text.encode())
            self._text -= size if (fits := size <= self._text) else 0
        else:
            size = len(dump(block))
            self._media -= size if (fits := size <= self._media) else 0
        return fits

    def _cut(self, place: int, block: Json, structured: bytes | None) -> Json:
        whole = cast(str, block["text"]).encode()
        if len(whole) <= self._text:
            self._text -= len(whole)
            return block
        artifact = _written(place, whole, structured)
        self._has_whole |= artifact.name.startswith("result.")
        self.links.append(self._kept(artifact, "The whole text."))
        preview = whole[: min(self._text, self._limit // 4)].decode("utf-8", "ignore")
        size = len(preview.encode())
        self._text -= size
        note = f"… cut here, at {size:,} of {len(whole):,} bytes. Read on: a resource, or get_run with run_id"
        return {**block, "text": f"{preview}\n{note} {artifact.uri(self._run)}?offset={size}"}

    def _kept(self, artifact: Artifact, description: str | None = None) -> Json:
        """Keep it; the block that links to it."""
        stem, dot, ending = artifact.name.rpartition(".")
        name, number = artifact.name, 2
        while name in self.artifacts:
            name, number = f"{stem}-{number}{dot}{ending}", number + 1
        artifact = artifact.model_copy(update={"name": name})
        self.artifacts[name] = artifact
        about = {"description": description} if description else {}
        return {
            "type": "resource_link",
            "uri": artifact.uri(self._run),
            "name": artifact.name,
            **about,
            "mimeType": artifact.mime_type,
            "size": len(artifact.content),
        }


def _written(place: int, text: bytes, structured: bytes | None) -> Artifact:
    """A text as an artifact; the whole result is called so, also where it is written as JSON."""
    if place == 0 and structured is not None:
        if text in (structured, structured[_PREFIX:-1]):
            return Artifact(name="result.json", mime_type="application/json", content=text)
        if dump(text.decode()) == structured[_PREFIX:-1]:
            return Artifact(name="result.txt", mime_type="text/plain", content=text)
    return Artifact(name=f"text-{place}.txt", mime_type="text/plain", content=text)


def _artifact(place: int, block: Json) -> Artifact:
    """An image, a sound or an embedded resource as an artifact."""
    holder: Json = block.get("resource", block)
    mime_type: str = holder.get("mimeType", "application/octet-stream")
    text: str | None = holder.get("text")
    content = text.encode() if text is not None else b64decode(holder.get("blob") or holder["data"])
    name = unquote(cast(str, holder.get("uri", "")).rpartition("/")[2])
    ending = mimetypes.guess_extension(mime_type) or ""
    return Artifact(name=name or f"content-{place}{ending}", mime_type=mime_type, content=content)


def _annotations(block: Json) -> Json:
    return {"annotations": block["annotations"]} if "annotations" in block else {}


def _fits(value: Any, schema: Json) -> bool:
    from jsonschema_rs import is_valid  # for the few results that large, not for every process

    return is_valid(schema, value)


def _shortened(value: Any, limit: int) -> Any:
    """The value with shorter texts and arrays, at most `limit` bytes of JSON; None if it cannot be."""
    for size in _PASSES:
        value = _pruned(value, size)
        if len(dump(value)) <= limit:
            return value
    return None


def _pruned(value: Any, size: int) -> Any:
    if isinstance(value, str):
        longest = 16 * size
        return value if len(value) <= longest else value[: longest - len(_CUT)] + _CUT
    if isinstance(value, list):
        return [_pruned(item, size) for item in cast(list[Any], value)[:size]]
    if isinstance(value, dict):
        members = list(cast(Json, value).items())[: max(size, _FIELDS)]
        return {key: _pruned(item, size) for key, item in members}
    return value
