"""What a person meets while a call goes on: progress on stderr, streamed text on stdout, questions."""

from __future__ import annotations

import sys
from types import TracebackType

import click
import mcp_types as types
import orjson
from mcp.client import ClientRequestContext

from ..models.meta import TEXT
from . import asking
from .printing import Bar, output


class Following:
    """Hears one call. Entered around the whole of it.

    `stream` prints text as it comes; with `as_json` a line of JSON for each piece.
    """

    def __init__(self, doing: str, *, stream: bool = False, as_json: bool = False) -> None:
        self._bar = Bar(doing)
        self._stream = stream
        self._as_json = as_json
        self._source: str | None = None
        self.streamed = False
        """True once text was printed."""
        self.asks = sys.stdin.isatty() and sys.stderr.isatty()
        """True if there is somebody to ask."""

    def __enter__(self) -> Following:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self.streamed and not self._as_json:
            click.echo()

    async def hear(self, message: object) -> None:
        """Show a notification of the server."""
        if not isinstance(message, types.ProgressNotification):
            return
        told = message.params
        if (about := (told.meta or {}).get(TEXT)) is not None:
            self.text(told.message or "", about.get("source"))
        else:
            self.advance(told.progress, told.total, told.message)

    def advance(self, done: float, total: float | None, message: str | None) -> None:
        """Show how far it is."""
        self._bar.advance(done, total, message)

    async def ask(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        """Ask whoever sits at the terminal."""
        self._bar.stop()
        try:
            return asking.ask(params)
        finally:
            self._bar.start()

    def text(self, text: str, source: str | None) -> None:
        """Print a piece of streamed text, if that is wanted."""
        if not self._stream:
            return
        self._bar.stop()
        if self._as_json:
            click.echo(orjson.dumps({"text": text} | ({"source": source} if source else {})))
        else:
            if source != self._source and source:
                text = f"\n{source}: {text}" if self.streamed else f"{source}: {text}"
            click.echo(output(text), nl=False)
        sys.stdout.flush()
        self._source, self.streamed = source, True
