"""The nouns: frozen values that are stored, sent and logged.

Light on purpose: hosts import them too, so they know neither the MCP SDK nor Haystack. A tool is kept in
MCP's own wire form (a JSON object with `name`, `inputSchema`, …).
"""

from .base import CALLS, NAME, Json, Kind, Level, Noun, Recording, RunStatus, State, TaskUse, Verb, Webhook
from .events import (
    Answers,
    Aside,
    Chunk,
    Emit,
    Event,
    Log,
    Notice,
    Progress,
    Question,
    Response,
    StepDone,
    Tokens,
)
from .pipelines import Group, Limits, Manifest, Member, Options, Problem, Source, Status, Version
from .runs import Artifact, Caller, Client, Fault, Replay, Result, Run, Upload

__all__ = [
    "CALLS",
    "NAME",
    "Answers",
    "Artifact",
    "Aside",
    "Caller",
    "Chunk",
    "Client",
    "Emit",
    "Event",
    "Fault",
    "Group",
    "Json",
    "Kind",
    "Level",
    "Limits",
    "Log",
    "Manifest",
    "Member",
    "Notice",
    "Noun",
    "Options",
    "Problem",
    "Progress",
    "Question",
    "Recording",
    "Replay",
    "Response",
    "Result",
    "Run",
    "RunStatus",
    "Source",
    "State",
    "Status",
    "StepDone",
    "TaskUse",
    "Tokens",
    "Upload",
    "Verb",
    "Version",
    "Webhook",
]
