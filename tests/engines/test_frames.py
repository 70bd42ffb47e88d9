"""What front and host say to each other arrives whole, in order, and as it was meant."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_server.content import render
from mcp_server.engines.hosts.frames import Kind, pack_result, pack_run, unpack_result, unpack_run
from mcp_server.engines.hosts.telling import Telling
from mcp_server.engines.hosts.wire import HEADER, READ, Wire, connect, pair
from mcp_server.engines.ongoing import Home
from mcp_server.models import Artifact, Caller, Chunk, Client, Fault, Replay, Result, Run, StepDone, Upload

pytestmark = pytest.mark.anyio

SIZES = (0, 5, READ - HEADER.size, 1, READ - HEADER.size + 1, READ, 3 * READ + 7, 2_000_000, 3)


def run(**about: Any) -> Run:
    return Run(
        **{"id": "1", "pipeline": "p", "version": 2, "digest": "d", "inputs": {}, "timeout": 3, **about}
    )


STEP = StepDone(component="a", visit=1, began=0, started=1.5, seconds=2, outputs="{}", changed={"b": [1]})
UPLOAD = Upload(name="a.txt", path=Path("a.txt"), address="upload:1")


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"inputs": {"a": [1, {"b": "ü"}]}, "verb": "chat"},
        {"inputs": {"large": 2**70, "exact": 2**63 + 1, "odd": "\ud800"}},
        {"caller": Caller(name="ada", origin="rest")},
        {"caller": Caller(name="ada", origin="rest", scopes=frozenset({"read", "run:p"})), "timeout": 0.5},
        {"client": Client(capabilities={"roots": {}}, headers={"a": "b"}, uploads={"upload:1": UPLOAD})},
        {"replay": Replay(steps=(STEP,), changes={"a": {"b": 1}})},
    ],
)
def test_a_run_arrives_as_it_was(about: dict[str, Any]) -> None:
    sent = run(**about)
    assert unpack_run(b"".join(pack_run(sent))) == sent
    next = sent.model_copy(update={"id": "2", "inputs": {"b": 1}, "started": 7.25})
    assert unpack_run(b"".join(pack_run(next))) == next


@pytest.mark.parametrize(
    "result",
    [
        Result(content=b"[1]"),
        Result(content=b"[1]", structured=b"{}"),
        Result(content=b"[]", structured=b"", is_error=True, refused=True),
        render("a" * 100_000),
        render("\u00fc" * 50_000).model_copy(update={"partial": True}),
        Result(content=render("a" * 99_999).content, structured=render("b" * 99_999).structured),
        render({"result": "a" * 100_000}),
        Result(content=b"[1]", partial=True, fault=Fault(code=-1, message="no", data={"a": 1})),
        Result(
            content=b"[]",
            artifacts=(
                Artifact(name="a", mime_type="b", content=b"c" * 9),
                Artifact(name="d", mime_type="e"),
            ),
        ),
    ],
)
def test_a_result_arrives_as_it_was(result: Result) -> None:
    assert unpack_result(bytearray(b"".join(pack_result(result)))) == result


class Heard:
    """What came over a wire."""

    def __init__(self) -> None:
        self.frames: list[tuple[Kind, int, bytes]] = []
        self.gone = asyncio.Event()
        self.wire = Wire(self.hear, self.gone.set)

    def hear(self, kind: Kind, number: int, payload: bytes | bytearray) -> None:
        self.frames.append((kind, number, bytes(payload)))


def payload(number: int, size: int) -> bytes:
    return bytes([number]) * size


async def test_frames_of_every_size_arrive_whole_and_in_order() -> None:
    ours, theirs = pair()
    heard, other = Heard(), Heard()
    await connect(ours, heard.wire)
    await connect(theirs, other.wire)
    for number, size in enumerate(SIZES):
        text = payload(number, size)
        other.wire.send(Kind.EVENT, number, text[:3], b"", text[3:])
    other.wire.close()
    with anyio.fail_after(20):
        await heard.gone.wait()
    assert heard.frames == [(Kind.EVENT, number, payload(number, size)) for number, size in enumerate(SIZES)]
    other.wire.send(Kind.EVENT, 1)  # on a closed wire nothing happens


@pytest.mark.parametrize("piece", [1, 7, READ - 1, READ + 1])
async def test_frames_arrive_in_whatever_pieces_they_come(piece: int) -> None:
    sizes = SIZES if piece > 100 else (0, 5, 40)
    frames = [(Kind.ENDED, number, payload(number, size)) for number, size in enumerate(sizes)]
    stream = b"".join(HEADER.pack(len(text), kind, number) + text for kind, number, text in frames)
    ours, theirs = socket.socketpair()
    heard = Heard()
    await connect(ours, heard.wire)

    def write() -> None:
        with theirs:
            for start in range(0, len(stream), piece):
                theirs.sendall(stream[start : start + piece])

    with anyio.fail_after(20):
        await asyncio.to_thread(write)
        await heard.gone.wait()
    assert heard.frames == frames


async def test_events_from_threads_and_from_the_event_loop_keep_their_order() -> None:
    ours, theirs = pair()
    heard, other = Heard(), Heard()
    await connect(ours, heard.wire)
    await connect(theirs, other.wire)
    telling = Telling(other.wire, 4, Home())

    def tell(name: str) -> None:
        for number in range(1000):
            telling.emit(Chunk(text=str(number), source=name))

    threads = [threading.Thread(target=tell, args=(name,)) for name in "ab"]
    with anyio.fail_after(30):
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        telling.emit(Chunk(text="last"))
        other.wire.close()
        await heard.gone.wait()
    told = [Chunk.model_validate_json(text) for _, _, text in heard.frames]
    for name in "ab":
        assert [each.text for each in told if each.source == name] == [*map(str, range(1000))]
    assert told[-1].text == "last" and len(told) == 2001
