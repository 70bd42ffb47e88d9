"""Answers questions about the handbook beside it: retrieval, prompt and model are in `rag.yml`.

The model is any OpenAI-compatible server: set OPENAI_API_KEY, and OPENAI_BASE_URL for another than OpenAI's.
Without a key Haystack's mock generator takes its place and quotes the best passage.
"""

import os
import re
from pathlib import Path

import yaml
from haystack import Document, Pipeline
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage, GeneratedAnswer

from mcp_server import Context
from mcp_server import PipelineWrapper as BasePipelineWrapper

HERE = Path(__file__).parent


class PipelineWrapper(BasePipelineWrapper):
    title = "Ask the handbook"
    read_only = True
    env = ("OPENAI_API_KEY", "OPENAI_BASE_URL")

    def setup(self) -> None:
        written = yaml.safe_load((HERE / "rag.yml").read_text(encoding="utf-8"))
        offline = {} if os.environ.get("OPENAI_API_KEY") else {"llm": MockChatGenerator(response_fn=quote)}
        self.pipeline = Pipeline.from_dict(written, components=offline)
        sections = re.split(r"^## ", (HERE / "handbook.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
        store = self.pipeline.get_component("retriever").document_store
        store.write_documents([Document(content=section.strip()) for section in sections[1:]])

    def run_api(self, question: str, context: Context, top_k: int = 3) -> GeneratedAnswer:
        """Answer a question from the visitors' handbook of the Larkspur Observatory, with the passages used.

        Args:
            question: About opening hours, tickets, telescopes, workshops, the way there …
            top_k: How many passages to read.
        """
        result = self.pipeline.run(
            {
                "retriever": {"query": question, "top_k": top_k},
                "prompt": {"question": question},
                "llm": {"streaming_callback": lambda chunk: context.chunk(chunk.content)},
                "answer": {"query": question},
            }
        )
        return result["answer"]["answers"][0]


def quote(messages: list[ChatMessage]) -> str:
    """Stands in for a model: the first passage, as it is."""
    passages = re.findall(r"Passage 1: (.+?)(?=\nPassage|\nQuestion)", messages[-1].text, re.DOTALL)
    return " ".join(passages[0].split()) if passages else "The handbook does not say."
