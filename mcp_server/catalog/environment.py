"""What a cached schema depends on beside its source: our code, Python, and what is installed."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from .. import models, pipelines


def fingerprint() -> str:
    """A digest that changes with anything that could make a source load to another schema. Blocking, ~ms.

    Distributions are told by the names of their metadata folders, which hold name and version.
    """
    total = hashlib.sha256(f"{sys.version} {sys.platform}".encode())
    for package in (models, pipelines):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            total.update(path.read_bytes())
    for name in sorted(_distributions()):
        total.update(name.encode("utf-8", "surrogateescape") + b"\0")
    return total.hexdigest()


def _distributions() -> set[str]:
    found: set[str] = set()
    for folder in map(Path, set(sys.path)):
        try:
            found |= {path.name for path in folder.iterdir() if path.suffix in (".dist-info", ".egg-info")}
        except OSError:
            continue  # entries of the path that are no folders: archives, or absent
    return found
