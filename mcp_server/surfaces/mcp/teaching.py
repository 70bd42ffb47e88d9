"""The server's own prompt, `write_pipeline`: teaches a model to write a wrapper and to deploy it."""

from __future__ import annotations

from collections.abc import Mapping

from ...models import NAME, Json

PROMPT: Json = {
    "name": "write_pipeline",
    "title": "Write a pipeline",
    "description": "How to write a Haystack pipeline for a task, deploy it here as a tool, and try it.",
    "arguments": [
        {"name": "task", "description": "What the pipeline is to do.", "required": True},
        {"name": "name", "description": "What to call it; also the tool's name.", "required": False},
    ],
}

EXAMPLE = '''\
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from mcp_server import Context, PipelineWrapper as BasePipelineWrapper
from pydantic import BaseModel

NOTES = ["Invoices are paid within 30 days.", "Parcels leave the warehouse at noon."]


class Passage(BaseModel):
    text: str
    score: float


class PipelineWrapper(BasePipelineWrapper):
    title = "Search the notes"
    read_only = True

    def setup(self) -> None:
        store = InMemoryDocumentStore()
        store.write_documents([Document(content=note) for note in NOTES])
        self.pipeline = Pipeline()
        self.pipeline.add_component("retriever", InMemoryBM25Retriever(store))

    def run_api(self, question: str, context: Context, top_k: int = 3) -> list[Passage]:
        """Find the notes that answer a question, best first.

        Args:
            question: What to look for, as a sentence.
            top_k: How many passages to give.
        """
        context.progress(0, 1, "searching")
        found = self.pipeline.run({"retriever": {"query": question, "top_k": top_k}})
        documents = found["retriever"]["documents"]
        return [Passage(text=each.content, score=each.score) for each in documents]
'''

TEXT = """\
Write a Haystack pipeline and deploy it on this server as a tool.

Task: {task}
Name: {name}

The pipeline is a file `pipeline_wrapper.py` with a class `PipelineWrapper`. This one works:

```python
{example}```

The contract:
- `setup` runs once, before the first call: build or load everything there, and put a Haystack pipeline or \
agent into `self.pipeline`, which is then warmed up. `teardown` runs once at the end. Both may be left out.
- `run_api` (or `async def run_api_async`) is the tool. Annotate every parameter with a type that JSON can \
carry: str, int, float, bool, Literal, an Enum, list, dict, a pydantic model, Haystack's Document or \
ChatMessage, bytes, or `File` from `mcp_server`. No *args, no **kwargs. A default makes a parameter optional.
- The docstring is what models read to choose the tool: say what it does, when to use it, what it gives; \
then `Args:` with a line for each parameter. Keep it under 1 KB.
- Annotate what it returns: it becomes the output schema. Return values, not printed text; `yield` strings \
to stream. Raise an ordinary exception with one clear sentence for what the caller can mend.
- Calls overlap: keep what belongs to a call in local variables, never on `self`.
- A parameter `context: Context` is the running call and no argument: `context.progress(done, total, \
message)`, `context.log(level, data)`, `context.ask(message, Model)` to ask the person.
- Class attributes, as plain values: `title`, `read_only`, `destructive`, `idempotent`, `open_world`, \
`timeout` (seconds), `concurrency`, `tags`, and `env = ["API_KEY"]` for environment variables it needs. \
No other is visible to it; never write a secret into the file.
- Further files (texts, YAML, modules) may lie beside it; open them by `Path(__file__).parent`. A \
`requirements.txt` is checked, not installed: use what is installed.
- `@resource("notes://{{number}}")` and `@prompt()` from `mcp_server` on other methods publish resources \
and prompts.

What to do:
1. Write the file. Prefer few components and clear errors; leave out what the task does not need.
2. Call `deploy_pipeline` with `name` and `files`: `{{"pipeline_wrapper.py": "…"}}`. If it is refused, \
nothing has changed: mend the file and line it names, and call it again. `overwrite: true` replaces a \
pipeline of that name.
3. Call the new tool with an easy and a hard input, and read the answers. Mend and deploy again until both \
are right.
4. Tell the user the tool's name, what it takes and what it gives.
"""


def messages(arguments: Mapping[str, str]) -> list[Json]:
    """The prompt's one message. Raises `KeyError` without a task."""
    name = arguments.get("name") or f"choose a short one that fits `{NAME.pattern}`"
    text = TEXT.format(task=arguments["task"], name=name, example=EXAMPLE)
    return [{"role": "user", "content": {"type": "text", "text": text}}]
