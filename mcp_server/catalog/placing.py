"""From what was found in the folder, or stored, to deployments that can be loaded. Blocking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import Broken, Invalid
from ..models import Options, Problem, Source, Version
from ..pipelines.options import options_of
from ..pipelines.syntax import check_syntax
from ..store import Schema
from .deployments import Deployment
from .folder import Found, read, reason
from .shelf import Shelf, is_whole


def from_folder(
    found: Found, shelf: Shelf, version: Version | None, schema: Schema | None, warnings: tuple[str, ...]
) -> Deployment:
    """A pipeline of the folder; copied to the shelf if it is not there, so that this version can be kept.

    It is loaded in place; a YAML that lies alone is loaded from its copy, because a place is a folder.
    """
    broken = Deployment(found.name, "folder", problem=found.problem, warnings=warnings)
    if found.source is None:
        return broken
    digest = found.source.digest
    options = schema.options if schema else _options(found.source)
    if isinstance(options, Problem):
        return replace(broken, digest=digest, problem=options)
    lone = found.place.is_file()
    copy = _copy(found.source, shelf, None if lone else found.place, stored=version is not None)
    if isinstance(copy, Problem):
        if lone:
            return replace(broken, digest=digest, problem=copy)
        warnings = (*warnings, str(copy))
    return Deployment(
        found.name,
        "folder",
        digest,
        copy if lone and isinstance(copy, Path) else found.place,
        options,
        known(version, options, schema) if version else None,
        warnings=warnings,
    )


def from_store(
    version: Version, shelf: Shelf, schema: Schema | None, warnings: tuple[str, ...]
) -> Deployment:
    """An upload, loaded from the shelf."""
    options = schema.options if schema else version.options
    root = shelf.find(version.digest)
    return Deployment(
        version.pipeline,
        "upload",
        version.digest,
        root or Path(),
        options,
        known(version, options, schema),
        problem=None if root else Problem(message="its stored files are missing or damaged; deploy it again"),
        provenance=version.provenance,
        warnings=warnings,
    )


def present_root(deployment: Deployment, folder: Path | None, shelf: Shelf) -> Path | None:
    """Where the source of a deployment is now: in the user's folder, else its copy, else nowhere."""
    if deployment.origin != "folder" or folder is None:
        return deployment.root if is_whole(deployment.root) else None
    place = folder / deployment.name
    try:
        if place.is_dir() and read(deployment.name, place).digest == deployment.digest:
            return place
    except (OSError, Invalid):
        pass  # being edited: the copy is what was asked for
    return shelf.find(deployment.digest)


def known(version: Version, options: Options, schema: Schema | None = None) -> Version:
    """The version with what its source declares, and what is cached about it."""
    manifest = schema.manifest if schema else None
    return version.model_copy(update={"options": options, "manifest": manifest})


def _options(source: Source) -> Options | Problem:
    """What a source declares, or why it cannot be loaded."""
    try:
        return check_syntax(source.files) or options_of(source.files)
    except Broken as broken:
        return broken.problem


def _copy(source: Source, shelf: Shelf, original: Path | None, *, stored: bool) -> Path | Problem:
    """The copy on the shelf. What a version already names was written whole, and is not read again."""
    try:
        return (stored and shelf.find(source.digest)) or shelf.place(source, original)
    except OSError as error:
        return Problem(message=f"It could not be copied to the state folder: {reason(error)}.")
