"""What models read and wrote, as they tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..models import Tokens


def tokens_in(usage: Any) -> Tokens | None:
    """As OpenAI's clients tell it, or as others do; None if the model did not say."""
    if not isinstance(usage, Mapping):
        return None
    told = cast(Mapping[str, Any], usage)
    read = told.get("prompt_tokens", told.get("input_tokens"))
    written = told.get("completion_tokens", told.get("output_tokens"))
    known = isinstance(read, int) and isinstance(written, int)
    return Tokens(input=read, output=written) if known else None


def tokens_of(outputs: Any) -> Tokens | None:
    """Of all replies in the outputs of a component; None if there are none, or none tells."""
    given: Mapping[str, Any] = cast(Any, outputs) if isinstance(outputs, Mapping) else {}
    replies, metas = (_listed(given.get(name)) for name in ("replies", "meta"))
    metas = metas or [getattr(reply, "meta", None) for reply in replies]
    told = [tokens_in(cast(Mapping[str, Any], meta).get("usage")) for meta in metas if isinstance(meta, dict)]
    found = [tokens for tokens in told if tokens]
    if not found:
        return None
    return Tokens(input=sum(each.input for each in found), output=sum(each.output for each in found))


def _listed(value: Any) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []
