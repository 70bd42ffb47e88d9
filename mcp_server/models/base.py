"""What every value is made of: the base of the nouns, and the words they choose from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

Kind = Literal["wrapper", "yaml", "steps", "dspy"]
State = Literal["running", "loading", "error", "undeployed"]
Verb = Literal["call", "chat", "upload", "read", "prompt", "complete", "step", "batch"]
"""What a run does with its pipeline: call it, chat with it as a model, hand it a file to keep, read a
resource, fill a prompt, complete an argument, execute one step of a step-wise pipeline, call it once for
each of many inputs."""
CALLS: frozenset[Verb] = frozenset({"call", "chat"})
"""The verbs that use a pipeline for what it is there for: counted and recorded."""
RunStatus = Literal["queued", "running", "waiting", "done", "failed", "cancelled"]
Recording = Literal["full", "meta", "none", "steps"]
"""What history keeps of a run: all, all but what went in and came out, nothing; with `steps` also what each
component got and gave."""
Action = Literal["read", "run", "deploy", "admin"]
"""What a caller may be allowed: to see pipelines and its own runs; to run; to change what is deployed; all
that is the operator's alone."""
TaskUse = Literal["auto", "always", "required"]
"""Which calls of a pipeline become tasks if the client knows tasks: those that take long, or every one; with
`required` no other client may call it."""
Webhook = Literal["on_deploy", "on_undeploy", "on_error", "on_run"]
"""What others can be told: a version serves, a pipeline does not any more, something failed, a run ended."""
Level = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
Json = dict[str, Any]
"""A JSON object whose keys are not ours to know: a schema, a tool, a call's arguments."""

NEW = object.__new__
_SLOTS: Json = {**BaseModel.__dict__}
SET_VALUES, SET_KNOWN, SET_EXTRA, SET_PRIVATE = (
    _SLOTS[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)
"""What a model is made of, each set at half the cost of `object.__setattr__`."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a pipeline may be called: also its tool's name, so it keeps to what every client accepts."""


class Noun(BaseModel):
    """Base of every value: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same with other values, which are not validated: pydantic's, at an eighth of the cost."""
        if deep or update is None:
            return super().model_copy(update=update, deep=deep)
        made, known = NEW(type(self)), self.__pydantic_fields_set__
        SET_VALUES(made, {**self.__dict__, **update})
        SET_KNOWN(made, known if known.issuperset(update) else known.union(update))
        SET_EXTRA(made, None)
        SET_PRIVATE(made, None)
        return made
