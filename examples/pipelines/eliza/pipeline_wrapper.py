"""A conversation: Eliza, who needs no model. For a real one put `OpenAIChatGenerator()` in its place.

`run_chat_completion` makes the pipeline an OpenAI-compatible model; as a tool it takes a message. The helper
comes under the name that wrappers for Hayhooks use; Hayhooks need not be installed.
"""

import random
import re
from collections.abc import Iterator

from hayhooks import streaming_generator
from haystack import Pipeline
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage, StreamingChunk

from mcp_server import PipelineWrapper as BasePipelineWrapper

RULES = {
    r"\bi need (.+)": ["Why do you need {0}?", "Would it really help you to get {0}?"],
    r"\bi(?:'m| am) (.+)": ["How long have you been {0}?", "How do you feel about being {0}?"],
    r"\bi (?:feel|felt) (.+)": ["Do you often feel {0}?", "What makes you feel {0}?"],
    r"\bbecause (.+)": ["Is that the real reason?", "What else comes to mind?"],
    r"\b(?:hello|hi|hey)\b": ["Hello. What is on your mind?"],
    r"\b(mother|father|family|friend)\b": ["Tell me more about your {0}."],
    r"\?$": ["Why do you ask?", "What do you think?"],
    r"": ["Please go on.", "Can you say more about that?"],
}
MIRRORED = {
    "i": "you",
    "my": "your",
    "me": "you",
    "am": "are",
    "you": "I",
    "your": "my",
    "myself": "yourself",
}


def eliza(messages: list[ChatMessage]) -> str:
    """An answer to the last message: the same conversation gets the same answer."""
    said = (messages[-1].text or "").strip().rstrip(".!")
    pattern, answers = next(rule for rule in RULES.items() if re.search(rule[0], said, re.IGNORECASE))
    parts = re.search(pattern, said, re.IGNORECASE).groups()
    answer = random.Random(len(messages)).choice(answers)
    return answer.format(*(mirrored(part) for part in parts))


def mirrored(text: str) -> str:
    return " ".join(MIRRORED.get(word.lower(), word) for word in text.split())


class PipelineWrapper(BasePipelineWrapper):
    title = "Talk to Eliza"
    read_only = True
    open_world = False

    def setup(self) -> None:
        self.pipeline = Pipeline()
        self.pipeline.add_component("llm", MockChatGenerator(response_fn=eliza))

    def run_chat_completion(self, model: str, messages: list[dict], body: dict) -> Iterator[StreamingChunk]:
        """Talk about what is on your mind; Eliza asks back."""
        history = [ChatMessage.from_openai_dict_format(message) for message in messages]
        return streaming_generator(self.pipeline, pipeline_run_args={"llm": {"messages": history}})
