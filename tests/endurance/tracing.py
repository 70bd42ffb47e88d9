"""A process stopped at each of its system calls (Linux, ptrace): counted, and killed before one of them."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
LIBC.ptrace.restype = ctypes.c_long
SEIZE, INTERRUPT, GO_ON, LISTEN, LOOK = 0x4206, 0x4207, 24, 0x4208, 0x420E
OPTIONS = 0x1 | 0x8 | 0x100000
"""Mark stops at system calls, follow new threads, and let the process die with us."""
ANY_THREAD, OURS = 0x40000000, 0x20000000
CALL = signal.SIGTRAP | 0x80
EVENT_STOP = 128
STOPPING = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
LIMIT = 60.0


class Forbidden(Exception):
    """This machine does not let one process trace another."""


class Trace(threading.Thread):
    """Follows every thread of a process until it ends; entered once it does."""

    def __init__(self, pid: int, fatal: int | None = None) -> None:
        """The process is killed before the system call number `fatal`, counted from 1."""
        super().__init__(name="trace", daemon=True)
        self.calls = 0
        """System calls that were begun."""
        self._pid = pid
        self._fatal = fatal
        self._known: set[int] = set()
        self._seized = threading.Event()
        self._error: OSError | None = None

    def __enter__(self) -> Trace:
        self.start()
        assert self._seized.wait(LIMIT)
        if isinstance(self._error, PermissionError):
            raise Forbidden from self._error
        assert self._error is None, self._error
        return self

    def __exit__(self, *error: object) -> None:
        """Wait until the process is gone; somebody has to end it."""
        self.join(LIMIT)
        assert not self.is_alive(), "the traced process does not end"

    def run(self) -> None:
        """Only the thread that seized a process may follow it."""
        try:
            self._seize()
        except OSError as error:
            self._error = error
            return
        finally:
            self._seized.set()
        while True:
            try:
                thread, status = os.waitpid(-1, ANY_THREAD | OURS)
            except ChildProcessError:
                return
            if os.WIFSTOPPED(status):
                self._stopped(thread, status)

    def _seize(self) -> None:
        """All threads, also those that begin meanwhile."""
        while new := self._threads() - self._known:
            for thread in new:
                ask(SEIZE, thread, 0, OPTIONS)
                ask(INTERRUPT, thread)
            self._known |= new

    def _threads(self) -> set[int]:
        return {int(each.name) for each in Path(f"/proc/{self._pid}/task").iterdir()}

    def _stopped(self, thread: int, status: int) -> None:
        cause, event = os.WSTOPSIG(status), status >> 16
        try:
            if cause == CALL:
                self._called(thread)
                ask(GO_ON, thread)
            elif event == EVENT_STOP and cause in STOPPING:
                ask(LISTEN, thread)
            else:
                ask(GO_ON, thread, 0, 0 if event else cause)
        except ProcessLookupError:
            pass  # it was killed meanwhile

    def _called(self, thread: int) -> None:
        """A call begins or ends."""
        told = ctypes.create_string_buffer(96)
        ask(LOOK, thread, len(told), ctypes.addressof(told))
        if told.raw[0] != 1:
            return
        self.calls += 1
        if self.calls == self._fatal:
            os.kill(self._pid, signal.SIGKILL)


def ask(request: int, thread: int, address: int = 0, data: int = 0) -> None:
    """One request to the kernel. Raises `OSError`."""
    ctypes.set_errno(0)
    if LIBC.ptrace(request, thread, address, data) == -1 and ctypes.get_errno():
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
