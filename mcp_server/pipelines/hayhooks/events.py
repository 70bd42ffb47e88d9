"""Events for a chat window, as Hayhooks' wrappers make them; Open WebUI defines the types."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from ...models import Json

Mood = Literal["info", "success", "warning", "error"]


class StatusEventData(BaseModel):
    """A line that says what is being done."""

    description: str
    done: bool = False
    hidden: bool = False


class NotificationEventData(BaseModel):
    """A note that pops up."""

    type: Mood = "info"
    content: str


class MessageEventData(BaseModel):
    """Text for the message that is being written."""

    content: str


class PipelineEvent(BaseModel):
    """What a stream yields to have something shown."""

    type: str
    data: Any

    def to_dict(self) -> Json:
        """As plain values."""
        return self.model_dump()

    def to_event_dict(self) -> Json:
        """The same; having this method is what makes an object an event."""
        return self.model_dump()


class OpenWebUIEvent(PipelineEvent):
    """An event that only Open WebUI knows."""


def create_status_event(description: str, done: bool = False, hidden: bool = False) -> PipelineEvent:
    """Say what is being done."""
    data = StatusEventData(description=description, done=done, hidden=hidden)
    return PipelineEvent(type="status", data=data)


def create_notification_event(content: str, notification_type: Mood = "info") -> PipelineEvent:
    """Let a note pop up."""
    return PipelineEvent(
        type="notification", data=NotificationEventData(type=notification_type, content=content)
    )


def create_message_event(content: str) -> OpenWebUIEvent:
    """Append to the message."""
    return OpenWebUIEvent(type="message", data=MessageEventData(content=content))


def create_replace_event(content: str) -> OpenWebUIEvent:
    """Replace the whole message."""
    return OpenWebUIEvent(type="replace", data=MessageEventData(content=content))


def create_chat_completion_event(data: Json) -> OpenWebUIEvent:
    """Hand over a completion."""
    return OpenWebUIEvent(type="chat:completion", data=data)


def create_source_event(source_data: Json) -> OpenWebUIEvent:
    """Cite a source, or show code that was executed."""
    return OpenWebUIEvent(type="source", data=source_data)


def create_details_tag(tool_name: str, summary: str, content: str) -> str:
    """A text that Open WebUI folds: no event, but a part of the message."""
    head = f'<details type="{tool_name}" done="true">'
    return f"{head}\n<summary>{summary}</summary>\n\n{content}\n</details>\n\n"


def default_on_tool_call_start(
    tool_name: str, arguments: Any, tool_call_id: str | None
) -> PipelineEvent | None:
    """What to show when a tool is called; for `on_tool_call_start`."""
    return create_status_event(f"Calling {tool_name} …") if tool_name else None


def default_on_tool_call_end(
    tool_name: str, arguments: Json, result: str, error: bool
) -> list[PipelineEvent | str]:
    """What to show of its end; for `on_tool_call_end`."""
    if error:
        note = create_notification_event(f"{tool_name} failed", "error")
        return [create_status_event(f"Called {tool_name}", done=True, hidden=True), note]
    told = f"```\n{arguments}\n\n{result}\n```"
    done = create_status_event(f"Called {tool_name}", done=True)
    return [done, create_details_tag(tool_name, f"What {tool_name} answered", told)]


def default_on_pipeline_end(result: Any) -> str:
    """What to say at the end: all of the result; for `on_pipeline_end`."""
    return str(result)
