"""A copy of a state folder in one file, taken while servers go on writing there. Blocking."""

from __future__ import annotations

import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from ..errors import Unusable

SOURCES, ARTIFACTS = "sources", "artifacts"
"""Folders in the state and beside the database. Their files are named by their content, and never change."""


def backup(state: Path, database: Path | str, target: Path) -> int:
    """Write `target`, a tar archive whose content is a state folder as it was at one moment. Gives its bytes.

    What was acknowledged before is in it. The file is private, complete, or not there. Raises `Unusable`.
    """
    if isinstance(database, str):
        raise Unusable("The store is a server's: back it up with its own programs (pg_dump).")
    if not database.is_file():
        raise Unusable("There is no state to back up: no server ever ran with these settings.")
    if target.exists():
        raise Unusable(f"{target.name} exists; name another file.")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as draft:
            archive = Path(draft) / "archive"
            _snapshot(database, Path(draft) / "state.db")
            _write(archive, Path(draft) / "state.db", (state / SOURCES, database.parent / ARTIFACTS))
            archive.replace(target)
        return target.stat().st_size
    except OSError as error:
        raise Unusable(
            f"The backup cannot be written: {(error.strerror or 'no reason given').lower()}."
        ) from None
    except sqlite3.Error:
        raise Unusable("The database cannot be read; is it damaged?") from None


def _snapshot(database: Path, copy: Path) -> None:
    """A copy of the database as it is at one moment."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as made:
        source.backup(made)


def _write(archive: Path, database: Path, folders: Sequence[Path]) -> None:
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.add(database, "state.db")
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                with suppress(FileNotFoundError):  # made room meanwhile
                    tar.add(path, str(path.relative_to(folder.parent)), recursive=False)
        tar.close()
        file.flush()
        os.fsync(file.fileno())
