"""The fork server: imports Haystack once, then forks hosts on request. A process of its own, one thread.

It reads lines from its control socket: `fork LIMITS` (JSON) with the host's end of a socket attached, or
`kill PID`; and writes JSON lines: {"forked": pid} and {"ended": pid, "status": n}. When the control
socket closes it kills every host and exits, so that nothing outlives the front, not even after `kill -9`.
Started as `python -m mcp_server.engines.hosts.forkserver FD`; the environment is the hosts' environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import FrameType

import orjson

from ...models import Limits
from ..confinement.rising import confine
from .output import Output
from .worker import serve

PRELOAD = (
    "haystack.components.agents.agent",
    "haystack.components.builders.answer_builder",
    "haystack.components.builders.chat_prompt_builder",
    "haystack.components.builders.prompt_builder",
    "haystack.components.converters.txt",
    "haystack.components.generators.chat.mock",
    "haystack.components.generators.chat.openai",
    "haystack.components.joiners.document_joiner",
    "haystack.components.preprocessors.document_cleaner",
    "haystack.components.preprocessors.document_splitter",
    "haystack.components.retrievers.in_memory.bm25_retriever",
    "haystack.components.retrievers.in_memory.embedding_retriever",
    "haystack.components.routers.conditional_router",
    "haystack.components.writers.document_writer",
    "haystack.core.super_component",
    "haystack.document_stores.in_memory.document_store",
    "haystack.tools",
    "mcp_server.pipelines.wrapper",
    "mcp_server.pipelines.yaml",
    "uvloop",
)
"""What nearly every pipeline imports; each would cost every host its time and memory again."""

PR_SET_PDEATHSIG = 1


class ForkServer:
    """Forks, kills and reaps."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._hosts: dict[int, Path | None] = {}
        """With the folder for temporary files of those that have one."""
        self._sweepers: set[int] = set()
        self._descriptors: list[int] = []
        """Came with requests that have not come as a whole."""
        self._buffer = b""
        self._wake, wake = socket.socketpair()
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, wake_up)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._inherited = (control, self._wake, wake)
        self._outputs: dict[int, Output] = {}
        """What sandboxed hosts print, by the descriptor to read."""
        self._poll = select.poll()
        for each in (control, self._wake):
            self._poll.register(each, select.POLLIN)

    def run(self) -> None:
        """Serve until the control socket closes."""
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            for descriptor in ready & self._outputs.keys():
                if not self._outputs[descriptor].pass_on():
                    self._poll.unregister(descriptor)
                    os.close(self._outputs.pop(descriptor).reads)
            if self._wake.fileno() in ready:
                self._wake.recv(4096)
                self._reap()
            if self._control.fileno() in ready and not self._obey():
                break
        for pid in self._hosts:
            end(pid)
        for pid, temporary in self._hosts.items():
            if temporary is not None:
                os.waitpid(pid, 0)
                self._sweep(temporary)

    def _obey(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, 4096, 8)
        except ConnectionResetError:  # the front ended with words of ours unread
            return False
        self._descriptors += descriptors
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            word, _, rest = line.partition(b" ")
            if word == b"fork":
                self._fork(self._descriptors.pop(0), Limits.model_validate_json(rest))
            elif int(rest) in self._hosts:
                end(int(rest))
        return bool(data)

    def _fork(self, descriptor: int, limits: Limits) -> None:
        sandboxed = limits.walls is not None and limits.walls.sandbox
        temporary = Path(tempfile.mkdtemp(prefix="mcp-server-host-")) if sandboxed else None
        output = Output() if sandboxed else None
        pid = os.fork()
        if pid == 0:
            if output is not None:
                output.become()
            self._become(socket.socket(fileno=descriptor), limits, temporary)
        os.close(descriptor)
        if output is not None:
            os.close(output.writes)
            self._outputs[output.reads] = output
            self._poll.register(output.reads, select.POLLIN)
        self._hosts[pid] = temporary
        self._say({"forked": pid})

    def _become(self, its_end: socket.socket, limits: Limits, temporary: Path | None) -> None:
        """In the child: forget the server, put up walls, then work as a host; never returns."""
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in self._inherited:
                each.close()
            for each in self._outputs:
                os.close(each)
            die_with_parent()
            if limits.walls is not None:
                confine(limits.walls, temporary)
        except BaseException as error:
            sys.stderr.write(f"a host could not begin: {error!r}\n")
            os._exit(71)  # a child that is half a server, or half walled, must not go on
        serve(its_end, limits)

    def _reap(self) -> None:
        for pid in list(self._hosts):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                end(pid)  # what it started; until it is waited for, nobody else can get its id
                _, status = os.waitpid(pid, 0)
                self._sweep(self._hosts.pop(pid))
                self._say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})
        self._sweepers -= {pid for pid in self._sweepers if os.waitpid(pid, os.WNOHANG)[0]}

    def _sweep(self, temporary: Path | None) -> None:
        """Remove what a host left behind, in a process of its own: that may be a lot."""
        if temporary is not None and (pid := os.fork()):
            self._sweepers.add(pid)
        elif temporary is not None:
            for each in self._inherited:
                each.close()
            shutil.rmtree(temporary, ignore_errors=True)
            os._exit(0)

    def _say(self, words: dict[str, int]) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(orjson.dumps(words) + b"\n")


def wake_up(number: int, frame: FrameType | None) -> None:
    """A child ended: the wakeup descriptor tells the loop, this only keeps the signal from being ignored."""


def end(pid: int) -> None:
    """Kill a host and what it started: it leads a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends, should the server itself be killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def preload() -> None:
    """Import what hosts will need; what is not installed is left out."""
    for name in PRELOAD:
        with contextlib.suppress(ImportError):
            import_module(name)
    gc.collect()
    gc.freeze()  # shared pages stay shared: the collector does not write into them


def main() -> None:
    preload()
    ForkServer(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
