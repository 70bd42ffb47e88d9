"""The express lane as ASGI middleware, and what it remembers of a connection: heads that were plain.

A client sends the same head with each of its calls. Once one has come all the way here, guard, authentication
and limits have judged it; the listener may then ask the lane itself for the next message behind the same head
on the same connection (`Judged`), until something changes that they judge by.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...access import Access
from ...limits.rates import Rates, Standing
from ...models import Caller
from .begun import Begun, hand_over, has_begun, release
from .door import read, replay
from .lane import Answer, Lane, Tell, headers_of
from .plain import Head, head_of

NO_STORE = (b"cache-control", b"no-store")
"""What the guard adds to an answer that does not say how long it may be kept."""
LARGEST = 3 * 512 * 1024
"""Bytes of a body that is read here; larger ones, and those that do not tell, are held once only."""
HEADS = 16
"""Heads that are remembered of a connection."""
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
"""What of a head differs from call to call."""


class Judged:
    """A head that was let through: messages behind it are the lane's to answer."""

    def __init__(self, lane: Lane, head: Head, scope: Scope, judge: Judge) -> None:
        headers = headers_of(head.session) + ([] if head.session else [NO_STORE])
        self._said = b"".join(b"%b: %b\r\n" % each for each in headers)
        caller: Caller = scope["state"]["caller"]
        self._rules = judge.rules(caller)
        self._until = judge.until(caller)
        self.counted: tuple[str, Standing | None] = ("", None)
        """Whose the latest message is, and how that caller stands then, if it has limits."""
        self._lane = lane
        self._head = head
        self._caller = caller
        self._shared = lane.shared(scope["headers"])
        self._judge = judge
        self._as = judge.state()

    def holds(self) -> bool:
        """False once it has to be judged again."""
        judge = self._judge
        if judge.state() is not self._as or self._lane.server.stopping:
            return False
        return time.time() < self._until

    @property
    def said(self) -> bytes:
        """What is said of the answer, as headers."""
        standing = self.counted[1]
        return self._said if standing is None else self._said + standing.written()

    def counts(self) -> bool:
        """Count a message; False if it is one too many."""
        if not self._rules:
            return True
        name = self._caller.name
        standing = self._judge.counted(name, self._rules)
        self.counted = (name, standing)
        return standing.after is None

    def ask(self, body: bytes, request_id: str, tell: Tell) -> Answer | Begun | None:
        """See `Lane.ask`."""
        return self._lane.ask(body, self._head, self._caller, self._shared, request_id, tell)


class Judge:
    """What callers are judged by, and what they are counted with."""

    def __init__(self, access: Access, rates: Rates) -> None:
        self.state = access.judging
        """Gives another object whenever a judgement has to be made again; None if it cannot be kept."""
        self.until = access.until
        """When the credential of a caller ends that was good now; 0 if that cannot be told."""
        self.rules, self.counted = rates.rules, rates.counted
        self._rates = rates

    def keeps(self, caller: Caller) -> bool:
        """True if what was found of this caller is good for its next message, too."""
        return self.state() is not None and self._rates.at_hand and time.time() < self.until(caller)


class Express:
    """ASGI middleware behind guard and authentication: what the lane does not answer goes to the routes."""

    def __init__(self, app: ASGIApp, *, lane: Lane, judge: Judge) -> None:
        self._app = app
        self._lane = lane
        self._judge = judge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not self._lane.serves(scope):
            await self._app(scope, receive, send)
            return
        size = dict(scope["headers"]).get(b"content-length", b"")
        if has_begun(scope) or not size.isdigit() or len(size) > 9 or int(size) > LARGEST:
            await self._app(scope, receive, send)
            return
        try:
            body = await read(receive)
        except HTTPException as refused:  # the routes know how it is told
            await self._app(scope, raising(refused), send)
            return
        head = head_of(scope["headers"])
        answer = await self._answer(body, head, scope) if head else None
        if head is None or answer is None:
            self._lane.cancel(body, scope)
            whole: Message = {"type": "http.request", "body": body, "more_body": False}
            try:
                await self._app(scope, replay(whole, receive), send)
            finally:
                release(scope)
            return
        self._remember(head, scope)
        headers = [*headers_of(head.session), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, body: bytes, head: Head, scope: Scope) -> Answer | None:
        """What the lane answers; None if the SDK has to, which then knows of a run that was begun."""
        told: asyncio.Future[Answer | Begun | None] = asyncio.get_running_loop().create_future()

        def tell(answer: Answer | Begun | None) -> None:
            if not told.done():
                told.set_result(answer)

        state = scope["state"]
        shared = self._lane.shared(scope["headers"])
        going = self._lane.ask(body, head, state["caller"], shared, state["request_id"], tell)
        if not isinstance(going, Begun):
            return going
        try:
            answer = await told
        except asyncio.CancelledError:
            going.abandon()
            raise
        if isinstance(answer, Begun):
            hand_over(answer, scope)
            return None
        return answer

    def _remember(self, head: Head, scope: Scope) -> None:
        """Let the listener ask by itself from now on, if nothing has to be judged each time."""
        state: dict[str, Any] = scope["state"]
        raw, connection = state.get("head"), state.get("connection")
        if raw is None or connection is None or scope["query_string"] or not (length := LENGTH.search(raw)):
            return
        told = {b"origin", b"x-request-id"}
        if not self._judge.keeps(state["caller"]) or not told.isdisjoint(dict(scope["headers"])):
            return
        known = cast(dict[tuple[bytes, bytes], Judged], connection["known"])
        if len(known) >= HEADS:
            known.clear()
        known[raw[: length.start(1)], raw[length.end(1) :]] = Judged(self._lane, head, scope, self._judge)


def raising(error: HTTPException) -> Receive:
    """A `receive` that refuses the body."""

    async def refuse() -> Message:
        raise error

    return refuse
