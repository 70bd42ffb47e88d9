"""Fast document stores find what Haystack's own find, whatever was written and deleted before."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers import MultiQueryTextRetriever
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.dataclasses import ByteStream
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.pipelines.fast_search import FastDocumentStore, fits
from mcp_server.pipelines.hastening import hasten

WORDS = ("tea", "Tea", "pot", "pot,", "leaf", "茶", "élan", "e\u0301lan", "")
NESTED = {"field": "meta.kind", "operator": "==", "value": "even"}
METAS: tuple[dict[str, Any], ...] = (
    {},
    {"kind": "even", "page": 2},
    {"kind": ["a", {"b": 1}], "content": "of the same name as a field", "score": 1},
    {"dataframe": None, "when": (1, 2)},
)

texts = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
documents = st.builds(
    Document,
    id=st.integers(0, 12).map(str),
    content=st.none() | texts,
    meta=st.sampled_from(METAS).map(copy.deepcopy),
    embedding=st.sampled_from((None, [0.5, 1.0], [-0.25, 3.0], [0.0, 0.0], [1, 2], [0.1, 0.2, 0.3])).map(
        copy.copy
    ),
    blob=st.none() | st.just(ByteStream(b"1")),
)
changes = st.one_of(
    st.tuples(
        st.just("write_documents"), st.lists(documents, max_size=8), st.just(DuplicatePolicy.OVERWRITE)
    ),
    st.tuples(st.just("delete_documents"), st.lists(st.integers(0, 12).map(str), max_size=4)),
    st.tuples(st.just("update_by_filter"), st.just(NESTED), st.just({"page": 3})),
    st.tuples(st.just("delete_all_documents")),
)
CHANGES = ("write_documents", "delete_documents", "update_by_filter", "delete_all_documents")
queries = st.tuples(
    texts, st.sampled_from((None, None, NESTED)), st.sampled_from((-1, 0, 1, 2, 3, 50)), st.booleans()
)
embedded = st.tuples(
    st.sampled_from(([0.3, 0.7], [1.0, -1.0], [1.0, 2.0, 3.0], [], [1])),
    st.sampled_from((None, None, NESTED)),
    st.sampled_from((-1, 0, 1, 2, 50)),
    st.booleans(),
    st.sampled_from((None, True, False)),
)
parameters = st.sampled_from(
    (None, {"k1": 2, "b": 1}, {"b": 0}, {"delta": 0}, {"k1": 0, "delta": 0}, {"b": 1.5}, {"k1": "x"})
)


def outcome(store: InMemoryDocumentStore, query: Any) -> Any:
    """Everything of what was found, or why nothing was."""
    find: Any = store.bm25_retrieval if isinstance(query[0], str) else store.embedding_retrieval
    try:
        return [vars(each) for each in find(*query)]
    except Exception as error:
        return type(error), str(error)


@given(
    algorithm=st.sampled_from(("BM25L", "BM25L", "BM25Plus", "BM25Okapi")),
    given=parameters,
    returned=st.booleans(),
    similarity=st.sampled_from(("cosine", "dot_product")),
    before=st.lists(documents, max_size=14, unique_by=lambda each: each.id),
    story=st.lists(changes | queries | embedded, max_size=8),
)
@settings(max_examples=200, deadline=None)
def test_what_is_found_is_the_same_to_the_last_bit(
    algorithm: Any, given: Any, returned: bool, similarity: Any, before: list[Document], story: list[Any]
) -> None:
    plain, fast = (
        kind(
            bm25_algorithm=algorithm,
            bm25_parameters=given,
            embedding_similarity_function=similarity,
            return_embedding=returned,
            shared=False,
        )
        for kind in (InMemoryDocumentStore, FastDocumentStore)
    )
    for store in (plain, fast):
        store.write_documents(before)
    last = ("tea pot", None, 3, False), ("tea pot", None, 3, True), ([0.3, 0.7], None, 3, False, True)
    for event in [*story, *last]:
        if event[0] in CHANGES:
            for store in (plain, fast):
                getattr(store, event[0])(*event[1:])
        else:
            assert outcome(fast, event) == outcome(plain, event)


def test_what_was_found_can_be_changed_without_changing_what_is_stored() -> None:
    store = FastDocumentStore(shared=False)
    store.write_documents([Document("1", "tea", meta={"page": 1}, embedding=[1.0])])
    found = store.bm25_retrieval("tea")[0]
    found.meta["page"] = 2
    found.embedding.append(2.0)  # type: ignore[union-attr]
    kept = store.filter_documents()[0]
    assert kept.meta == {"page": 1} and kept.embedding == [1.0] and kept.score is None


def test_a_document_whose_text_is_taken_away_is_not_found() -> None:
    store = FastDocumentStore(shared=False)
    store.write_documents([Document("1", "tea tea"), Document("2", "tea pot")])
    assert [each.id for each in store.bm25_retrieval("tea", top_k=1)] == ["1"]
    vars(store.storage["1"])["content"] = None
    assert [each.id for each in store.bm25_retrieval("tea", top_k=1)] == ["2"]


def test_an_embedding_that_is_changed_in_place_counts_as_it_is() -> None:
    store = FastDocumentStore(shared=False)
    store.write_documents([Document("1", embedding=[1.0, 0.0]), Document("2", embedding=[0.5, 0.0])])
    assert [each.id for each in store.embedding_retrieval([1.0, 0.0])] == ["1", "2"]
    vector = store.filter_documents()[1].embedding
    assert vector is not None
    vector[0] = 2.0
    assert [each.id for each in store.embedding_retrieval([1.0, 0.0])] == ["2", "1"]


def test_embeddings_beyond_what_is_remembered_count_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_server.pipelines.fast_vectors.ROOM", 5)
    store = FastDocumentStore(shared=False)
    for round_ in range(3):
        ids = [f"{round_} {n}" for n in range(4)]
        store.write_documents([Document(each, embedding=[float(n), 1.0]) for n, each in enumerate(ids)])
        assert [each.id for each in store.embedding_retrieval([1.0, 0.0])] == [*reversed(ids)]
        store.delete_documents(ids)


def test_what_another_store_of_the_same_index_writes_is_found() -> None:
    fast, plain = FastDocumentStore(index="both"), InMemoryDocumentStore(index="both")
    plain.write_documents([Document("1", "tea")])
    assert [each.id for each in fast.bm25_retrieval("tea")] == ["1"]
    plain.write_documents([Document("2", "tea tea"), Document("3", "pot")])
    assert fast.bm25_retrieval("tea") == plain.bm25_retrieval("tea")
    plain.delete_all_documents()


def test_many_threads_find_what_one_finds_while_one_writes() -> None:
    store = FastDocumentStore(shared=False)
    store.write_documents([Document(str(n), f"tea {n}") for n in range(300)])

    def find(number: int) -> bool:
        if number % 7 == 0:
            store.write_documents([Document(f"new {number}", f"pot {number}")])
        return store.bm25_retrieval(str(number), top_k=1)[0].id == str(number)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(find, range(300), timeout=60))


def test_words_that_were_asked_for_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_server.pipelines.fast_search.ROOM", 2)
    plain, fast = InMemoryDocumentStore(shared=False), FastDocumentStore(shared=False)
    for store in (plain, fast):
        store.write_documents(
            [Document(str(n), text) for n, text in enumerate(("tea pot", "tea", "leaf pot"))]
        )
    for query in ("tea pot leaf", "leaf", "pot tea", "leaf"):
        assert fast.bm25_retrieval(query) == plain.bm25_retrieval(query)


class Own(InMemoryDocumentStore):
    """A store class of an author."""


def test_the_stores_of_components_become_fast_but_no_class_of_an_author() -> None:
    stores = [InMemoryDocumentStore(shared=False), InMemoryDocumentStore(shared=False), Own(shared=False)]
    retrievers = [InMemoryBM25Retriever(store) for store in stores]
    pipeline = Pipeline()
    pipeline.add_component("many", MultiQueryTextRetriever(retriever=retrievers[1]))
    text = pipeline.to_dict()
    hasten(vars(SimpleNamespace(alone=retrievers[0], pipeline=pipeline, own=[retrievers[2]])))
    assert [type(each) for each in stores] == [FastDocumentStore, FastDocumentStore, Own]
    assert pipeline.to_dict() == text and "FastDocumentStore" not in str(text)
    assert fits()
