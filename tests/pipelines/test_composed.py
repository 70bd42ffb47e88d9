"""YAML is read within bounds, and its faults have a line."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from haystack import Pipeline
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from mcp_server.errors import Broken
from mcp_server.pipelines.composed import MAX_BYTES, compose


def nested(levels: int, width: int, open_: str = "[", close: str = "]") -> str:
    """Aliases of aliases: each level holds the one above `width` times."""
    lines = ["a0: &a0 {x: y}"]
    for level in range(1, levels):
        inside = ",".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} {open_}{inside}{close}")
    return "\n".join(lines)


HOSTILE = {
    "seven levels of aliases": nested(7, 10),
    "thirty levels of aliases": nested(30, 10),
    "a long chain of aliases": nested(9000, 1),
    "merges of merges": nested(8, 10, "{<<: [", "]}"),
    "an alias inside itself": "a: &a [*a]",
    "deep brackets": "a: " + "[" * 200_000,
    "deep braces": "{a: " * 60_000,
    "many values": "a: [" + "1," * 120_000 + "]",
    "a long integer": "a: " + "9" * 200_000,
    "a long sexagesimal integer": "a: " + ":".join(["59"] * 80_000),
    "too many bytes": "a: " + "x" * MAX_BYTES,
    "an object": "a: !!python/object/apply:os.system [ls]",
    "a module": "a: !!python/module:os",
    "an unknown tag": "a: !mine x",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_refused_at_once_and_in_little_memory(text: str) -> None:
    started = time.process_time()
    with pytest.raises(Broken):
        compose(text.encode(), "p.yml")
    assert time.process_time() - started < 5

    tracemalloc.start()
    with pytest.raises(Broken):
        compose(text.encode(), "p.yml")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000_000


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\n\nb: !!python/object:x.Y {}", "p.yml, line 3: the tag !!python/object:x.Y is not allowed"),
        ("a: &a [1,\n  *a]", "p.yml, line 1: an alias contains itself"),
        ("a: 1\nb: 2\na: 3", "p.yml, line 3: the key `a` is there twice"),
        ("a:\n\t- b", "p.yml, line 2: "),
        ("a: 1\n---\nb: 2", "p.yml, line 2: "),
        ("? [a]\n: b", "p.yml, line 1: "),
        ("- a", "p.yml, line 1: must be a mapping with `components`"),
        ("", "p.yml, line 1: must be a mapping with `components`"),
        ("a: 2001-99-99", "p.yml: holds a date or number that does not exist"),
        ("a: \x00", "p.yml: is not valid YAML"),
    ],
)
def test_a_fault_is_told_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(Broken) as refused:
        compose(text.encode(), "p.yml")
    assert str(refused.value).startswith(problem)


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Broken, match=r"p.yml: is not UTF-8 text"):
        compose(b"a: \xff", "p.yml")


def test_aliases_and_tuples_as_haystack_writes_them_are_read() -> None:
    pipeline = Pipeline(metadata={"pair": (1, 2)})
    store = InMemoryDocumentStore(shared=False)
    pipeline.add_component("first", InMemoryBM25Retriever(store))
    pipeline.add_component("second", InMemoryBM25Retriever(store))
    pipeline.add_component("joiner", DocumentJoiner())
    pipeline.connect("first", "joiner")
    pipeline.connect("second", "joiner")
    text = pipeline.dumps()
    assert "*id001" in text and "!!python/tuple" in text

    read = compose(text.encode(), "p.yml").value

    assert read == pipeline.to_dict()
    assert Pipeline.from_dict(read) == pipeline


def test_a_byte_order_mark_merges_and_plain_types_are_read() -> None:
    text = "\ufeffbase: &base {a: 1}\nmore:\n  <<: *base\n  b: [1.5, true, null, 2001-01-01]\n"
    read = compose(text.encode(), "p.yml").value
    assert read["more"]["a"] == 1
    assert read["more"]["b"][:3] == [1.5, True, None]


def test_the_line_of_a_key_or_item_is_known() -> None:
    composed = compose(b"components:\n  a:\n    type: x\nconnections:\n- sender: a\n- sender: b\n", "p.yml")
    assert composed.line("components", "a", "type") == 3
    assert composed.line("connections", 1, "sender") == 6
    assert composed.line("components", "b") == 1
    assert composed.line("nothing") == 1
