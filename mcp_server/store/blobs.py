"""Artifacts of recorded runs: small ones in the database, large ones as files named by their content."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, select

from ..errors import Unavailable
from ..models import Artifact
from .file import upsert
from .run_tables import artifacts

INLINE = 256 * 1024
"""Bytes up to which an artifact is kept in the database."""
SETTLED = 3600.0
"""Seconds after which a file that no artifact names is surely nobody's."""


class Blobs:
    """Reads and writes within the caller's transaction. Blocking."""

    def __init__(self, folder: Path | None) -> None:
        """Without a folder everything is kept in the database."""
        self._folder = folder

    def keep(self, connection: Connection, run: str, left: Sequence[Artifact]) -> None:
        """Keep what a run left; its row must be there."""
        for artifact in left:
            stored = self._stored(artifact)
            values = {"run": run, "name": artifact.name, "mime_type": artifact.mime_type} | stored
            connection.execute(upsert(connection, artifacts).values(values).on_conflict_do_nothing())

    def read(self, connection: Connection, run: str, name: str) -> Artifact | None:
        """An artifact with its content; None if there is none."""
        query = select(artifacts).where(artifacts.c.run == run, artifacts.c.name == name)
        row = connection.execute(query).first()
        if row is None:
            return None
        content = bytes(row.content) if row.digest is None else self._file(row.digest)
        return Artifact(name=row.name, mime_type=row.mime_type, content=content)

    def sweep(self, connection: Connection) -> None:
        """Remove the files that no artifact names any more."""
        if self._folder is None or not self._folder.is_dir():
            return
        settled = time.time() - SETTLED
        for path in self._folder.iterdir():
            named = select(artifacts.c.run).where(artifacts.c.digest == path.name).limit(1)
            if path.stat().st_mtime < settled and connection.execute(named).first() is None:
                path.unlink(missing_ok=True)

    def _stored(self, artifact: Artifact) -> dict[str, object]:
        size = len(artifact.content)
        if self._folder is None or size <= INLINE:
            return {"size": size, "digest": None, "content": artifact.content}
        digest = hashlib.sha256(artifact.content).hexdigest()
        self._write(self._folder / digest, artifact.content)
        return {"size": size, "digest": digest, "content": None}

    def _write(self, path: Path, content: bytes) -> None:
        """Durable before the row that names it is."""
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if path.exists():
                path.touch()
                return
            draft = path.with_suffix(f".{os.getpid()}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            _settle(path.parent)
        except OSError as error:
            raise Unavailable("An artifact cannot be written now.") from error

    def _file(self, digest: str) -> bytes:
        assert self._folder is not None, "a digest is only stored with a folder"
        try:
            return (self._folder / digest).read_bytes()
        except OSError:
            raise Unavailable("The artifact cannot be read now.") from None


def _settle(folder: Path) -> None:
    """Make the names in a folder durable, where a folder can be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
