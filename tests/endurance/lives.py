"""Lives of a server: real processes over HTTP that begin quickly and are killed, one after the other."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from canaries import CANARIES
from clients import ADDRESS, command

LIMIT = 60.0
"""Seconds after which something that should happen will not happen any more."""
ERA = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": ERA,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "endurance", "version": "1"},
}
KEY = "haystack-mcp-server/idempotency-key"
RUN = "haystack-mcp-server/run"


class Refused(Exception):
    """The server said no, and why."""


class Life:
    """One server process that answers."""

    def __init__(self, pid: int, output: Path, process: subprocess.Popen[bytes] | None = None) -> None:
        """`output` is the file it writes to, `process` who must be waited for."""
        self.pid = pid
        self._output = output
        self._process = process
        self._gone = os.pidfd_open(pid)
        self.alive = True
        self.url = self._address()
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=LIMIT)

    def tool(self, name: str, /, **arguments: Any) -> Any:
        """What a tool answers. Raises `Refused`, and `httpx.TransportError` if the server dies."""
        return self.called(name, arguments)["structuredContent"]

    def called(self, name: str, arguments: Mapping[str, Any], key: str | None = None) -> dict[str, Any]:
        """The whole result of a call at `/mcp/manage`, where every tool is."""
        params = {"name": name, "arguments": arguments, "_meta": META | ({KEY: key} if key else {})}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": ERA,
            "mcp-method": "tools/call",
            "mcp-name": name,
        }
        response = self.http.post("/mcp/manage", json=body, headers=headers)
        text = response.text
        if response.headers["content-type"].startswith("text/event-stream"):
            text = text.rpartition("data: ")[2]
        answer = json.loads(text)
        if "error" in answer:
            raise Refused(answer["error"]["message"])
        if answer["result"].get("isError"):
            raise Refused(answer["result"]["content"][0]["text"])
        return answer["result"]

    def run(self, name: str, /, **arguments: Any) -> Any:
        """What a pipeline gives."""
        return self.tool("run_pipeline", name=name, arguments=arguments)["result"]

    def status(self) -> dict[str, Any]:
        """What GET /status tells."""
        return self.http.get("/status").json()

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        if self.alive:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._gone, signal.SIGKILL)
            self.ended()

    def stop(self) -> None:
        """Ask it to end, and wait until it is gone."""
        signal.pidfd_send_signal(self._gone, signal.SIGTERM)
        self.ended()

    def ended(self) -> None:
        """Wait for the end of the process."""
        assert select.select([self._gone], [], [], LIMIT)[0], "the server does not end"
        if self._process is not None:
            self._process.wait()
        os.close(self._gone)
        self.http.close()
        self.alive = False
        CANARIES.look_in(self._output)

    def said(self) -> str:
        """The end of what it wrote."""
        return self._output.read_text()[-2000:]

    def _address(self) -> str:
        until = time.monotonic() + LIMIT
        while not (found := ADDRESS.search(self._output.read_text())):
            dead = select.select([self._gone], [], [], 0.005)[0]
            assert not dead and time.monotonic() < until, f"it does not start: {self.said()}"
        return found[0]


class Lives:
    """Begins lives: forked from a process that has all modules, or started as a user does."""

    def __init__(self, folder: Path) -> None:
        """`folder` is for what they write to their output."""
        self._folder = folder
        self._numbers = count()
        self._born: list[Life] = []
        script = Path(__file__).with_name("nursery.py")
        self._nursery = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._nursery.stdout and self._nursery.stdout.readline() == "ready\n"

    def begin(self, folder: Path, state: Path, *flags: str) -> Life:
        """A server that runs pipelines in its own process."""
        assert self._nursery.stdin and self._nursery.stdout
        output = self._output()
        arguments = [str(folder), "--state", str(state), "--port", "0", "--engine", "local", *flags]
        self._nursery.stdin.write(json.dumps([str(output), *arguments]) + "\n")
        self._nursery.stdin.flush()
        return self._life(int(self._nursery.stdout.readline()), output)

    def start(self, folder: Path, state: Path, *flags: str) -> Life:
        """The program as a user starts it, with its worker processes."""
        output = self._output()
        with output.open("wb") as file:
            program = command(folder, state, "--port", "0", *flags)
            process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        return self._life(process.pid, output, process)

    def end(self) -> None:
        """End all that is left."""
        for life in self._born:
            life.kill()
        assert self._nursery.stdin and self._nursery.stdout
        self._nursery.stdin.close()
        self._nursery.wait(LIMIT)
        self._nursery.stdout.close()

    def _output(self) -> Path:
        return self._folder / f"{next(self._numbers)}.log"

    def _life(self, pid: int, output: Path, process: subprocess.Popen[bytes] | None = None) -> Life:
        output.touch()
        life = Life(pid, output, process)
        self._born = [*(each for each in self._born if each.alive), life]
        return life
