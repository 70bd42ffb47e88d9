"""Several files and one question: the passages of the files that answer it best.

Files arrive by content, as text or base64, never as a path on the server.
"""

from dataclasses import dataclass

from haystack import Pipeline
from haystack.components.converters import TextFileToDocument
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ByteStream
from haystack.document_stores.in_memory import InMemoryDocumentStore

from mcp_server import Context, File
from mcp_server import PipelineWrapper as BasePipelineWrapper


@dataclass
class Passage:
    """A piece of a file; a higher score is a better match."""

    file: str
    text: str
    score: float


class PipelineWrapper(BasePipelineWrapper):
    title = "Ask files"
    read_only = True
    idempotent = True
    open_world = False

    def run_api(self, question: str, files: list[File], context: Context, top_k: int = 3) -> list[Passage]:
        """Find the passages of text files that answer a question.

        Args:
            question: What to look for.
            files: Text files, such as notes, logs or source code.
            top_k: How many passages to give.
        """
        store = InMemoryDocumentStore(shared=False)  # for this call only
        indexing = indexing_pipeline(store)
        for number, file in enumerate(files, start=1):
            source = ByteStream.from_string(file.text, meta={"file": file.name}, mime_type="text/plain")
            indexing.run({"converter": {"sources": [source]}})
            context.progress(number, len(files), f"read {file.name}")
        found = InMemoryBM25Retriever(store).run(query=question, top_k=top_k)["documents"]
        return [Passage(each.meta["file"], each.content.strip(), round(each.score, 2)) for each in found]


def indexing_pipeline(store: InMemoryDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("converter", TextFileToDocument())
    pipeline.add_component("splitter", DocumentSplitter(split_by="passage", split_length=1))
    pipeline.add_component("writer", DocumentWriter(store))
    pipeline.connect("converter", "splitter")
    pipeline.connect("splitter", "writer")
    return pipeline
