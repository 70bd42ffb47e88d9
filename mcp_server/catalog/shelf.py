"""Where copies of sources lie: one folder per digest, complete or absent, whatever happens while writing."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Set
from pathlib import Path

from ..models import Source

LIST = ".source.json"
"""The file of a copy that names those of its source."""
FORGOTTEN = 3600.0
"""Seconds after which a copy that no version names is removed; a deploy in progress is younger."""

log = logging.getLogger(__name__)


class Shelf:
    """Copies of sources, by digest. Blocking; every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, source: Source, original: Path | None = None) -> Path:
        """The folder with the source's files, on disk for good when this returns.

        Files that are no part of the source (`others`) are links into the folder `original`.
        """
        root = self._folder / source.digest
        if _intact(root, source):
            os.utime(root)
            return root
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".", dir=self._folder))
        try:
            _write(draft, source)
            _list(draft, source)
            if original is not None:
                _link(draft, source, original)
            _sync_folders(draft)
            self._publish(draft, root)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return root

    def has(self, digest: str) -> bool:
        """True if there is a copy of a source, be it damaged or not."""
        return bool(digest) and (self._folder / digest).is_dir()

    def find(self, digest: str) -> Path | None:
        """The copy of a source, if there is one whose files still have that digest."""
        root = self._folder / digest
        return root if self.has(digest) and is_whole(root) else None

    def sweep(self, named: Set[str]) -> None:
        """Remove what was left behind: copies whose digest no version names, and unfinished ones."""
        if not self._folder.is_dir():
            return
        for each in list(self._folder.iterdir()):
            if each.name not in named and each.stat().st_mtime < time.time() - FORGOTTEN:
                shutil.rmtree(each, ignore_errors=True)

    def _publish(self, draft: Path, root: Path) -> None:
        """Give it its name. A damaged copy steps aside; another server's equal one may stay."""
        if root.exists():
            root.rename(Path(tempfile.mkdtemp(prefix=".", dir=self._folder)) / "damaged")
        try:
            draft.rename(root)
        except OSError:
            if not root.is_dir():
                raise
        _sync(self._folder)


def is_whole(root: Path) -> bool:
    """False if a file of the source was damaged since; what an older release copied has no list to tell."""
    try:
        told = json.loads((root / LIST).read_bytes())
        files = {path: (root / path).read_bytes() for path in told["files"]}
        others = {path: (size, modified) for path, (size, modified) in told["others"].items()}
    except FileNotFoundError:
        return not (root / LIST).exists()
    except OSError as error:
        log.warning("The copy of a source, %s, cannot be read: %s", root.name, error.strerror)
        return False
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    return Source(name=root.name, files=files, others=others).digest == root.name


def _intact(root: Path, source: Source) -> bool:
    """True if every file of the source is there; what a pipeline wrote beside them does not matter."""
    try:
        return root.is_dir() and all(
            (root / path).read_bytes() == data for path, data in source.files.items()
        )
    except OSError:
        return False


def _list(root: Path, source: Source) -> None:
    """Say which files are the source's: with them its digest can be computed again."""
    told = {"files": [*source.files], "others": source.others}
    _write_one(root / LIST, json.dumps(told).encode())


def _write(root: Path, source: Source) -> None:
    for path, content in source.files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        _write_one(place, content)


def _write_one(place: Path, content: bytes) -> None:
    with place.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _link(root: Path, source: Source, original: Path) -> None:
    for path in source.others:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(original.absolute() / path)


def _sync_folders(root: Path) -> None:
    for folder, _, _ in os.walk(root):
        _sync(Path(folder))


def _sync(folder: Path) -> None:
    """Make names in a folder durable; Windows does so by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
