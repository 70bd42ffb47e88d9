"""A program on a terminal, for tests: what it shows is read, what a person would type is written."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from canaries import CANARIES

LIMIT = 60.0
"""Seconds a program may take until it shows what is waited for."""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A program whose stdin, stdout and stderr are one terminal."""

    def __init__(self, command: Sequence[str], columns: int, environment: Mapping[str, str]) -> None:
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            command, stdin=inner, stdout=inner, stderr=inner, env=environment, start_new_session=True
        )
        os.close(inner)
        self._raw = b""
        self._seen = 0

    @property
    def screen(self) -> str:
        """All that was shown, without colours and cursor movements."""
        return CONTROL.sub("", self._raw.decode(errors="replace"))

    def until(self, text: str) -> None:
        """Read until it shows the text, after what was waited for before."""
        end = time.monotonic() + LIMIT
        while (found := self.screen.find(text, self._seen)) < 0:
            assert time.monotonic() < end and self._read(), f"{text!r} is not in {self.screen!r}"
        self._seen = found + len(text)

    def type(self, text: str) -> None:
        """Type the text; `\\x04` is Ctrl-D."""
        os.write(self._terminal, text.encode())

    def status(self) -> int:
        """Read to the end; gives the exit status."""
        while self._read():
            pass
        return self._process.wait(LIMIT)

    def close(self) -> None:
        """End the program if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._terminal)
        CANARIES.look(self._raw, "the terminal")

    def _read(self) -> bool:
        """Take what it shows; False at the end, or if it shows nothing for too long."""
        with suppress(OSError):  # EIO: the program has ended
            if select.select([self._terminal], [], [], LIMIT)[0]:
                more = os.read(self._terminal, 65536)
                self._raw += more
                return bool(more)
        return False


@contextmanager
def terminal(command: Sequence[str], columns: int = 100, **environment: str) -> Iterator[Terminal]:
    """Run the command on a terminal of its own width until the block ends."""
    given = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    made = Terminal(command, columns, {**given, "TERM": "xterm", **environment})
    try:
        yield made
    finally:
        made.close()
