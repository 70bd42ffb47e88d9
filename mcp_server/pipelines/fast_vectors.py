"""The embeddings of stored documents as arrays, each made once, and again when it has changed.

Haystack makes one array of all numbers of all documents for every query: 13 ms for 1,000 embeddings of 384.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from haystack import Document

ROOM = 4_000_000
"""Numbers that a store remembers: 64 MB. Embeddings beyond go Haystack's way."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What scores are calculated of, in place of a document."""

    embedding: Any


class Vectors:
    """What a store remembers; used by many threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[list[float], np.ndarray[Any, Any]]] = {}
        """By document, its numbers as they were, and in an array (float64)."""
        self._room = ROOM

    def of(self, documents: Sequence[Document], stored: Collection[str]) -> list[Embedded]:
        """Their embeddings in arrays; those that are not lists of floats stay as they are.

        What is remembered of documents that are not `stored` any more is forgotten.
        """
        if len(self._known) > len(stored):
            self._known = {key: each for key, each in [*self._known.items()] if key in stored}
            self._room = ROOM - sum(len(numbers) for numbers, _ in [*self._known.values()])
        return [Embedded(self._vector(each.id, each.embedding)) for each in documents]

    def _vector(self, key: str, embedding: list[float] | None) -> Any:
        if type(embedding) is not list:
            return embedding
        known = self._known.get(key)
        if known is not None and known[0] == embedding:  # the same numbers: nearly as quick as one look
            return known[1]
        numbers: list[Any] = embedding.copy()
        self._room -= len(numbers) - (len(known[0]) if known else 0)
        if self._room < 0 or set(map(type, numbers)) != {float}:
            self._known.pop(key, None)
            self._room += len(numbers)
            return embedding
        made = self._known[key] = numbers, np.array(numbers)
        return made[1]
