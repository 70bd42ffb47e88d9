"""Calls of tools that need more than the caller's token allows: which scope to ask for (step-up).

Only callers with a token hear it, because only they can get another one; to all others what they may not use
is unknown. The answer is HTTP's 403 (2025-11-25 and 2026-07-28, authorization, "Scope Challenge Handling").
"""

from __future__ import annotations

from typing import cast

from starlette.responses import Response
from starlette.types import Scope

from ...access.oauth import OAuth, challenge
from ...access.table import TOOLS
from ...models import Action, Caller, Json
from ...store.audit import DENIED, AuditEvent
from .door import refusal


def stepping_up(scope: Scope, message: Json) -> Response | None:
    """The refusal of a call that needs another token; None for everything else."""
    oauth, caller = cast(OAuth | None, scope["state"].get("oauth")), cast(Caller, scope["state"]["caller"])
    if oauth is None or not oauth.knows(caller) or message.get("method") != "tools/call":
        return None
    params: Json = message.get("params") or {}
    need: Action = TOOLS.get(str(params.get("name")), "run")
    if caller.may(need):
        return None
    peer = (scope.get("client") or ("",))[0]
    scope["state"]["denied"](AuditEvent(str(params.get("name")), caller.name, "mcp", peer, outcome=DENIED))
    text = f"This needs the scope {oauth.scope_for(need)}."
    answer = refusal(403, text)
    about = f'error="insufficient_scope", error_description="{text}"'
    answer.headers["WWW-Authenticate"] = challenge(scope, about, need)
    return answer
