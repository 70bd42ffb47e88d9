"""A multipart form as it comes in: texts in memory, files on disk, all of it bounded."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import IO

from anyio import to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ...errors import Invalid, Unavailable
from ...models import Upload

PARTS = 1000
TEXTS = 4 * 2**20
"""Bytes of all texts of a form."""
HEADERS = 8 * 1024
"""Bytes of the headers of a part."""
LONGEST = 200
"""Characters of a file name."""
_ODD = re.compile(r"[\x00-\x1f\x7f]")


class Form:
    """What a form held, by the names of its parts."""

    def __init__(self, boundary: bytes, place: Path) -> None:
        self.texts: dict[str, list[str]] = {}
        self.files: dict[str, list[Upload]] = {}
        self.complete = False
        self._place = place
        self._count = self._size = self._head = 0
        self._name = self._filename = ""
        self._field, self._value = b"", b""
        self._headers: dict[str, bytes] = {}
        self._text = bytearray()
        self._file: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._take_field,
                "on_header_value": self._take_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._open,
                "on_part_data": self._take,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def write(self, data: bytes) -> None:
        """Take the next bytes. Blocks; raises `Invalid`, HTTP's 413, and OSError."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise Invalid("The form cannot be read: it is not multipart/form-data.") from None

    def close(self) -> None:
        """Close a file that was left open."""
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._count, self._head = self._count + 1, 0
        self._headers, self._text, self._digest = {}, bytearray(), hashlib.sha256()
        if self._count > PARTS:
            raise HTTPException(413, f"The form has more than {PARTS} parts.")

    def _take_field(self, data: bytes, start: int, end: int) -> None:
        self._field += self._bounded(data[start:end])

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._bounded(data[start:end])

    def _bounded(self, piece: bytes) -> bytes:
        self._head += len(piece)
        if self._head > HEADERS:
            raise Invalid("A part of the form has too long headers.")
        return piece

    def _end_header(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value
        self._field, self._value = b"", b""

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        if b"name" not in options:
            raise Invalid("A part of the form has no name.")
        self._name = options[b"name"].decode("utf-8", "replace")
        if b"filename" not in options:
            return
        self._filename = safe_name(options[b"filename"].decode("utf-8", "replace"))
        path = self._place / str(self._count) / Path(self._filename).name
        path.parent.mkdir(mode=0o700)
        self._file = path.open("xb")

    def _take(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._file is not None:
            self._file.write(piece)
            self._digest.update(piece)
            return
        self._size += len(piece)
        if self._size > TEXTS:
            raise HTTPException(413, f"The texts of the form have more than {TEXTS} bytes.")
        self._text += piece

    def _end(self) -> None:
        if self._file is None:
            try:
                self.texts.setdefault(self._name, []).append(self._text.decode())
            except UnicodeDecodeError:
                raise Invalid(f"`{self._name[:40]}` is not UTF-8 text.") from None
            return
        self._file.close()
        kind = self._headers.get("content-type", b"").decode("latin-1").strip()
        upload = Upload(
            name=self._filename,
            mime_type=kind or None,
            path=Path(self._file.name),
            address=f"upload:{self._count}-{self._digest.hexdigest()}",
        )
        self.files.setdefault(self._name, []).append(upload)
        self._file = None

    def _finish(self) -> None:
        self.complete = True


async def form_of(request: Request, place: Path) -> Form:
    """Read the whole form, its files into `place`. Raises `Invalid`, HTTP's 413, and `Unavailable`."""
    _, options = parse_options_header(request.headers.get("content-type", ""))
    if not options.get(b"boundary"):
        raise Invalid("The form names no boundary.")
    form = Form(options[b"boundary"], place)
    try:
        async for piece in request.stream():
            if piece:
                await to_thread.run_sync(form.write, piece)
    except OSError as error:
        raise Unavailable("The files of the form cannot be stored now.") from error
    finally:
        form.close()
    if not form.complete:
        raise Invalid("The form ends too early.")
    return form


def safe_name(given: str) -> str:
    """A file name that is relative and stays inside, with its folders: `docs/a.txt`."""
    parts = [part.strip() for part in _ODD.sub("", given).replace("\\", "/").split("/")]
    kept = [part for part in parts if part not in ("", ".", "..") and not part.endswith(":")]
    name = "/".join(kept)[-LONGEST:].lstrip("/")
    with suppress(UnicodeEncodeError):
        name.encode()
        return name or "file"
    return "file"
