"""Files that callers sent: on disk while their run goes on, swept when a server starts."""

from __future__ import annotations

import asyncio
import fcntl
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, cast

from anyio import to_thread

from ..artifacts import Part
from ..engines import Runner
from ..engines.ongoing import Ongoing, Tell
from ..errors import NotFound, Unavailable
from ..models import Caller, Emit, Json, Result, Run, Upload

LOCK = "lock"
REFUSED = "Files cannot be stored now: the disk refuses."
ALL = 2**40
"""Bytes: more than any artifact has."""
BEGIN = "run://"
ADDRESS = re.compile(r"run://[0-9a-f]+/artifacts/")
Read = Callable[[Caller, str, int], Awaitable[Part]]


class Uploads:
    """A folder for the files of each request, inside one of this server's own.

    Several servers may share a state. Each holds a lock in its own folder as long as it lives, which is how
    another one tells what a crash has left.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: Path | None = None
        self._lock: IO[bytes] | None = None
        self._forgetting: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Remove what servers that are gone have left. Blocks."""
        for left in self._folder.glob("[!.]*"):
            try:
                with (left / LOCK).open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
            except OSError:  # it lives, or somebody else removes it
                continue

    def close(self) -> None:
        """Remove all that is left."""
        if self._own is not None and self._lock is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            self._lock.close()
            self._own = self._lock = None

    def place(self) -> Path:
        """A new folder for the files of one request. Raises `Unavailable` if the disk refuses."""
        try:
            self._own = self._own or self._made()
            place = self._own / token_hex(8)
            place.mkdir(mode=0o700)
        except OSError as error:
            raise Unavailable(REFUSED) from error
        return place

    def forget(self, place: Path) -> None:
        """Remove the files of a request, in the background."""
        task = asyncio.create_task(to_thread.run_sync(shutil.rmtree, place, True))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    def _made(self) -> Path:
        """The folder of this server: it gets its name once it is locked, so that nobody sweeps it before."""
        new = self._folder / f".{token_hex(8)}"
        new.mkdir(mode=0o700, parents=True)
        self._lock = (new / LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return new.rename(self._folder / new.name.removeprefix("."))


class Supplied:
    """Runs calls, with the artifacts that stand in their arguments as files."""

    def __init__(self, engine: Runner, uploads: Uploads, read: Read) -> None:
        """`read` gives the part of an artifact, of at most so many bytes, for a caller and an address."""
        self._engine = engine
        self._uploads = uploads
        self._read = read

    def begin(self, run: Run, emit: Emit, tell: Tell) -> Ongoing | None:
        """See `Runner.begin`."""
        return None if may_hold(run.inputs) else self._engine.begin(run, emit, tell)

    def run(self, run: Run, emit: Emit) -> Awaitable[Result]:
        """See `Engine.run`."""
        return self._supplied(run, emit) if may_hold(run.inputs) else self._engine.run(run, emit)

    async def _supplied(self, run: Run, emit: Emit) -> Result:
        addresses = [each for each in texts_in(run.inputs) if ADDRESS.match(each)]
        if not addresses:
            return await self._engine.run(run, emit)
        place = self._uploads.place()
        try:
            found = {each: await self._file(run.caller, each, place) for each in addresses}
            known = {address: file for address, file in found.items() if file}
            client = run.client.model_copy(update={"uploads": {**run.client.uploads, **known}})
            return await self._engine.run(run.model_copy(update={"client": client}), emit)
        finally:
            self._uploads.forget(place)

    async def _file(self, caller: Caller, address: str, place: Path) -> Upload | None:
        """The artifact as a file; None if there is none, which the pipeline then says."""
        try:
            artifact = (await self._read(caller, address, ALL)).artifact
        except NotFound:
            return None
        path = place / token_hex(8) / (Path(artifact.name).name or "file")
        try:
            path.parent.mkdir()
            await to_thread.run_sync(path.write_bytes, artifact.content)
        except OSError as error:
            raise Unavailable(REFUSED) from error
        return Upload(name=artifact.name, mime_type=artifact.mime_type, path=path, address=address)


def may_hold(inputs: Json) -> bool:
    """True unless no argument can stand for an artifact, which is known of most calls at a glance."""
    for value in inputs.values():
        if type(value) is str:
            if value.startswith(BEGIN):
                return True
        elif isinstance(value, dict | list):
            return True
    return False


def texts_in(inputs: Json) -> Iterator[str]:
    """The texts where files may stand: arguments, their `uri`, and the same in lists."""
    for value in inputs.values():
        for each in cast(list[Any], value) if isinstance(value, list) else [value]:
            text = cast(Json, each).get("uri") if isinstance(each, dict) else each
            if isinstance(text, str):
                yield text
