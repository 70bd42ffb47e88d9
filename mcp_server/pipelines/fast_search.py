"""Haystack's search in memory, by words (BM25) and by embeddings, with the same results at a lower cost.

Haystack filters and scores every document anew for every query. Here what a word adds to the score of each
document is calculated once, by numpy in the same order and so to the last bit, and kept until documents are
written or deleted. Filters, BM25Okapi and unusual parameters go Haystack's way. For embeddings, see
`fast_vectors`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
from haystack import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.in_memory.document_store import BM25_SCALING_FACTOR
from haystack.utils import expit

from .fast_vectors import Vectors

Array = np.ndarray[Any, Any]

ROOM = 1_000_000
"""What a store remembers at most, one for each word and document that has it: 12 MB."""
DELTAS: Mapping[str, float] = {"BM25L": 0.5, "BM25Plus": 1.0}
"""The algorithms by which a document without any word of the query is not found, and their usual delta."""
_PLAIN = frozenset({str, int, float, bool, type(None)})
_FIELDS: frozenset[str] = frozenset(cast(Any, Document)._field_names())


class FastDocumentStore(InMemoryDocumentStore):
    """A store that finds what `InMemoryDocumentStore` finds."""

    _index: Index | None = None
    _vectors: Vectors | None = None

    def to_dict(self) -> dict[str, Any]:
        """As Haystack's, under its name."""
        owner = InMemoryDocumentStore
        return {**super().to_dict(), "type": f"{owner.__module__}.{owner.__qualname__}"}

    def bm25_retrieval(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int = 10, scale_score: bool = False
    ) -> list[Document]:
        """As Haystack's."""
        index = self._known() if query and not filters else None
        if index is None:
            return super().bm25_retrieval(query, filters, top_k, scale_score)
        found = [
            (self.storage.get(index.ids[place]), expit(score / BM25_SCALING_FACTOR) if scale_score else score)
            for place, score in best(index.scores(self._rarity(query)), top_k)
            if score > 0
        ]
        texts = [(each, score) for each, score in found if each is not None and each.content is not None]
        if len(texts) < len(found):  # somebody took one away meanwhile
            return super().bm25_retrieval(query, filters, top_k, scale_score)
        return [again(document, score, self.return_embedding) for document, score in texts]

    def embedding_retrieval(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool | None = False,
    ) -> list[Document]:
        """As Haystack's, which also says what is wrong with a query, and with documents."""
        documents = [] if filters else [*self.storage.values()]
        askable = len(query_embedding) > 0 and isinstance(query_embedding[0], float)
        if not askable or not documents or any(each.embedding is None for each in documents):
            found: Any = super().embedding_retrieval
            return found(query_embedding, filters, top_k, scale_score, return_embedding)
        scores = self._compute_query_embedding_similarity_scores(query_embedding, documents, scale_score)
        keeps = (self.return_embedding if return_embedding is None else return_embedding) is not False
        places = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[:top_k]
        return [again(documents[place], scores[place], keeps) for place in places]

    def _compute_query_embedding_similarity_scores(
        self, embedding: list[float], documents: list[Document], scale_score: bool = False
    ) -> list[float]:
        if self._vectors is None:
            self._vectors = Vectors()
        given: Any = self._vectors.of(documents, self.storage)
        return super()._compute_query_embedding_similarity_scores(embedding, given, scale_score)

    def _known(self) -> Index | None:
        """What is known of the words in all documents; None where Haystack's way is to be gone."""
        given, mean, stored = cast(Any, self).bm25_parameters, self._avg_doc_len, self._bm25_attr
        delta = given.get("delta", DELTAS.get(self.bm25_algorithm))
        about = (self.bm25_algorithm, given.get("k1", 1.5), given.get("b", 0.75), delta, mean)
        if not mean or self.bm25_algorithm not in DELTAS or not usual(*about[1:4]):
            return None
        index = self._index
        if index is None or index.about != about or index.stats != [*stored.values()]:  # the same objects
            index = self._index = Index(about, [*stored.items()])
        return index

    def _rarity(self, query: str) -> dict[str, float]:
        """The weight of each word of a query that any document has (its idf)."""
        stored, having = len(self._bm25_attr), cast(Any, self)._freq_vocab_for_idf
        found: dict[str, float] = {}
        for word in self._tokenize_bm25(query):
            if count := having.get(word, 0):
                smooth = self.bm25_algorithm == "BM25Plus"
                share = (
                    1 + (stored - count + 0.5) / (count + 0.5) if smooth else (stored + 1.0) / (count + 0.5)
                )
                found[word] = math.log(share)
        return found


class Index:
    """How much each word counts in each document; of words that were asked for."""

    def __init__(self, about: tuple[Any, ...], stored: list[tuple[str, Any]]) -> None:
        """`about` is the algorithm, k1, b, delta and the mean length; then each document's id and counts."""
        self.about = about
        self.ids = [each for each, _ in stored]
        self.stats = [each for _, each in stored]
        _, _, b, _, mean = about
        self._norms = 1 - b + b * np.array([each.doc_len for each in self.stats], float) / mean
        self._weights: dict[str, tuple[Array | slice, Array]] = {}
        self._room = ROOM

    def scores(self, rarity: Mapping[str, float]) -> Array:
        """float64 of each document."""
        found = np.zeros(len(self.stats))
        for word, rare in rarity.items():
            places, weights = self._weights.get(word) or self._weigh(word)
            found[places] += rare * weights
        return found

    def _weigh(self, word: str) -> tuple[Array | slice, Array]:
        """The places of the documents with the word (int32, or all), and its weight in them (float64)."""
        counts = np.array([each.freq_token.get(word, 0) for each in self.stats], float)
        places = np.flatnonzero(counts).astype(np.int32)
        weights = self._weight(counts[places], self._norms[places])
        self._room -= len(places)
        if self._room < 0:
            self._weights, self._room = {}, ROOM - len(places)
        known = self._weights[word] = (slice(None) if len(places) == len(counts) else places, weights)
        return known

    def _weight(self, counts: Array, norms: Array) -> Array:
        algorithm, k, _, delta, _ = self.about
        if algorithm == "BM25Plus":
            return counts * (1.0 + k) / (counts + k * norms) + delta
        shares = counts / norms
        return (1.0 + k) * (shares + delta) / (k + shares + delta)


def usual(*parameters: Any) -> bool:
    """True if no k1, b and delta of these kinds leads to a division by zero, or to scores below it."""
    if not all(isinstance(each, int | float) for each in parameters):
        return False
    k, b, delta = parameters
    return k >= 0 and 0 <= b <= 1 and delta >= 0


def best(scores: Array, number: int) -> Iterator[tuple[int, float]]:
    """The places and values of so many highest scores, highest first, equal ones in their order."""
    places = np.arange(len(scores))
    if number and 0 < number < len(scores):
        places = np.flatnonzero(scores >= np.partition(scores, -number)[-number])
    order = places[np.argsort(-scores[places], kind="stable")][:number]
    return zip(order.tolist(), scores[order].tolist(), strict=True)


def again(document: Document, score: float, keeps: bool) -> Document:
    """A new document that says the same, with a score; what is unusual in it goes Haystack's way.

    It has an embedding if it `keeps` that.
    """
    meta, vector = document.meta, document.embedding if keeps else None
    plain = (
        type(document) is Document
        and document.blob is document.sparse_embedding is None
        and type(meta) is dict
        and _PLAIN.issuperset(map(type, meta.values()))
        and _FIELDS.isdisjoint(meta)
        and (vector is None or (type(vector) is list and _PLAIN.issuperset(map(type, vector))))
    )
    if plain:
        copied = vector and vector.copy()
        return Document(document.id, document.content, meta=meta.copy(), score=score, embedding=copied)
    fields = {**document.to_dict(), "score": score}
    return Document.from_dict(fields if keeps else {**fields, "embedding": None})


def fits() -> bool:
    """True if this Haystack finds what is found here, in a few documents."""
    texts = ("a b", "a a c d", "b, B; c!", "", "d 茶 d e d", "f")
    documents = [Document(text, text, meta={"n": len(text)}, embedding=[0.5, len(text)]) for text in texts]
    return all(
        _found(FastDocumentStore, algorithm, documents) == _found(InMemoryDocumentStore, algorithm, documents)
        for algorithm in DELTAS
    )


def _found(kind: type[InMemoryDocumentStore], algorithm: Any, documents: list[Document]) -> object:
    store = kind(bm25_algorithm=algorithm, shared=False)
    store.write_documents(documents)
    queries = ("a d b", "茶", "z")
    found = [store.bm25_retrieval(each, scale_score=scaled) for each in queries for scaled in (False, True)]
    return [*found, store.embedding_retrieval([0.1, 0.2])]
