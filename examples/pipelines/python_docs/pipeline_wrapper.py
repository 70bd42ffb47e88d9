"""Answers "which function does …" from the index that `index_python_docs` keeps."""

import re
import time
from dataclasses import dataclass
from typing import Annotated

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.core.errors import PipelineRuntimeError
from haystack.document_stores.in_memory import InMemoryDocumentStore
from pydantic import Field

from mcp_server import PipelineWrapper as BasePipelineWrapper

# As in `index_python_docs`: what the store takes for a word.
WORD = r"([a-z0-9]+?)(?:(?<=[a-z0-9]{4})(?:ing|ed)|(?<=[a-z0-9]{3})(?:ies|es|e|y|(?<!s)s))?(?![a-z0-9])"

# Words of a question that say nothing about its subject.
FILLERS = """
    a an and any are as at be by can class do does for from function functions get given how i in into is
    it me method module my of on or python returns should that the there thing this to use using want what
    when where which with you
"""


@dataclass
class Match:
    """A function, class or method; a higher score is a better match."""

    name: str
    signature: str
    summary: str
    module: str
    score: float


@dataclass
class Answer:
    """The best match in words, and all matches, best first."""

    answer: str
    matches: list[Match]


class PipelineWrapper(BasePipelineWrapper):
    title = "Search Python docs"
    read_only = True
    idempotent = True
    open_world = False

    def setup(self) -> None:
        self.store = InMemoryDocumentStore(
            index="python_docs", bm25_tokenization_regex=WORD, bm25_algorithm="BM25Plus"
        )
        self.pipeline = Pipeline()
        self.pipeline.add_component("retriever", InMemoryBM25Retriever(self.store))

    def run_api(self, question: str, top_k: Annotated[int, Field(ge=1, le=50)] = 5) -> Answer:
        """Find the function, class or method of Python's standard library that does something.

        Searches docstrings of the running Python. Gives name, signature and summary of each match.

        Args:
            question: What it should do, such as "which function joins paths?".
            top_k: How many matches to give.
        """
        if not self.store.count_documents():
            raise RuntimeError("the index is empty: call index_python_docs with the modules to search")
        fillers = FILLERS.split()
        words = [word for word in re.findall(r"\w+", question.lower()) if word not in fillers]
        matches = [match(document) for document in self.search(" ".join(words) or question, top_k)]
        if not matches:
            return Answer("Nothing in the index matches; try other words.", [])
        best = matches[0]
        return Answer(f"{best.name}{best.signature}: {best.summary}", matches)

    def search(self, query: str, top_k: int, attempts: int = 10) -> list[Document]:
        """Retrieve; wait a moment if the index is being written, for the store cannot do both at once."""
        try:
            found = self.pipeline.run({"retriever": {"query": query, "top_k": top_k}})
        except PipelineRuntimeError:
            if attempts == 1:
                raise
            time.sleep(0.1)
            return self.search(query, top_k, attempts - 1)
        return found["retriever"]["documents"]


def match(document: Document) -> Match:
    meta = document.meta
    score = round(document.score or 0.0, 2)
    return Match(meta["name"], meta["signature"], meta["summary"], meta["module"], score)
