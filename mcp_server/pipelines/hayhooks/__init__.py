"""Hayhooks' import names for wrappers written for it; stands in for `hayhooks` where that is not installed.

`Modules` gives this module to pipelines that import `hayhooks`, or any of its modules named in `PLACES`:
every name is found at every place. Nothing else in the process sees it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...models import Json
from ..authoring import PipelineWrapper as BasePipelineWrapper
from ..conversation import (
    as_messages,
    get_content,
    get_input_files,
    get_last_user_input_text,
    get_last_user_message,
    is_user_message,
)
from ..generators import async_streaming_generator, streaming_generator
from .events import (
    MessageEventData,
    NotificationEventData,
    OpenWebUIEvent,
    PipelineEvent,
    StatusEventData,
    create_chat_completion_event,
    create_details_tag,
    create_message_event,
    create_notification_event,
    create_replace_event,
    create_source_event,
    create_status_event,
    default_on_pipeline_end,
    default_on_tool_call_end,
    default_on_tool_call_start,
)
from .logger import log

if TYPE_CHECKING:
    from haystack.dataclasses import ChatMessage

__all__ = [
    "BasePipelineWrapper",
    "MessageEventData",
    "NotificationEventData",
    "OpenWebUIEvent",
    "PipelineEvent",
    "SSEStream",
    "StatusEventData",
    "async_streaming_generator",
    "chat_messages_from_openai_response",
    "create_chat_completion_event",
    "create_details_tag",
    "create_message_event",
    "create_notification_event",
    "create_replace_event",
    "create_source_event",
    "create_status_event",
    "default_on_pipeline_end",
    "default_on_tool_call_end",
    "default_on_tool_call_start",
    "get_content",
    "get_input_files",
    "get_last_user_input_text",
    "get_last_user_message",
    "is_user_message",
    "log",
    "streaming_generator",
]

PLACES = frozenset(
    {
        "hayhooks",
        "hayhooks.callbacks",
        "hayhooks.events",
        "hayhooks.open_webui",
        "hayhooks.server",
        "hayhooks.server.logger",
        "hayhooks.server.pipelines",
        "hayhooks.server.pipelines.sse",
        "hayhooks.server.pipelines.utils",
        "hayhooks.server.utils",
        "hayhooks.server.utils.base_pipeline_wrapper",
    }
)
_STEPS = frozenset(place.rpartition(".")[2] for place in PLACES)


@dataclass(frozen=True)
class SSEStream:
    """A stream that asks to be sent as server-sent events; here the client's Accept header decides."""

    stream: Any


def chat_messages_from_openai_response(input_items: Sequence[Json]) -> list[ChatMessage]:
    """Haystack's messages from the input items of OpenAI's Responses API; what says nothing is left out."""
    from haystack.dataclasses import ChatMessage  # heavy; who calls this has it loaded

    messages = as_messages(input_items)
    told = [message for message in messages if message.get("content") or message.get("tool_calls")]
    return [ChatMessage.from_openai_dict_format(message) for message in told]


def __getattr__(name: str) -> Any:
    """Haystack's `Pipeline` under both of its old names; and this module again, for `import a.b as c`."""
    if name in ("Pipeline", "AsyncPipeline"):
        from haystack import Pipeline  # heavy; who asks has it loaded

        return Pipeline
    if name in _STEPS:
        return sys.modules[__name__]
    raise AttributeError(f"the stand-in for hayhooks has no {name!r}")
