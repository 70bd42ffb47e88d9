"""`mcp-server new`: pipelines to start from. Each works at once, without a network and without a key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ..catalog.names import check
from ..errors import Unusable

StarterKind = Literal["wrapper", "yaml", "steps"]

_WRAPPER = '''"""What this pipeline is for, in a line."""

from haystack import Pipeline
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage

from mcp_server import PipelineWrapper as BasePipelineWrapper


class PipelineWrapper(BasePipelineWrapper):
    # env = ["OPENAI_API_KEY"]  # the variables it may see

    def setup(self) -> None:
        """Runs once, when the pipeline is deployed."""
        template = [ChatMessage.from_user("Answer in one sentence: {{ question }}")]
        self.pipeline = Pipeline()
        self.pipeline.add_component("prompt", ChatPromptBuilder(template, required_variables="*"))
        self.pipeline.add_component("model", MockChatGenerator())  # repeats the prompt; put a real model here
        self.pipeline.connect("prompt.prompt", "model.messages")

    def run_api(self, question: str) -> str:
        """Answer a question. Clients show this text, so say what the pipeline does and what it gives.

        Args:
            question: What to answer.
        """
        found = self.pipeline.run({"prompt": {"question": question}})
        return found["model"]["replies"][0].text
'''
_YAML = """# What this pipeline is for, in a line.
components:
  prompt:
    type: haystack.components.builders.chat_prompt_builder.ChatPromptBuilder
    init_parameters:
      template:
        - role: user
          content: [{text: "Answer in one sentence: {{ question }}"}]
      required_variables: "*"
  model: # repeats the prompt; a real one: haystack.components.generators.chat.openai.OpenAIChatGenerator
    type: haystack.components.generators.chat.mock.MockChatGenerator
    init_parameters: {}
connections:
  - sender: prompt.prompt
    receiver: model.messages
inputs:
  question: prompt.question
outputs:
  replies: model.replies
metadata:
  mcp:
    description: Answer a question. Clients show this text, so say what the pipeline does and what it gives.
"""
_STEPS = """# What this pipeline is for, in a line.
#
# Each step asks its models; whoever runs it chooses a response, and the next step goes on with it.
description: Drafts a text and polishes it, with a choice after each step.

inputs:
  topic: What the text is about.

# These repeat their prompt; a real one: haystack.components.generators.chat.openai.OpenAIChatGenerator
models:
  writer:
    type: haystack.components.generators.chat.mock.MockChatGenerator
  editor:
    type: haystack.components.generators.chat.mock.MockChatGenerator

steps:
  - name: draft
    description: Draft the text
    models: [writer, editor]
    template: |
      Write a short text about {topic}.

  - name: polish
    description: Make it shorter and clearer
    models: [editor]
    template: |
      Make this shorter and clearer:
      {draft_output}
"""
STARTERS: Mapping[StarterKind, tuple[str, str]] = MappingProxyType(
    {
        "wrapper": ("pipeline_wrapper.py", _WRAPPER),
        "yaml": ("pipeline.yml", _YAML),
        "steps": ("steps.yml", _STEPS),
    }
)
"""By kind, the name of the file and what is in it."""


def write(name: str, kind: StarterKind) -> Path:
    """Make the folder `name` with a pipeline of this kind; gives the file.

    Raises `Invalid` for a name that no pipeline may have, and `Unusable` if there is something of that name.
    """
    check(name)
    file, text = STARTERS[kind]
    folder = Path(name)
    try:
        folder.mkdir()
        (folder / file).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise Unusable(f"{name} exists; choose another name") from None
    except OSError as error:
        raise Unusable(f"cannot write {name}: {error.strerror}") from None
    return folder / file
