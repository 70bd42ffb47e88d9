"""Garbage on stdin: it is answered, or passed over, and what comes after it is served."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from clients import command

pytestmark = pytest.mark.anyio

LIMIT = 2**20
CALL = {"jsonrpc": "2.0", "method": "tools/list", "params": {}}


def deep(levels: int) -> bytes:
    return (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"a":'
        + b"[" * levels
        + b"]" * levels
        + b"}}"
    )


GARBAGE: dict[str, tuple[bytes, int | None]] = {
    "nothing": (b"", -32700),
    "blanks": (b"   ", -32700),
    "no JSON": (b"hello", -32700),
    "half of a message": (b'{"jsonrpc": "2.0", "id"', -32700),
    "no UTF-8": (b"\xff\xfe\xfd", -32700),
    "no UTF-8 in a string": (b'{"jsonrpc":"2.0","id":"\xff","method":"ping"}', None),
    "NUL": (b"\x00", -32700),
    "a lone surrogate": (b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}', -32700),
    "a number": (b"1", -32600),
    "null": (b"null", -32600),
    "a string": (b'"ping"', -32600),
    "a list": (b"[]", -32600),
    "a batch": (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
    "an empty object": (b"{}", -32600),
    "no version": (b'{"id":1,"method":"ping"}', -32600),
    "another version": (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
    "a method that is none": (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
    "a null id": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
    "a broken id": (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
    "a list as parameters": (b'{"jsonrpc":"2.0","id":2,"method":"tools/list","params":[1]}', -32600),
    "an unknown method": (b'{"jsonrpc":"2.0","id":3,"method":"no/such"}', -32601),
    "an unknown notification": (b'{"jsonrpc":"2.0","method":"notifications/no"}', None),
    "an answer to nothing": (b'{"jsonrpc":"2.0","id":99,"result":{}}', None),
    "an error to nothing": (b'{"jsonrpc":"2.0","id":99,"error":{"code":1,"message":"m"}}', None),
    "a cancellation of nothing": (
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}',
        None,
    ),
    "a huge number": (b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"ping"}', -32700),
    "many levels": (deep(70), -32600),
    "very many levels": (deep(100_000), None),
    "a line that is too long": (
        b'{"jsonrpc":"2.0","id":1,"method":"ping","x":"' + b"x" * LIMIT + b'"}',
        -32600,
    ),
    "carriage returns": (b"\r\r\r", -32700),
}
HUGE = 100 * 2**20


class Piped:
    """A server on pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.process, self.stdin, self.stdout = process, process.stdin, process.stdout

    async def send(self, line: bytes) -> None:
        self.stdin.write(line + b"\n")
        await self.stdin.drain()

    async def answer(self) -> dict[str, Any]:
        return json.loads(await self.stdout.readline())

    async def ask(self, identity: str) -> list[dict[str, Any]]:
        """What comes up to the answer to a request that is sent now."""
        await self.send(json.dumps({**CALL, "id": identity}).encode())
        came = [await self.answer()]
        while came[-1].get("id") != identity:
            came.append(await self.answer())
        return came

    async def open(self) -> None:
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"},
        }
        await self.send(json.dumps({**CALL, "id": 0, "method": "initialize", "params": params}).encode())
        await self.answer()
        await self.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def memory(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


async def piped(folder: Path, state: Path, *flags: str) -> Piped:
    program = [*command(folder, state, *flags), "--stdio"]
    pipe = asyncio.subprocess.PIPE
    made = Piped(await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe, limit=2**24))
    await made.open()
    return made


async def ended(server: Piped) -> int:
    """Its status once it ended by itself."""
    server.stdin.close()
    with anyio.fail_after(30):
        return await server.process.wait()


async def test_garbage_is_answered_and_nothing_after_it_is_lost(folder: Path, tmp_path: Path) -> None:
    server = await piped(folder, tmp_path, "--line-limit", str(LIMIT))
    wrong: list[str] = []
    for number, (kind, (line, code)) in enumerate(GARBAGE.items()):
        await server.send(line)
        *came, last = await server.ask(f"after-{number}")
        codes = [each["error"]["code"] for each in came if "error" in each]
        if "result" not in last or (code is not None and codes != [code]):
            wrong.append(f"{kind}: {codes}, {str(last)[:200]}")
    assert wrong == []
    assert await ended(server) == 0


async def test_a_line_without_end_takes_bounded_memory(folder: Path, tmp_path: Path) -> None:
    server = await piped(folder, tmp_path, "--line-limit", str(LIMIT))
    await server.ask("before")
    before = server.memory()
    for _ in range(HUGE // 2**20):
        server.stdin.write(b"x" * 2**20)
        await server.stdin.drain()
    await server.send(b"")
    refused, answered = [each for each in await server.ask("after") if "method" not in each]
    assert refused["error"]["message"] == f"The line has more than {LIMIT} bytes." and "result" in answered
    assert server.memory() - before < 20 * 2**20
    assert await ended(server) == 0


async def test_an_end_within_a_line_is_an_end(folder: Path, tmp_path: Path) -> None:
    server = await piped(folder, tmp_path)
    server.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "meth')
    assert await ended(server) == 0


async def test_calls_stuck_in_a_pipeline_do_not_hold_up_the_end(folder: Path, tmp_path: Path) -> None:
    server = await piped(folder, tmp_path)
    params = {"name": "stuck", "arguments": {"seconds": 600}}
    for number in range(8):
        await server.send(
            json.dumps({**CALL, "id": number, "method": "tools/call", "params": params}).encode()
        )
    await server.ask("others")
    assert await ended(server) == 0
