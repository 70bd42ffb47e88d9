"""Artifacts are kept for a while: found by their owner, read in parts, forgotten within bounds."""

from __future__ import annotations

import pytest

from mcp_server.artifacts import NEXT, PART, Artifacts
from mcp_server.errors import NotFound
from mcp_server.models import Artifact, Caller, Result, Run

ADA, BOB = Caller(name="ada"), Caller(name="bob")


def ended(identity: str, *left: Artifact, caller: Caller = ADA) -> Run:
    return Run(
        id=identity,
        pipeline="p",
        version=1,
        digest="",
        inputs={},
        caller=caller,
        timeout=1,
        result=Result(content=b"[]", artifacts=left),
    )


def made(name: str, content: bytes, mime_type: str = "text/plain") -> Artifact:
    return Artifact(name=name, mime_type=mime_type, content=content)


def test_the_bytes_are_kept_once_and_the_run_keeps_the_names() -> None:
    kept = Artifacts()
    run = kept.keep(ended("a1", made("ä b/c?.txt", b"text")))
    assert run.result is not None
    (named,) = run.result.artifacts
    assert (named.name, named.content) == ("ä b/c?.txt", b"")
    assert kept.read(ADA, named.uri("a1")).content == b"text"


@pytest.mark.parametrize(
    "uri",
    ["run://a1/artifacts/none", "run://a2/artifacts/a.txt", "run://a1", "run://a1/artifacts/", "x", "",
     "run://a1/artifacts/a.txt?offset=5", "run://a1/artifacts/a.txt?offset=-1", "run://a1/artifacts/a.txt#x",
     "run://a1/artifacts/%61/../a.txt"],
)  # fmt: skip
def test_an_address_that_leads_nowhere_is_not_found(uri: str) -> None:
    kept = Artifacts()
    kept.keep(ended("a1", made("a.txt", b"text")))
    with pytest.raises(NotFound):
        kept.read(ADA, uri)


def test_another_caller_finds_nothing() -> None:
    kept = Artifacts()
    kept.keep(ended("a1", made("a.txt", b"text")))
    with pytest.raises(NotFound):
        kept.read(BOB, "run://a1/artifacts/a.txt")


@pytest.mark.parametrize("text", ["äöü€😀" * 200_000, "x" * PART, "x" * (PART + 1), "", "\ud7ff" * PART])
def test_a_text_comes_in_parts_that_end_between_characters(text: str) -> None:
    kept = Artifacts()
    kept.keep(ended("a1", made("a.txt", text.encode())))
    whole, uri = "", "run://a1/artifacts/a.txt"
    while uri:
        wire = kept.read(ADA, uri).wire(uri)
        assert len(wire["text"].encode()) <= PART and "\ufffd" not in wire["text"]
        whole += wire["text"]
        uri = wire.get("_meta", {}).get(NEXT)
    assert whole == text


def test_bytes_come_as_base64() -> None:
    kept = Artifacts()
    kept.keep(ended("a1", made("a.bin", b"\xff\x00", "application/x-thing")))
    wire = kept.read(ADA, "run://a1/artifacts/a.bin").wire("run://a1/artifacts/a.bin")
    assert wire == {"uri": "run://a1/artifacts/a.bin", "mimeType": "application/x-thing", "blob": "/wA="}


def test_the_oldest_go_when_there_are_too_many_or_too_large_ones() -> None:
    kept = Artifacts(count=2, size=10)
    for number in range(3):
        kept.keep(ended(f"a{number}", made("a", b"x")))
    with pytest.raises(NotFound):
        kept.read(ADA, "run://a0/artifacts/a")
    kept.keep(ended("a3", made("a", b"x" * 10)))
    with pytest.raises(NotFound):
        kept.read(ADA, "run://a2/artifacts/a")
    assert kept.read(ADA, "run://a3/artifacts/a").content == b"x" * 10


def test_the_old_ones_go() -> None:
    kept = Artifacts(age=-1.0)
    kept.keep(ended("a1", made("a", b"x")))
    with pytest.raises(NotFound):
        kept.read(ADA, "run://a1/artifacts/a")
