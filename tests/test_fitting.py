"""Results that are too large: what is shown, what is kept beside it, and that nothing is lost."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from mcp_server.content import failure, render
from mcp_server.content.blocks import Audio, Embedded, Image, Reply, Text
from mcp_server.content.fitting import BLOCKS, INLINE, fitted
from mcp_server.models import Artifact, Json, Result

LIMIT = 10_000


def fit(value: object, schema: Json | None = None, **more: Any) -> Result:
    return fitted(render(value), "abc", LIMIT, schema, **more)


def content(result: Result) -> list[Json]:
    return orjson.loads(result.content)


def kept(result: Result) -> dict[str, bytes]:
    return {artifact.name: artifact.content for artifact in result.artifacts}


@pytest.mark.parametrize("value", ["x", "x" * 9000, {"a": [1]}, Image(b"\0" * 7000), Reply()])
def test_what_fits_stays_the_same_object(value: object) -> None:
    result = render(value)
    assert fitted(result, "abc", LIMIT) is result


@pytest.mark.parametrize("character", ["x", "ä", "😀", '"', "\n", "\0"])
def test_a_text_is_cut_between_characters_and_kept_whole(character: str) -> None:
    text = character * 20_000
    result = fit(text)
    first, link = content(result)
    shown = first["text"].partition("\n… cut here")[0]
    assert text.startswith(shown) and len(shown.encode()) in range(LIMIT // 4 - 3, LIMIT // 4 + 1)
    assert link["uri"] == "run://abc/artifacts/result.txt" and link["size"] == len(text.encode())
    assert kept(result) == {"result.txt": text.encode()}
    assert result.structured == render(text).structured and not result.partial


def test_json_is_kept_as_json() -> None:
    rows = [{"n": number} for number in range(2000)]
    result = fit(rows)
    assert json.loads(kept(result)["result.json"]) == rows
    assert [block["type"] for block in content(result)] == ["text", "resource_link"]


def test_texts_share_what_may_be_shown() -> None:
    result = fit(Reply("a" * 9000, "b" * 9000, "c" * 900, structured={"n": 1}))
    first, second, third, *more = content(result)
    assert first["text"] == "a" * 9000
    assert second["text"].startswith("b" * 1000 + "\n… cut here, at 1,000 of 9,000 bytes. ")
    assert third["text"].startswith("\n… cut here, at 0 of 900 bytes.")
    assert kept(result) == {"text-1.txt": b"b" * 9000, "text-2.txt": b"c" * 900}
    assert [link["uri"] for link in more] == [artifact.uri("abc") for artifact in result.artifacts]


def test_an_embedded_text_is_a_text_too() -> None:
    result = fit(Reply(Embedded("f:///a.md", "a" * 9000), Embedded("f:///b.md", "b" * 9000)))
    assert [block["type"] for block in content(result)] == ["resource", "resource_link"]
    assert kept(result) == {"b.md": b"b" * 9000}


def test_media_become_links_in_their_place() -> None:
    large = b"\x89PNG\r\n\x1a\n" + bytes(INLINE)
    values = [Image(large, audience="user"), Audio(b"RIFF"), Embedded("f:///a/b.pdf", large), Text("t")]
    result = fit(Reply(*values, structured={}))
    assert [block["type"] for block in content(result)] == ["resource_link", "audio", "resource_link", "text"]
    assert content(result)[0]["annotations"] == {"audience": ["user"]}
    assert kept(result) == {"content-0.png": large, "b.pdf": large}


def test_how_much_may_be_in_a_result_can_be_said() -> None:
    small = fit(Reply(Image(bytes(3000)), structured={"text": "x" * 3000}), inline=2048)
    assert [block["type"] for block in content(small)] == ["resource_link", "resource_link"]
    assert small.structured is None
    assert "result.json" in kept(small)
    large = Image(bytes(INLINE))
    assert [block["type"] for block in content(fit(large, inline=2 * INLINE))] == ["image"]


def test_artifacts_of_one_name_are_numbered() -> None:
    large = bytes(INLINE)
    result = fit(Reply(Embedded("f:///a/x.bin", large), Embedded("f:///b/x.bin", large)))
    assert list(kept(result)) == ["x.bin", "x-2.bin"]


def test_many_blocks_become_one_artifact() -> None:
    result = fit(Reply(*["x" * 100] * 500))
    assert len(content(result)) == BLOCKS + 1
    assert len(json.loads(kept(result)["content.json"])) == 500


def test_structured_content_is_shortened_where_it_is_promised_else_left_out() -> None:
    value = {"rows": [{"id": number, "body": "b" * 50} for number in range(30_000)], "count": 30_000}
    promised = fit(value, {"type": "object", "required": ["rows", "count"]})
    short = orjson.loads(promised.structured or b"")
    assert promised.partial and not promised.is_error
    assert short["count"] == 30_000 and short["rows"][:2] == value["rows"][:2]  # type: ignore[index]
    assert len(promised.structured or b"") <= LIMIT
    free = fit(value)
    assert free.partial and free.structured is None and not free.is_error
    assert json.loads(kept(free)["result.json"]) == json.loads(kept(promised)["result.json"]) == value


@pytest.mark.parametrize(
    "value",
    [
        {"a": [0] * 1_000_000},
        {str(key): "x" * 100 for key in range(20_000)},
        {"a": {"b": {"c": [["x" * 1000] * 100] * 100}}},
        {"a": "x" * 2_000_000},
    ],
)
def test_whatever_is_shortened_fits(value: Json) -> None:
    result = fit(value, {"type": "object"})
    assert result.structured is not None and len(result.structured) <= LIMIT
    assert json.loads(kept(result)["result.json"]) == value


def test_what_cannot_be_shortened_to_its_schema_is_an_error() -> None:
    schema = {"type": "object", "properties": {"a": {"minItems": 1000}}}
    result = fit({"a": ["x" * 2000] * 1000}, schema)
    assert result.is_error and result.structured is None
    assert "result.json" in kept(result)


def test_what_a_run_left_is_linked_also_from_a_small_result() -> None:
    left = (Artifact(name="result.json", mime_type="application/json", content=b"{}"),)
    small = fit("x", left=left)
    assert [block["type"] for block in content(small)] == ["text", "resource_link"]
    large = fit({"a": "x" * 2_000_000}, left=left)
    assert list(kept(large)) == ["result.json", "result-2.json"]
    assert kept(large)["result.json"] == b"{}"


def test_a_failure_is_shown_as_it_is() -> None:
    told = failure("no" * 5000)
    assert fitted(told, "abc", LIMIT) is told
