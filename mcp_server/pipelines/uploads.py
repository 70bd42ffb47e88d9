"""Files that came with a call: found by their address, and handed over as the type that a pipeline wants."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import anyio.to_thread

from ..models import Json, Upload
from .context import current

FILES = frozenset({"uri", "data", "mime_type"})
"""Properties that make an object in a schema a file (`values.FileInput`)."""
ADDRESSES = ("upload:", "run://")
"""How the address of a file begins: one that came with the call, or an artifact."""


class UploadFile:
    """A file that came with the call; the interface is that of Starlette's and FastAPI's `UploadFile`.

    It is open while the call runs, and gone afterwards. `size` is in bytes.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        size: int | None = None,
        filename: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.file = file
        self.size = size
        self.filename = filename
        """As it was sent, but always relative and inside: `docs/a.txt`."""
        self.headers = headers or {}

    @property
    def content_type(self) -> str | None:
        """Its MIME type."""
        return self.headers.get("content-type")

    async def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes from where it stands; all of them without."""
        return await anyio.to_thread.run_sync(self.file.read, size)

    async def write(self, data: bytes) -> None:
        """Not for an uploaded file, which is open for reading."""
        await anyio.to_thread.run_sync(self.file.write, data)

    async def seek(self, offset: int) -> None:
        """Go on reading from there."""
        await anyio.to_thread.run_sync(self.file.seek, offset)

    async def close(self) -> None:
        """Close it before the call ends."""
        self.file.close()


def sent(address: str) -> Upload:
    """The file that came with this call under an address. Raises `ValueError` if none did."""
    upload = current.get().upload(address)
    if upload is None:
        raise ValueError("there is no file at this address; send it with the call")
    return upload


def lent(kind: type[Any], name: str, mime_type: str | None, source: Path | bytes) -> Any:
    """An open file as `kind`: our `UploadFile`, or the one of Starlette or FastAPI; closed with the call."""
    file = BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    current.get().closing.callback(file.close)
    headers: Any = {"content-type": mime_type} if mime_type else {}
    if kind is not UploadFile:  # then its module has imported this one
        headers = sys.modules["starlette.datastructures"].Headers(headers)
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    return kind(file, size=size, filename=name, headers=headers)


def placed(name: str, content: bytes) -> Path:
    """A file with that content, which is gone when the call has ended."""
    folder = current.get().closing.enter_context(TemporaryDirectory(prefix="mcp-server-"))
    path = Path(folder) / (Path(name).name or "file")
    path.write_bytes(content)
    return path


def is_upload_file(annotation: Any) -> bool:
    """True for our `UploadFile`, Starlette's and FastAPI's."""
    home = getattr(annotation, "__module__", "").partition(".")[0]
    named = getattr(annotation, "__name__", None) == UploadFile.__name__
    return annotation is UploadFile or (named and home in ("starlette", "fastapi"))


def takes_file(schema: Json) -> bool:
    """True if values of this schema are files; a list of files is none."""
    arms: list[Json] = [schema, *schema.get("anyOf", [])]
    return any(arm.get("properties", {}).keys() >= FILES or "contentEncoding" in arm for arm in arms)
